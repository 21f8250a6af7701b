#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Prints the interpreter that the virtual environments are made with: the newest of those the tests run on. A name on PATH proves nothing (a
# version manager's shim may be there without its Python, Debian ships Python without ensurepip), so each candidate is run.
# SELFHEAL_PYTHON=/path/to/python decides it by hand.

set -euo pipefail

probe='
import sys
if sys.version_info < (3, 11):
    sys.exit(3)
try:
    import ensurepip, venv
except ImportError:
    print("python%d.%d" % sys.version_info[:2])
    sys.exit(4)
print("%d.%d" % sys.version_info[:2])
print(getattr(sys, "_base_executable", None) or sys.executable)
'

if [ -n "${SELFHEAL_PYTHON:-}" ]; then
    if found=$("$SELFHEAL_PYTHON" -I -c "$probe" | sed -n 2p) && [ -n "$found" ]; then
        printf '%s\n' "$found"
        exit 0
    fi
    echo "selfheal: SELFHEAL_PYTHON=$SELFHEAL_PYTHON is no Python >= 3.11 with the venv and ensurepip modules" >&2
    exit 2
fi

IFS=: read -r -a folders <<<"$PATH"
shopt -s nullglob
folders+=(/usr/local/bin /usr/bin "${HOME:-/nonexistent}"/.pyenv/versions/*/bin)
without_venv=""

for version in 3.13 3.12 3.11 3.14; do
    for folder in "${folders[@]}"; do
        for name in "python$version" python3; do
            [ -x "$folder/$name" ] || continue
            status=0
            found=$("$folder/$name" -I -c "$probe" 2>/dev/null) || status=$?
            if [ "$status" -eq 0 ] && [ "${found%%$'\n'*}" = "$version" ]; then
                printf '%s\n' "$found" | sed -n 2p
                exit 0
            elif [ "$status" -eq 4 ]; then
                without_venv=$found
            fi
        done
    done
done

if [ -n "$without_venv" ]; then
    echo "selfheal: $without_venv is here, but without its venv module. On Debian and Ubuntu: sudo apt-get install $without_venv-venv" >&2
else
    echo "selfheal: no Python 3.11, 3.12 or 3.13 was found. On Debian 12 and later: sudo apt-get install python3 python3-venv" >&2
    echo "selfheal: one at another place is taken with SELFHEAL_PYTHON=/path/to/python3" >&2
fi
exit 2
