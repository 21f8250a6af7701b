#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Every supported ansible-core with the Pythons it runs on: sanity, unit tests and every integration target that needs no containers, each
# in environments of its own below .venv/matrix. `matrix.sh 2.19 2.21` takes some of them. A Python that is not here is skipped, and that is
# said. SELFHEAL_MATRIX_STEPS, SELFHEAL_MATRIX_UNIT (arguments for pytest) and SELFHEAL_MATRIX_TARGETS take less of it. Each verdict is said
# when it is known, and stands in .venv/logs/matrix/verdicts.txt, so that a run which is ended early has told what it found.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

PAIRS=("2.19.14 3.11" "2.20.10 3.12" "2.21.5 3.12" "2.21.5 3.13")
# The module of containers runs on hosts and has no part on the controller, where the versions differ.
TARGETS=()
for folder in "$ROOT"/tests/integration/targets/*/; do
    [ "$(basename -- "$folder")" = container_heal ] || TARGETS+=("$(basename -- "$folder")")
done
read -r -a steps <<<"${SELFHEAL_MATRIX_STEPS:-sanity unit integration}"
read -r -a unit <<<"${SELFHEAL_MATRIX_UNIT:-tests/unit}"
read -r -a targets <<<"${SELFHEAL_MATRIX_TARGETS:-${TARGETS[*]}}"
tools="$ROOT/tests/tools"
logs="$VENVS/logs/matrix"
mkdir -p "$logs"

# python_of VERSION: an interpreter of that version which can make environments.
python_of() {
    local folder folders
    IFS=: read -r -a folders <<<"$PATH"
    for folder in "${folders[@]}" "${HOME:-/nonexistent}"/.pyenv/versions/"$1"*/bin; do
        if [ -x "$folder/python$1" ] && "$folder/python$1" -I -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$folder/python$1"
            return 0
        fi
    done
    return 1
}

run_step() {
    case $1 in
        sanity) "$tools/sanity.sh" --python "$2" ;;
        unit) "$tools/unit.sh" "${unit[@]}" ;;
        integration) "$tools/integration.sh" "${targets[@]}" ;;
        *) die "there is no step $1 in the matrix; the steps are sanity, unit and integration" ;;
    esac
}

table=$(printf '%-14s %-8s' ansible-core Python; printf ' %-16s' "${steps[@]}")$'\n'
status=0
for pair in "${PAIRS[@]}"; do
    read -r core python <<<"$pair"
    if [ "$#" -gt 0 ]; then
        case " $* " in *" ${core%.*} "*) ;; *) continue ;; esac
    fi
    row=$(printf '%-14s %-8s' "$core" "$python")
    if ! interpreter=$(python_of "$python"); then
        table+="$row skipped: no python$python with venv and ensurepip"$'\n'
        continue
    fi
    for step in "${steps[@]}"; do
        say "$step on ansible-core $core, Python $python"
        began=$SECONDS verdict=ok
        log="$logs/$core-$python-$step.log"
        (
            export SELFHEAL_PYTHON="$interpreter" SELFHEAL_CORE="$core" SELFHEAL_VENVS="$VENVS/matrix/$core-$python"
            run_step "$step" "$python"
        ) </dev/null >"$log" 2>&1 || verdict=FAILED
        if [ "$verdict" = FAILED ]; then
            status=1
            tail -n 40 "$log"
        fi
        took=$((SECONDS - began))
        printf '%s %-8s %-8s %-12s %-7s %5d s\n' "$(date -u +%FT%TZ)" "$core" "$python" "$step" "$verdict" "$took" | tee -a "$logs/verdicts.txt"
        row+=$(printf ' %-16s' "$verdict $took s")
    done
    table+="$row"$'\n'
done
say "matrix"
printf '%s' "$table"
exit "$status"
