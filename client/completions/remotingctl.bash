# Completion of remotingctl in bash: it knows its commands and options itself. Files where it knows nothing.
_remotingctl() {
    local word
    COMPREPLY=()
    while IFS=$'\t' read -r word _; do
        COMPREPLY+=("$word")
    done < <("$1" --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _remotingctl remotingctl
