#compdef lbgateway
# Completion of lbgateway in zsh:   source <(lbgateway completion zsh)   after compinit, or as a file _lbgateway in $fpath
_lbgateway() {
    local found
    local -a candidates
    found=$(${~words[1]} complete zsh $((CURRENT - 1)) "${words[@]}" 2>/dev/null) || return 1
    if [[ $found == :files ]]; then
        compset -P '*='
        _files
    elif [[ -n $found ]]; then
        candidates=("${(@f)found}")
        _describe -V lbgateway candidates
    fi
}
if [[ ${funcstack[1]} == _lbgateway ]]; then
    _lbgateway "$@"
else
    compdef _lbgateway lbgateway
fi
