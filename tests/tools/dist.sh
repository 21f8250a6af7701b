#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# dist/faultline-selfheal-VERSION.tar.gz and dist/selfheal.pyz, each a function of the sources alone.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

venv demo
ansible_environment demo
"$VENVS/demo/bin/python" "$ROOT/tests/tools/dist.py"
