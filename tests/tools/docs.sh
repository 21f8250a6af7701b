#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# docs/state-machines.md from the transition tables, and dist/docs/html: the modules' documentation as HTML pages.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

install_collection
venv docs
ansible_environment docs
"$VENVS/docs/bin/python" "$ROOT/tests/tools/state_machines.py"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
antsibull-docs sphinx-init --use-current --squash-hierarchy --fail-on-error --dest-dir site faultline.selfheal >/dev/null
antsibull-docs --config-file site/antsibull-docs.cfg collection --use-current --squash-hierarchy --fail-on-error --dest-dir site/rst faultline.selfheal >/dev/null
# Links into other projects' pages need their inventories from the network; without them the pages are the same, minus those links.
printf '\nintersphinx_mapping = {}\n' >>site/conf.py
"$VENVS/docs/bin/python" -m sphinx -q -b html -c site site/rst "$ROOT/dist/docs/html"
echo "dist/docs/html/index.html"
