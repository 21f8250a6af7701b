#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# ansible-test integration: each directory of tests/integration/targets against the built tarball. Arguments go to ansible-test:
# tests/tools/integration.sh health_probe. Targets with the alias needs/root are left out for an ordinary user. Containers need Docker Engine:
# where none runs, root has one started, and stopped again; anybody else is told that they are not tried.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname -- "${BASH_SOURCE[0]}")/ansible-test.sh"

needs_engine() {
    local argument named=false
    for argument in "$@"; do
        case $argument in
            container_heal) return 0 ;;
            -*) ;;
            *) named=true ;;
        esac
    done
    [ "$named" = false ]
}

install_collection
venv test
if [ -z "${SELFHEAL_NO_LAB:-}" ] && needs_engine "$@"; then
    lab_python=$("$ROOT/tests/tools/find-python.sh")
    status=0
    started=$("$lab_python" "$ROOT/tests/lab/lab.py" engine) || status=$?
    [ "$status" -eq 0 ] || [ "$status" -eq "$SKIPPED" ] || exit "$status"
    if [ -n "$started" ]; then trap '"$lab_python" "$ROOT/tests/lab/lab.py" rest started; rm -rf "$scratch"' EXIT; fi
fi
ansible_test_environment
tree="$scratch/ansible_collections/faultline/selfheal"
mkdir -p "$tree/tests"
cp -R "$INSTALLED/." "$tree/"
cp -R "$ROOT/tests/integration" "$tree/tests/"
cd "$tree"
python=$("$VENVS/test/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
ansible_test integration --local --continue-on-error --python "$python" --color no "$@"
