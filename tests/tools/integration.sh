#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# ansible-test integration: each directory of tests/integration/targets against the built tarball. Arguments go to ansible-test:
# tests/tools/integration.sh health_probe. Targets with the alias needs/root are left out for an ordinary user.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname -- "${BASH_SOURCE[0]}")/ansible-test.sh"

install_collection
venv test
ansible_test_environment
tree="$scratch/ansible_collections/faultline/selfheal"
mkdir -p "$tree/tests"
cp -R "$INSTALLED/." "$tree/"
cp -R "$ROOT/tests/integration" "$tree/tests/"
cd "$tree"
python=$("$VENVS/test/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
ansible_test integration --local --continue-on-error --python "$python" --color no "$@"
