# shellcheck shell=bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Shared by the scripts behind the Makefile; sourced, never run. Everything they make lies under .venv/ and dist/ of the clone, whose path
# may contain spaces.

set -euo pipefail
ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# Another place for environments, and another ansible-core than tests/requirements-demo.txt has: for matrix.sh.
VENVS="${SELFHEAL_VENVS:-$ROOT/.venv}"
CORE="${SELFHEAL_CORE:-}"
COLLECTIONS="$VENVS/collections"
INSTALLED="$COLLECTIONS/ansible_collections/faultline/selfheal"
export ROOT
# What a step ends with that cannot be had on this machine; its last line says why.
SKIPPED=77

say() { printf '== %s\n' "$*" >&2; }

die() {
    printf 'selfheal: %s\n' "$*" >&2
    exit 2
}

# Runs a command with the machine's other runs locked out (two `make` in one clone). The lock goes with the process.
locked() {
    mkdir -p "$VENVS"
    if command -v flock >/dev/null 2>&1; then
        (
            flock -w 900 9 || die "another make has held $VENVS/.lock for 15 minutes; wait for it, or end it"
            "$@" 9>&-
        ) 9>"$VENVS/.lock"
    else
        "$@"
    fi
}

# venv NAME: the virtual environment of tests/requirements-NAME.txt, complete and current. The stamp is written last and names everything the
# environment depends on, so one that was interrupted, moved or made from other requirements is never trusted.
venv() { locked _venv "$1"; }

