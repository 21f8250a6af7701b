#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Every check, one after the other, each to its end; the verdicts stand together at the end of the output.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

logs="$VENVS/logs"
mkdir -p "$logs"
rm -f "$logs"/*.log
summary=""
status=0

# Runs even when an earlier one failed: whoever reads the log of a machine elsewhere wants all findings of one run.
step() {
    local name=$1 began=$SECONDS verdict=ok
    shift
    say "$name"
    if ! "$@" </dev/null 2>&1 | tee "$logs/$name.log"; then
        verdict=FAILED
        status=1
    fi
    summary+=$(printf '%-12s %-7s %4d s' "$name" "$verdict" "$((SECONDS - began))")$'\n'
}

tools="$ROOT/tests/tools"
step dist "$tools/dist.sh"
step lint "$tools/lint.sh"
step unit "$tools/unit.sh"
step system "$tools/system.sh"
step sanity "$tools/sanity.sh"
step integration "$tools/integration.sh"
step demo "$tools/demo.sh"

say "summary"
printf '%s' "$summary"
# pytest's closing lines, once more where they are seen.
sed -n -E 's/\x1b\[[0-9;]*m//g; /(passed|failed|error).* in [0-9.]+s/p' "$logs/unit.log" "$logs/system.log" | tail -n 3
exit "$status"
