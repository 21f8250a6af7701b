#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# ansible-test sanity over tracked and new files, with every Python that is here and works. Arguments go to ansible-test.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname -- "${BASH_SOURCE[0]}")/ansible-test.sh"

venv test
ansible_test_environment
copy_tree "$scratch"
cd "$scratch/ansible_collections/faultline/selfheal"
# Without --python it takes every version it finds; --python 3.12 limits it to one.
ansible_test sanity --local --requirements --color no "$@"
