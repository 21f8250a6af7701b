#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The scenarios of extensions/molecule against the built tarball, on the lab's hosts, three at a time (SELFHEAL_MOLECULE_JOBS). Names of
# scenarios may be given: molecule.sh upgrade. What one says is shown when it has ended.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

scenarios=("$@")
if [ "${#scenarios[@]}" -eq 0 ]; then
    for file in "$ROOT"/extensions/molecule/*/molecule.yml; do scenarios+=("$(basename "$(dirname "$file")")"); done
fi
install_collection
venv molecule
awx_collection
ansible_environment molecule
export ANSIBLE_COLLECTIONS_PATH="$COLLECTIONS:$SELFHEAL_AWX_COLLECTIONS"
# Molecule brings settings and an interpreter of its own for the hosts.
unset ANSIBLE_CONFIG ANSIBLE_PYTHON_INTERPRETER
lab_engine
cd "$ROOT"
logs="$VENVS/logs/molecule"
mkdir -p "$logs"
rm -f "$logs"/*

scenario() {
    local began=$SECONDS code=0
    "$VENVS/molecule/bin/molecule" -c extensions/molecule/base.yml test --scenario-name "$1" </dev/null >"$logs/$1.log" 2>&1 || code=$?
    locked _tell "$1" "$code" "$((SECONDS - began))"
    printf '%d' "$code" >"$logs/$1.code"
}

_tell() {
    say "molecule $1"
    cat "$logs/$1.log"
    say "molecule $1: $([ "$2" -eq 0 ] && echo ok || echo FAILED) after $3 s"
}

for name in "${scenarios[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "${SELFHEAL_MOLECULE_JOBS:-3}" ]; do wait -n || true; done
    scenario "$name" &
done
wait
failed=()
for name in "${scenarios[@]}"; do
    # A scenario that left no word has not passed. What failed beside others is asked once more, alone.
    [ "$(cat "$logs/$name.code" 2>/dev/null)" = 0 ] && continue
    [ "${#scenarios[@]}" -eq 1 ] || scenario "$name"
    [ "$(cat "$logs/$name.code" 2>/dev/null)" = 0 ] || failed+=("$name")
done
if [ "${#failed[@]}" -gt 0 ]; then
    printf 'molecule: failed: %s\n' "${failed[*]}" >&2
    exit 1
fi
printf 'molecule: %d scenarios passed: %s\n' "${#scenarios[@]}" "${scenarios[*]}"
