#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The measurements of tests/bench, each against its anchor in the same run, and one table of them all at the end, which is also left in
# tests/output/bench.md. `bench.sh idle module` runs only these; options such as --quick go to every one of them.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

# debian_program VARIABLE PACKAGE PROGRAM: where a peer's program is. One that is not installed is unpacked below .venv; that needs no root.
debian_program() {
    local variable=$1 package=$2 program=$3 found
    [ -z "${!variable:-}" ] || return 0
    found=$(PATH="$PATH:/usr/sbin:/sbin" command -v "$program" || true)
    if [ -z "$found" ]; then
        locked unpack "$package"
        found="$VENVS/debian/$package/usr/bin/$program"
        "$found" --version >/dev/null 2>&1 || die "$package, unpacked in .venv/debian, does not run here; on Debian: sudo apt-get install $package"
    fi
    export "$variable=$found"
}

unpack() {
    local package=$1
    local where="$VENVS/debian/$package"
    [ ! -e "$where" ] || return 0
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || die "bench needs the program of Debian's package $package; install it"
    say "unpacking $package in .venv/debian"
    rm -rf "$where.new"
    mkdir -p "$where.new/download"
    (cd "$where.new/download" && apt-get -qq -o APT::Sandbox::User=root download "$package" && dpkg -x ./*.deb ..) \
        || die "could not download and unpack $package; on Debian: sudo apt-get install $package"
    mv "$where.new" "$where"
}

names=()
options=()
for word in "$@"; do
    case "$word" in
        -*) options+=("$word") ;;
        *) names+=("$word") ;;
    esac
done
if [ "${#names[@]}" -eq 0 ]; then
    for file in "$ROOT"/tests/bench/bench_*.py; do
        name=${file##*/bench_}
        names+=("${name%.py}")
    done
fi
for name in "${names[@]}"; do
    [ -f "$ROOT/tests/bench/bench_$name.py" ] || die "there is no tests/bench/bench_$name.py"
done

install_collection
venv bench
ansible_environment bench
debian_program MONIT monit monit
debian_program BLACKBOX_EXPORTER prometheus-blackbox-exporter prometheus-blackbox-exporter
cd "$ROOT"
export SELFHEAL_COLLECTION_ROOT="$INSTALLED"
mkdir -p tests/output
table=tests/output/bench.md
SELFHEAL_BENCH_TABLE=$(mktemp)
export SELFHEAL_BENCH_TABLE
trap 'rm -f "$SELFHEAL_BENCH_TABLE"' EXIT
broken=()
before=$(cut -d' ' -f1-3 /proc/loadavg)

for name in "${names[@]}"; do
    say "tests/bench/bench_$name.py"
    "$VENVS/bench/bin/python" "tests/bench/bench_$name.py" ${options[@]+"${options[@]}"} || broken+=("$name")
done

{
    printf '%s, %s cores, Linux %s; load average %s before, %s after\n\n' "$(date -u +%Y-%m-%dT%H:%MZ)" "$(nproc)" "$(uname -r)" \
        "$before" "$(cut -d' ' -f1-3 /proc/loadavg)"
    "$VENVS/bench/bin/python" -c 'import sys; sys.path.insert(0, "tests/bench"); import table; sys.stdout.write(table.HEADER)'
    cat "$SELFHEAL_BENCH_TABLE"
} >"$table"
say "$table"
cat "$table"
if [ "${#broken[@]}" -gt 0 ]; then
    printf 'bench: not all held in: %s\n' "${broken[*]}" >&2
    exit 1
fi
