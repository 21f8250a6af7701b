#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Every check, one after the other, each to its end; the verdicts stand together at the end of the output. `all.sh STEP...` runs some of them.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

steps=(dist lint unit system sanity integration lab demo molecule)
chosen=("$@")
# Molecule's scenarios take a quarter of an hour on two cores; `make integration` has them.
[ "${#chosen[@]}" -gt 0 ] || chosen=(dist lint unit system sanity integration lab demo)
for name in "${chosen[@]}"; do
    case " ${steps[*]} " in *" $name "*) ;; *) die "there is no step $name; the steps are: ${steps[*]}" ;; esac
done

logs="$VENVS/logs"
mkdir -p "$logs"
rm -f "$logs"/*.log
summary=""
status=0

# Runs even when an earlier one failed: whoever reads the log of a machine elsewhere wants all findings of one run.
step() {
    local name=$1 began=$SECONDS verdict=ok code=0 why=""
    shift
    say "$name"
    { "$@" </dev/null 2>&1 || code=$?; } > >(tee "$logs/$name.log")
    wait "$!"
    if [ "$code" -eq "$SKIPPED" ]; then
        verdict=skipped
        why=$(tail -n 1 "$logs/$name.log")
    elif [ "$code" -ne 0 ]; then
        verdict=FAILED
        status=1
    fi
    summary+=$(printf '%-12s %-7s %4d s%s' "$name" "$verdict" "$((SECONDS - began))" "${why:+  $why}")$'\n'
}

tools="$ROOT/tests/tools"
for name in "${chosen[@]}"; do
    case $name in
        lab) step lab "$tools/lab.sh" test ;;
        *) step "$name" "$tools/$name.sh" ;;
    esac
done

say "summary"
printf '%s' "$summary"
# pytest's closing lines, once more where they are seen.
for name in unit system lab; do
    if [ -e "$logs/$name.log" ]; then
        sed -n -E 's/\x1b\[[0-9;]*m//g; /(passed|failed|error|skipped).* in [0-9.]+s/p' "$logs/$name.log" | tail -n 1
    fi
done
exit "$status"
