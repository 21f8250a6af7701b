#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The measurements of tests/bench, each against its anchor in the same run.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

install_collection
requirements=demo
if [ -f "$ROOT/tests/requirements-bench.txt" ]; then requirements=bench; fi
venv "$requirements"
ansible_environment "$requirements"
cd "$ROOT"
[ -f tests/bench/__main__.py ] || die "tests/bench/__main__.py is missing; is this a complete clone?"
export SELFHEAL_COLLECTION_ROOT="$INSTALLED"
exec "$VENVS/$requirements/bin/python" tests/bench "$@"
