#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The measurements of tests/bench, each file against its anchor in the same run. Arguments go to every one of them.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

install_collection
requirements=demo
if [ -f "$ROOT/tests/requirements-bench.txt" ]; then requirements=bench; fi
venv "$requirements"
ansible_environment "$requirements"
cd "$ROOT"
export SELFHEAL_COLLECTION_ROOT="$INSTALLED"
status=0
for file in tests/bench/bench_*.py; do
    say "$file"
    "$VENVS/$requirements/bin/python" "$file" "$@" || status=1
done
exit "$status"
