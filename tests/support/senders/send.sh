#!/bin/bash
# Sends what the standard input says: bash send.sh SOCKET TOPIC NAME (see README.md)
export REMOTINGD_SOCKET=$1
topic=$2 name=$3

# The bytes that "4f4b..." stands for, repeated up to a size.
repeat() { # PATTERN SIZE
    local format n=$((${#1} / 2)) left=$2
    format=$(sed 's/../\\x&/g' <<<"$1")
    while ((left > 0)); do
        # shellcheck disable=SC2059
        printf "$format"
        left=$((left - n))
    done | head -c "$2"
}

# The value of a key in one line of JSON.
value() { # JSON KEY
    if [[ $1 =~ \"$2\":\ *\"?([^\",}]*) ]]; then
        printf '%s' "${BASH_REMATCH[1]}"
    else
        printf '%s' -
    fi
}

while IFS=$'\t' read -r number size key pattern note; do
    properties=(--key "$number" --property "sender=$name" --property "note=$note")
    [ "$key" = - ] || properties+=(--property "__SHARDINGKEY=$key")
    answer=$(repeat "$pattern" "$size" | remotingctl send "$topic" --json "${properties[@]}" 2>/dev/null)
    # No answer at all.
    [ -n "$answer" ] || exit 1
    printf '%s\t%s\t%s\t%s\t%s\n' "$number" "$(value "$answer" code)" "$(value "$answer" error)" \
        "$(value "$answer" sent)" "$(value "$answer" uniqKey)"
done
