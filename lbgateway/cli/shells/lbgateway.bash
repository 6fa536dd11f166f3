# Completion of lbgateway in bash:   source <(lbgateway completion bash)
_lbgateway() {
    local found line
    COMPREPLY=()
    found=$("${COMP_WORDS[0]/#\~/$HOME}" complete bash "$COMP_CWORD" "${COMP_WORDS[@]}" 2>/dev/null) || return 0
    if [ "$found" = :files ]; then
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
    elif [ -n "$found" ]; then
        while IFS= read -r line; do COMPREPLY+=("$line"); done <<<"$found"
    fi
}
complete -F _lbgateway lbgateway
