#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The scenarios of extensions/molecule against the built tarball, on the lab's hosts. Names of scenarios may be given: molecule.sh upgrade.
# Needs root, as the lab does.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

scenarios=("$@")
[ "${#scenarios[@]}" -gt 0 ] || scenarios=(default everything_changed upgrade uninstall)
install_collection
venv molecule
ansible_environment molecule
# Molecule brings settings and an interpreter of its own for the hosts.
unset ANSIBLE_CONFIG ANSIBLE_PYTHON_INTERPRETER
cd "$ROOT"
lab() { python3 -c "import sys; sys.path.insert(0, 'tests/lab'); import lab; $1"; }
if [ "$(lab 'print(lab.start_engine())')" = True ]; then trap 'lab "lab.stop_engine()"' EXIT; fi
failed=()
for scenario in "${scenarios[@]}"; do
    say "molecule $scenario"
    "$VENVS/molecule/bin/molecule" -c extensions/molecule/base.yml test --scenario-name "$scenario" || failed+=("$scenario")
done
if [ "${#failed[@]}" -gt 0 ]; then
    printf 'molecule: failed: %s\n' "${failed[*]}" >&2
    exit 1
fi
