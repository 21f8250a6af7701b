#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# pytest over tests/system: the daemon and the demo as real processes, from the installed tarball. Arguments go to pytest.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

install_collection
venv test
awx_collection
ansible_environment test
cd "$ROOT"
export SELFHEAL_COLLECTION_ROOT="$INSTALLED" PYTHONDONTWRITEBYTECODE=1
# Two at a time: they wait more than they work. Tests of one file may share what is slow to make, so they stay together.
twice system -n 2 --dist loadfile "${@:-tests/system}"
