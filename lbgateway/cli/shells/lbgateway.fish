# Completion of lbgateway in fish:   lbgateway completion fish | source
function __lbgateway_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($before[1] complete fish (count $before) $before "$current" 2>/dev/null)
    if test "$found" = :files
        __fish_complete_path "$current"
    else
        printf '%s\n' $found
    end
end
complete -c lbgateway -f -k -a '(__lbgateway_complete)'
