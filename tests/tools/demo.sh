#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The demonstration: builds, installs, and runs the drill on this machine as the user who asks for it. Arguments go to ansible-playbook.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

install_collection
ansible_environment demo
cd "$ROOT"
[ -d inventories/demo ] || die "inventories/demo is missing; is this a complete clone?"
export SELFHEAL_DEMO_DIRECTORY="${SELFHEAL_DEMO_DIRECTORY:-$ROOT/.venv/demo-stage}"
export ANSIBLE_STDOUT_CALLBACK=faultline.selfheal.drill

# Whatever ends the run, nothing that it started goes on. The stage has a guard that sees to that by itself; here it is waited for.
playbook=""
clear_stage() {
    local stage="$SELFHEAL_DEMO_DIRECTORY/bin/stage.py"
    if [ -f "$stage" ]; then "$ANSIBLE_PYTHON_INTERPRETER" -I "$stage" stop "$SELFHEAL_DEMO_DIRECTORY" >/dev/null || true; fi
}
stop() {
    trap '' INT TERM HUP
    if [ -n "$playbook" ]; then
        kill -"$1" "$playbook" 2>/dev/null || true
        wait "$playbook" || true
    fi
    clear_stage
    echo "selfheal: interrupted; everything that was started has ended" >&2
    exit "$2"
}
trap 'stop INT 130' INT
trap 'stop TERM 143' TERM
trap 'stop TERM 129' HUP

say "killing and hanging a service on this machine; it comes back by itself"
# In the background, so that a signal is acted on at once; job control off leaves it in our process group, but bash makes it deaf to Ctrl-C.
"$ANSIBLE_PYTHON_INTERPRETER" -I -c '
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
os.execv(sys.argv[1], sys.argv[1:])
' "$VENVS/demo/bin/python" "$VENVS/demo/bin/ansible-playbook" -i inventories/demo faultline.selfheal.drill "$@" <&0 &
playbook=$!
status=0
wait "$playbook" || status=$?
playbook=""
clear_stage
exit "$status"
