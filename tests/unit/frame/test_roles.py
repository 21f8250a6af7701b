# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role says at one place what it takes: its argument specification; defaults and README agree with it."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
ROLES = sorted(path.parent.parent for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"))


def options(role: pathlib.Path) -> dict[str, Any]:
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    return dict(specs["argument_specs"]["main"].get("options", {}))


def defaults(role: pathlib.Path) -> dict[str, Any]:
    path = role / "defaults" / "main.yml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_variable_of_a_role_carries_its_name(role: pathlib.Path) -> None:
    """Two roles in one play never read each other's variables."""
    assert [name for name in {**options(role), **defaults(role)} if not re.match("(%s|selfheal)_" % role.name, name)] == []


def test_the_watchdog_role_specifies_exactly_what_has_a_default() -> None:
    """Nothing is taken that is not typed, and nothing typed lacks a default; literal defaults are the same at both places."""
    role = ROOT / "roles" / "watchdog"
    specified, given = options(role), defaults(role)
    assert sorted(specified) == sorted(given)
    literal = {name: value for name, value in given.items() if not (isinstance(value, str) and "{{" in value)}
    assert literal == {name: option["default"] for name, option in specified.items() if "default" in option}


def test_inventory_variables_are_the_defaults_of_the_roles() -> None:
    """What the inventory says in selfheal_* reaches the role under its own name."""
    for name, value in defaults(ROOT / "roles" / "watchdog").items():
        if isinstance(value, str) and "{{" in value:
            assert value.startswith("{{ %s | default(" % name.replace("watchdog_", "selfheal_")), name


def test_the_table_in_the_readme_is_the_specification() -> None:
    """A reader of the README sees every variable with its type and what it is without being set, in the specification's order."""
    role = ROOT / "roles" / "watchdog"
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", (role / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    shown = []
    for name, option in options(role).items():
        value = defaults(role).get(name, option.get("default"))
        if isinstance(value, str) and "{{" in value:
            value = re.sub(r"^\{\{ (\w+) \| default\((.*)\) \}\}$", r"\1, \2", value).replace("'", "")
        elif isinstance(value, bool):
            value = str(value).lower()
        shown.append((name, option["type"], "`%s`" % value))
    assert rows == shown


def test_fixed_paths_are_those_of_the_design() -> None:
    """Other parts of the collection and people's own checks look for these names."""
    fixed = yaml.safe_load((ROOT / "roles" / "watchdog" / "vars" / "main.yml").read_text(encoding="utf-8"))
    names = ("watchdog_etc", "watchdog_archive_path", "watchdog_run_dir", "watchdog_unit", "watchdog_command_path")
    assert [fixed[name] for name in names] == [
        "/etc/selfheal",
        "/usr/local/lib/selfheal/selfheal.pyz",
        "/run/selfheal",
        "selfheal-watchdog.service",
        "/usr/local/bin/selfheal",
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_a_playbook_says_at_its_top_what_it_takes(path: pathlib.Path) -> None:
    """Whoever opens a runbook at night reads first what it does and every variable it looks at."""
    text = path.read_text(encoding="utf-8")
    head = text.split("\n- ", 1)[0]
    body = text[len(head) :]
    # What a play registers or computes itself is no argument.
    own = set(re.findall(r"register: (\w+)", body)) | set(re.findall(r"^ +(selfheal_\w+):", body, re.MULTILINE)) | {"selfheal_item"}
    used = set(re.findall(r"(?<![\w./'])(selfheal_[a-z_]+)", body)) - own
    assert sorted(name for name in used if not re.search(r"^# %s\b" % name, head, re.MULTILINE)) == []
    assert "ansible-playbook faultline.selfheal.%s " % path.stem in head
