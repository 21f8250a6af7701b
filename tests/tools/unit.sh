#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# pytest over tests/unit, against the library of the installed tarball. Arguments go to pytest: tests/tools/unit.sh -k ladder
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

install_collection
venv test
ansible_environment test
cd "$ROOT"
export SELFHEAL_COLLECTION_ROOT="$INSTALLED" PYTHONDONTWRITEBYTECODE=1
# Tests of one file may share what is slow to make, so they stay together.
twice unit -n "$(nproc)" --dist loadfile "$@"
