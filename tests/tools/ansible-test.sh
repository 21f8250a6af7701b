# shellcheck shell=bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What ansible-test needs on any machine; sourced after lib.sh.

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# ansible-test and Ansible put the interpreter's path into lines that a space would break; by this way it has none.
ln -s "$VENVS" "$scratch/venvs"
bin="$scratch/venvs/test/bin"

# ansible-test tries every python3.N on PATH by name and stops at one that is only a version manager's shim. It is given a directory of those
# that run, and PATH without the shims; a version that is not here is skipped by ansible-test itself, which says so.
working_pythons() {
    local folder name version real rest="" folders
    mkdir -p "$scratch/pythons"
    IFS=: read -r -a folders <<<"$PATH"
    shopt -s nullglob
    for folder in "${folders[@]}"; do
        case "$folder" in */shims) ;; *) rest="$rest:$folder" ;; esac
    done
    for version in 3.9 3.10 3.11 3.12 3.13 3.14; do
        for folder in "${folders[@]}" "${REAL_HOME:-/nonexistent}"/.pyenv/versions/*/bin; do
            name="$folder/python$version"
            [ -x "$name" ] || continue
            real=$("$name" -I -c 'import sys, venv, ensurepip; print(getattr(sys, "_base_executable", sys.executable))' 2>/dev/null) || continue
            ln -sf "$real" "$scratch/pythons/python$version"
            break
        done
    done
    shopt -u nullglob
    PATH="$bin:$scratch/pythons$rest"
}

# ansible-test keeps downloads and environments below HOME. It gets a home of its own in .venv, with pip's settings and cache of the real one.
ansible_test_environment() {
    local part
    REAL_HOME=${HOME:-}
    ansible_environment test
    unset ANSIBLE_CONFIG ANSIBLE_HOME ANSIBLE_COLLECTIONS_PATH ANSIBLE_PYTHON_INTERPRETER
    working_pythons
    HOME="$VENVS/ansible-test-home"
    mkdir -p "$HOME/.config" "$HOME/.cache" "$HOME/.ansible/test/cache"
    for part in .config/pip .pip .cache/pip; do
        if [ -e "$REAL_HOME/$part" ] && [ ! -e "$HOME/$part" ]; then ln -s "$REAL_HOME/$part" "$HOME/$part"; fi
    done
    export HOME PATH
    # ansible-test downloads a pip bootstrap script, by a name that carries pip's version, from its project's own file host. The stand-in does
    # the same work with the ensurepip of the interpreter, and pip's ordinary index.
    "$VENVS/test/bin/python" - "$ROOT/tests/tools/get_pip.py" "$HOME/.ansible/test/cache" <<'PYTHON'
import pathlib
import re
import shutil
import sys

import ansible_test._internal.python_requirements as requirements

source = pathlib.Path(requirements.__file__).read_text(encoding="utf-8")
versions = set(re.findall(r"\bpip\W+([0-9.]+)", source))
for version in versions:
    shutil.copyfile(sys.argv[1], pathlib.Path(sys.argv[2]) / ("get_pip_%s.py" % version.replace(".", "_")))
PYTHON
}

ansible_test() { "$bin/python" "$bin/ansible-test" "$@"; }