_venv() {
    local name=$1 python stamp wanted requirements
    local where="$VENVS/$name"
    stamp="$where/.complete"
    requirements="$ROOT/tests/requirements-$name.txt"
    [ -f "$requirements" ] || die "there is no $requirements"
    python=$("$ROOT/tests/tools/find-python.sh")
    wanted=$(printf '%s\n' "$where" "$python" "$CORE"; "$python" -c 'import sys; print(sys.version)'; cat "$requirements" "$ROOT/tests/requirements-demo.txt")
    wanted=$(printf '%s' "$wanted" | sha256sum | cut -d' ' -f1)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$where/bin/python" -c '' 2>/dev/null; then
        return 0
    fi
    say "virtual environment .venv/$name ($("$python" -V 2>&1))"
    rm -rf "$where"
    "$python" -m venv "$where" || die "$python could not make $where; see the message above"
    if [ -n "$CORE" ]; then
        mkdir "$where/requirements"
        cp "$ROOT"/tests/requirements-*.txt "$where/requirements/"
        sed -i "s/^ansible-core==.*/ansible-core==$CORE/" "$where"/requirements/*.txt
        requirements="$where/requirements/requirements-$name.txt"
    fi
    PIP_DISABLE_PIP_VERSION_CHECK=1 "$where/bin/python" -m pip install --quiet --no-input -r "$requirements" \
        || die "pip could not install $requirements into $where; is a package index reachable? (pip config list, PIP_INDEX_URL)"
    printf '%s' "$wanted" >"$stamp"
}

# The interpreter an environment was made from. Ansible puts the interpreter unquoted into a shell line, so modules on this machine are run by
# this one and not by the environment's, whose path may contain spaces.
base_python() { "$VENVS/$1/bin/python" -c 'import sys; print(sys._base_executable)'; }

# ansible_environment NAME: this clone's collection, and nothing of the user's own Ansible.
ansible_environment() {
    local variable
    for variable in ${!ANSIBLE_@}; do unset "$variable"; done
    export ANSIBLE_CONFIG="$ROOT/tests/tools/ansible.cfg"
    export ANSIBLE_HOME="$VENVS/ansible-home"
    export ANSIBLE_COLLECTIONS_PATH="$COLLECTIONS"
    ANSIBLE_PYTHON_INTERPRETER=$(base_python "$1")
    export ANSIBLE_PYTHON_INTERPRETER
    export PATH="$VENVS/$1/bin:$PATH"
    # Ansible refuses to start without a UTF-8 locale; C.UTF-8 is in every glibc.
    case "${LC_ALL:-${LC_CTYPE:-${LANG:-}}}" in
        *[Uu][Tt][Ff]*8*) ;;
        *) export LC_ALL=C.UTF-8 ;;
    esac
}

# Builds dist/ and installs the built tarball; what is tested is what is shipped.
install_collection() {
    venv demo
    locked _install_collection
}

_install_collection() {
    local tarball wanted
    ansible_environment demo
    "$VENVS/demo/bin/python" "$ROOT/tests/tools/dist.py" >&2
    tarball=$(echo "$ROOT"/dist/faultline-selfheal-*.tar.gz)
    wanted=$(sha256sum <"$tarball")
    if [ -d "$INSTALLED" ] && [ "$(cat "$COLLECTIONS/.complete" 2>/dev/null)" = "$wanted" ]; then
        return 0
    fi
    rm -rf "$COLLECTIONS"
    mkdir -p "$COLLECTIONS"
    "$VENVS/demo/bin/ansible-galaxy" collection install --offline --force -p "$COLLECTIONS" "$tarball" >/dev/null
    printf '%s' "$wanted" >"$COLLECTIONS/.complete"
}

# awx_collection: the collection awx.awx, which no index has by itself, out of the last Python package that carries it. Nothing of it is shipped.
awx_collection() {
    locked _awx_collection
    export SELFHEAL_AWX_COLLECTIONS="$VENVS/awx"
}

_awx_collection() {
    local where="$VENVS/awx" wheel=ansible==13.8.0
    if [ "$(cat "$where/.complete" 2>/dev/null)" = "$wheel" ]; then return 0; fi
    rm -rf "$where"
    mkdir -p "$where/download"
    say "awx.awx out of $wheel"
    PIP_DISABLE_PIP_VERSION_CHECK=1 "$VENVS/demo/bin/python" -m pip download --quiet --no-input --no-deps --python-version 3.12 --only-binary :all: \
        --dest "$where/download" "$wheel" || die "pip could not download $wheel; is a package index reachable? (pip config list, PIP_INDEX_URL)"
    "$VENVS/demo/bin/python" - "$where" <<'PYTHON'
import pathlib
import sys
import zipfile

where = pathlib.Path(sys.argv[1])
(wheel,) = (where / "download").glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(where, [name for name in archive.namelist() if name.startswith("ansible_collections/awx/awx/")])
PYTHON
    rm -rf "$where/download"
    printf '%s' "$wheel" >"$where/.complete"
}

# twice NAME PYTEST ARGUMENTS: tests with real processes and real seconds, on a machine that may be small and busy. What failed is asked once
# more, alone; what fails then has failed. Both runs are shown. More than a handful of failures are no accident and are not asked again.
twice() {
    local cache="$VENVS/cache-$1" code=0 failed
    shift
    rm -rf "$cache"
    "$VENVS/test/bin/python" -m pytest -o cache_dir="$cache" "$@" || code=$?
    [ "$code" -eq 1 ] || return "$code"
    failed=$(grep -c '::' "$cache/v/cache/lastfailed" 2>/dev/null || true)
    if [ "${failed:-0}" -eq 0 ] || [ "$failed" -gt 8 ]; then return 1; fi
    say "$failed failed; asked once more, alone"
    "$VENVS/test/bin/python" -m pytest -o cache_dir="$cache" --last-failed --last-failed-no-failures none "$@" -n 0
}

# lab_engine: a Docker Engine and the lab's images; an engine that had to be started is stopped with this script. Where there can be none
# (neither root nor an engine that answers, or no apt-get) the script ends as skipped; any other trouble is a failure.
lab_engine() {
    local status=0 said
    if [ -n "${SELFHEAL_NO_LAB:-}" ]; then
        printf 'skipped: SELFHEAL_NO_LAB is set\n' >&2
        exit "$SKIPPED"
    fi
    LAB_PYTHON=$("$ROOT/tests/tools/find-python.sh")
    said=$("$LAB_PYTHON" "$ROOT/tests/lab/lab.py" ready) || status=$?
    if [ "$status" -ne 0 ]; then exit "$status"; fi
    LAB_STARTED=$said
    # shellcheck disable=SC2086
    trap '"$LAB_PYTHON" "$ROOT/tests/lab/lab.py" rest $LAB_STARTED' EXIT
}

# copy_tree DIRECTORY: tracked and new files as ansible_collections/faultline/selfheal, where ansible-test and ansible-lint want them.
# ansible-test resolves symbolic links, so a link to the clone would not do.
copy_tree() {
    local to="$1/ansible_collections/faultline/selfheal"
    mkdir -p "$to"
    if git -C "$ROOT" rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        (cd "$ROOT" && git ls-files -co --exclude-standard -z | while IFS= read -r -d '' file; do
            if [ -e "$file" ]; then printf '%s\0' "$file"; fi
        done | tar --null -T - -cf -) | tar -xf - -C "$to"
    else
        (cd "$ROOT" && tar --exclude=./.venv --exclude=./dist --exclude=./tests/output --exclude=__pycache__ -cf - .) | tar -xf - -C "$to"
    fi
}
