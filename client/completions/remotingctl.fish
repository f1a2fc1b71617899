# Completion of remotingctl in fish: it knows its commands and options itself. Files where it knows nothing.
function __remotingctl_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    $program --complete $words "$word" 2>/dev/null
end
complete -c remotingctl -f -a '(__remotingctl_complete)'
complete -c remotingctl -n 'not count (__remotingctl_complete) >/dev/null' -F
