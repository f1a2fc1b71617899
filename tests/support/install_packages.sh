#!/bin/bash
# Installs what is missing on a Debian 12 to build and run remotingd with a RocketMQ beside it ("run"), to test it too
# ("tests"), to measure it beside HAProxy and nginx ("bench"; Debian starts both as services where it can), to fuzz it
# ("fuzz"), to count its line coverage ("coverage"), to analyse it ("analyze"), to make and try its Debian packages
# ("packages") and to run them in a virtual machine ("systemd"). Asks the package list for nothing, and needs no rights, when
# everything is there.
#
#     tests/support/install_packages.sh run|tests|bench|fuzz|coverage|analyze|packages|systemd
set -euo pipefail

run_packages=(
    gcc libc6-dev meson ninja-build pkg-config
    libevent-dev libhttp-parser-dev libjansson-dev libinih-dev libc-ares-dev zlib1g-dev liblz4-dev libzstd-dev libssl-dev libsystemd-dev uthash-dev
    python3 openjdk-17-jre-headless maven
)
tests_packages=(
    openjdk-17-jdk-headless check curl faketime valgrind strace openssl systemd mandoc zsh fish
    php-cli ruby perl nodejs golang-go # the examples
)
bench_packages=(haproxy nginx-light libnginx-mod-stream strace linux-perf)
fuzz_packages=(clang)
coverage_packages=(gcovr)
analyze_packages=(check clang-tidy cppcheck)
packages_packages=(dpkg-dev debhelper lintian debootstrap)
systemd_packages=(e2fsprogs qemu-system-x86 seabios git)

case "${1:-}" in
run) wanted=("${run_packages[@]}") ;;
tests) wanted=("${run_packages[@]}" "${tests_packages[@]}") ;;
bench) wanted=("${run_packages[@]}" "${bench_packages[@]}") ;;
fuzz) wanted=("${run_packages[@]}" "${fuzz_packages[@]}") ;;
coverage) wanted=("${run_packages[@]}" "${tests_packages[@]}" "${coverage_packages[@]}") ;;
analyze) wanted=("${run_packages[@]}" "${analyze_packages[@]}") ;;
packages) wanted=("${run_packages[@]}" "${packages_packages[@]}") ;;
systemd) wanted=("${run_packages[@]}" "${packages_packages[@]}" "${systemd_packages[@]}") ;;
*)
    echo "usage: install_packages.sh run|tests|bench|fuzz|coverage|analyze|packages|systemd" >&2
    exit 2
    ;;
esac

# pkg-config may be there as pkgconf, and Java or Maven from elsewhere: what answers to its name is not installed again.
is_there() {
    case "$1" in
    openjdk-17-jre-headless) command -v java ;;
    openjdk-17-jdk-headless) command -v javac ;;
    maven) command -v mvn ;;
    linux-perf) command -v perf ;;
    clang | clang-tidy | cppcheck | curl | gcc | gcovr | meson | pkg-config | python3 | openssl | haproxy | strace | valgrind | mandoc | zsh | fish) command -v "$1" ;;
    ninja-build) command -v ninja ;;
    php-cli) command -v php ;;
    ruby | perl) command -v "$1" ;;
    nodejs) command -v node ;;
    golang-go) command -v go ;;
    *) dpkg-query -W -f='${db:Status-Status}' "$1" | grep -qx installed ;;
    esac >/dev/null 2>&1
}

missing=()
for package in "${wanted[@]}"; do
    is_there "$package" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

if ! command -v apt-get >/dev/null; then
    echo "Missing: ${missing[*]} (named as in Debian 12). This system has no apt-get: install them its own way." >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "Missing: ${missing[*]}. Run this as root, or install them: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

echo "Installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Another apt-get may be at work: wait for it instead of failing.
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300)
if ! { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    echo "apt-get could not install ${missing[*]} (its last words are above)." >&2
    exit 1
fi
