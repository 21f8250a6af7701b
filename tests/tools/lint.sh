#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Every linter, and all of their findings: one that fails does not hide the next.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

install_collection
venv test
ansible_environment test
cd "$ROOT"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
copy_tree "$scratch"
tree="$scratch/ansible_collections/faultline/selfheal"
failed=()

check() {
    local name=$1
    shift
    if "$@" >"$scratch/output" 2>&1; then
        printf '%-22s ok\n' "$name"
    else
        printf '%-22s FAILED\n' "$name"
        sed 's/^/    /' "$scratch/output"
        failed+=("$name")
    fi
}

# The library has one name in the archive the hosts run and another in the tree; mypy is shown the archive's.
types() {
    local to="$scratch/types/selfheal" status=0 entry
    mkdir -p "$to"
    for entry in "$ROOT"/plugins/module_utils/*; do ln -s "$entry" "$to/"; done
    if [ -d "$ROOT/roles/watchdog/files/daemon" ]; then ln -s "$ROOT/roles/watchdog/files/daemon" "$to/daemon"; fi
    MYPYPATH="$scratch/types" "$VENVS/test/bin/mypy" --config-file "$ROOT/pyproject.toml" --cache-dir "$VENVS/mypy-cache" -p selfheal \
        >"$scratch/mypy" 2>&1 || status=$?
    sed -E 's#^[^ ]*types/selfheal/daemon/#roles/watchdog/files/daemon/#; s#^[^ ]*types/selfheal/#plugins/module_utils/#' "$scratch/mypy"
    return "$status"
}

in_tree() (cd "$tree" && ANSIBLE_COLLECTIONS_PATH="$scratch" "$@")

ansible_lint() {
    # It wants a changelog where the rules of Galaxy look for one; the real one is written when a version is released.
    [ -e "$tree/CHANGELOG.rst" ] || printf 'Changelog\n=========\n' >"$tree/CHANGELOG.rst"
    in_tree "$VENVS/test/bin/ansible-lint" --profile production --offline --nocolor
}

check "ruff check" "$VENVS/test/bin/ruff" check --output-format concise --cache-dir "$VENVS/ruff-cache" .
check "ruff format" "$VENVS/test/bin/ruff" format --cache-dir "$VENVS/ruff-cache" --check --diff .
check mypy types
check "mypy (tools)" "$VENVS/test/bin/mypy" --config-file pyproject.toml --cache-dir "$VENVS/mypy-cache" plugins/plugin_utils tests/tools
check yamllint "$VENVS/test/bin/yamllint" --strict .
check ansible-lint ansible_lint
check antsibull-docs in_tree "$VENVS/test/bin/antsibull-docs" lint-collection-docs --plugin-docs --skip-rstcheck .
check antsibull-changelog in_tree "$VENVS/test/bin/antsibull-changelog" lint

if [ "${#failed[@]}" -gt 0 ]; then
    printf 'lint: failed: %s\n' "${failed[*]}" >&2
    exit 1
fi
