#!/bin/sh
# The layers of the tree, as a test: who may include whom, and what every source file has to look like. It speaks TAP: a
# rule that holds is an "ok" line, every breach a "not ok" line that names file, line and include. SOURCE_ROOT is the tree.
#
#     protocol <- core <- loop <- upstream, http <- session, completion, admin <- daemon.c <- main.c
#     config <- daemon        client includes protocol only
set -u
export LC_ALL=C.UTF-8

cd "${SOURCE_ROOT:?SOURCE_ROOT names the tree to check}" || exit 1

n_rules=0
n_breaches=0

# Headers of libc without I/O, clocks and sockets (stdio.h is for snprintf and FILE), and the ones that wait.
plain='(assert|byteswap|ctype|emmintrin|endian|errno|inttypes|limits|locale|math|stdarg|stdbool|stddef|stdint|stdio|stdlib|string|strings|sys/queue|sys/types)[.]h'
addresses='(arpa/inet|netinet/in)[.]h'
waiting='(event.*|ev(dns|http|rpc|util).*|ares.*|sys/socket|sys/un|sys/epoll|sys/select|poll|netdb|time|sys/time|systemd/.*)'
system='(dirent|fcntl|getopt|grp|netdb|poll|pwd|signal|spawn|sys/(ioctl|mman|pidfd|prctl|random|select|signalfd|socket|stat|time|uio|un|wait)|sysexits|termios|time|unistd)[.]h'

# breaches OURS SYSTEM FORBIDDEN PATH... : the includes of the paths' sources that are neither ours and OURS nor a
# system's and SYSTEM, or that are FORBIDDEN. The patterns cover whole names.
breaches() {
    ours=$1 allowed=$2 forbidden=$3
    shift 3
    find "$@" -name '*.[ch]' -exec awk -v ours="^($ours)\$" -v allowed="^($allowed)\$" -v forbidden="^($forbidden)\$" '
        /^[ \t]*#[ \t]*include/ {
            text = $0
            sub(/^[ \t]*#[ \t]*include(_next)?[ \t]*/, "", text)
            name = text
            sub(/^[<"]/, "", name)
            sub(/[>"].*$/, "", name)
            is_ours = text !~ /^</ || name ~ /^(protocol|config|daemon|client|tests)\//
            if (name ~ forbidden || (is_ours ? name !~ ours : name !~ allowed)) {
                print FILENAME ":" FNR " includes " text
            }
        }' {} + | sort
}

# report RULE BREACHES PATH... : a rule about paths that do not exist yet is skipped, so that it never passes unseen.
report() {
    rule=$1 found=$2
    shift 2
    n_rules=$((n_rules + 1))
    if [ $# -gt 0 ] && [ -z "$(find "$@" -name '*.[ch]' 2>/dev/null | head -n 1)" ]; then
        echo "ok $n_rules - $rule # SKIP no sources yet"
    elif [ -z "$found" ]; then
        echo "ok $n_rules - $rule"
    else
        n_rules=$((n_rules - 1))
        while IFS= read -r breach; do
            n_rules=$((n_rules + 1))
            n_breaches=$((n_breaches + 1))
            echo "not ok $n_rules - $rule: $breach"
        done <<EOF
$found
EOF
    fi
}

# check_includes RULE OURS SYSTEM FORBIDDEN PATH...
check_includes() {
    rule_name=$1
    shift
    found_includes=$(breaches "$@" 2>/dev/null)
    shift 3
    report "$rule_name" "$found_includes" "$@"
}

# The sources of the tree, without what a build leaves behind.
sources() {
    find . \( -name '.?*' -o -name 'build*' \) -prune -o -type f "$@" -print | sed 's|^\./||' | sort
}

check_includes 'protocol includes protocol, libc without I/O, jansson, zlib, lz4, zstd and openssl only' \
    'protocol/.*' "$plain|$addresses|jansson[.]h|zlib[.]h|lz4.*[.]h|zstd.*[.]h|openssl/.*" '' protocol
check_includes 'config includes config, protocol/cleanup.h, protocol/span.h, libc and inih only' \
    'config/.*|protocol/(cleanup|span)[.]h' "$plain|$addresses|(grp|pwd|ini)[.]h" '' config
check_includes 'daemon/core includes protocol and daemon/core, and nothing that waits or reads a clock' \
    'protocol/.*|daemon/core/.*' '.*' "$waiting([.]h)?" daemon/core
check_includes 'daemon/loop includes protocol, config, daemon/core and daemon/loop' \
    'protocol/.*|config/.*|daemon/(core|loop)/.*' '.*' '' daemon/loop
check_includes 'daemon/upstream includes protocol, config, daemon/core, daemon/loop and daemon/upstream' \
    'protocol/.*|config/.*|daemon/(core|loop|upstream)/.*' '.*' '' daemon/upstream
check_includes 'daemon/http includes protocol, config, daemon/core, daemon/loop and daemon/http' \
    'protocol/.*|config/.*|daemon/(core|loop|http)/.*' '.*' '' daemon/http
check_includes 'nothing that the daemon is made of includes daemon.h' \
    '.*' '.*' 'daemon/daemon[.]h' daemon/core daemon/loop daemon/upstream daemon/http daemon/session daemon/completion daemon/admin
check_includes 'daemon/main.c includes protocol, config and the daemon' \
    'protocol/.*|config/.*|daemon/.*' '.*' '' daemon/main.c
check_includes 'client includes client, protocol, libc and jansson only' \
    'client/.*|protocol/.*' "$plain|$addresses|$system|jansson[.]h|remotingclient[.]h" '' client
outside=$(sources -name '*.[ch]' | grep -v '^tests/' |
    xargs -r grep -nE '^[[:space:]]*#[[:space:]]*include.*[<"/]tests/' /dev/null)
report 'nothing outside tests includes tests' "$outside"

report 'every header begins with a comment, its manual' "$(sources -name '*.h' | while IFS= read -r header; do
    [ "$(head -c 2 "$header")" = '/*' ] || echo "$header"
done)"
report 'every header has #pragma once' "$(sources -name '*.h' | while IFS= read -r header; do
    grep -q '^#pragma once$' "$header" || echo "$header"
done)"
report 'no file or folder is a drawer (util, utils, common, misc)' \
    "$(sources | grep -E '(^|/)(util|utils|common|misc)(\.[^/]*)?(/|$)')"
report 'no line of C is longer than 120 columns' \
    "$(sources -name '*.[ch]' | xargs -r grep -noE '^.{121,}' /dev/null | cut -d: -f1,2)"

echo "1..$n_rules"
[ "$n_breaches" -eq 0 ]
