#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# docs/state-machines.md from the transition tables, docs/complaints.md from the tests, and dist/docs/html: the modules' documentation as HTML pages.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

install_collection
venv docs
ansible_environment docs
"$VENVS/docs/bin/python" "$ROOT/tests/tools/state_machines.py"
"$VENVS/docs/bin/python" "$ROOT/tests/tools/complaints.py"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
site="$scratch/site"
mkdir -m 700 "$site"
quietly() { "$@" >"$scratch/output" 2>&1 || { cat "$scratch/output" >&2; return 1; }; }
quietly antsibull-docs sphinx-init --use-current --squash-hierarchy --fail-on-error --dest-dir "$site" faultline.selfheal
chmod 700 "$site/rst"
quietly antsibull-docs --config-file "$site/antsibull-docs.cfg" collection --use-current --squash-hierarchy --fail-on-error \
    --dest-dir "$site/rst" faultline.selfheal
# Links into other projects' pages need their inventories from the network; without them the pages are the same, minus those links.
printf '\nintersphinx_mapping = {}\nnitpicky = False\n' >>"$site/conf.py"
rm -rf "$ROOT/dist/docs"
"$VENVS/docs/bin/python" -m sphinx -Q -b html -c "$site" "$site/rst" "$ROOT/dist/docs/html"
echo "dist/docs/html/index.html"
