#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The demonstration: builds, installs, and runs the drill on this machine as the user who asks for it.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

install_collection
ansible_environment demo
cd "$ROOT"
[ -d inventories/demo ] || die "inventories/demo is missing; is this a complete clone?"
exec "$VENVS/demo/bin/ansible-playbook" -i inventories/demo faultline.selfheal.drill "$@"
