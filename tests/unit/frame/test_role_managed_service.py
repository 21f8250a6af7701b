# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role managed_service says at one place what it takes: its argument specification; defaults and README agree with it."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import yaml

ROLE = pathlib.Path(__file__).resolve().parents[3] / "roles" / "managed_service"


def read(path: str) -> Any:
    return yaml.safe_load((ROLE / path).read_text(encoding="utf-8"))


def specified() -> dict[str, Any]:
    return dict(read("meta/argument_specs.yml")["argument_specs"]["main"]["options"])


def test_what_is_specified_has_a_default_and_the_same() -> None:
    """Nothing is taken that is not typed, and nothing typed lacks a default."""
    given = read("defaults/main.yml")
    assert sorted(specified()) == sorted(given)
    literal = {name: value for name, value in given.items() if not (isinstance(value, str) and "{{" in value)}
    assert literal == {name: option["default"] for name, option in specified().items() if "default" in option}


def test_the_table_in_the_readme_is_the_specification() -> None:
    """A reader sees every variable with its type and what it is without being set, in the specification's order."""
    given = read("defaults/main.yml")
    expected = []
    for name, option in specified().items():
        value = given[name]
        if isinstance(value, str) and "{{" in value:
            value = re.sub(r"^\{\{ (\w+) \| default\((.*)\) \}\}$", r"\1, \2", value).replace("'", "")
        elif isinstance(value, bool):
            value = str(value).lower()
        expected.append((name, option["type"], "`%s`" % value))
    assert re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", (ROLE / "README.md").read_text(encoding="utf-8"), re.MULTILINE) == expected


def test_the_unit_has_what_the_design_asks_for() -> None:
    """C25: restarted by systemd first, but not for ever; its end is told; drop-ins are nobody's but the admin's."""
    unit = (ROLE / "templates" / "unit.service.j2").read_text(encoding="utf-8")
    for line in ("Restart=on-failure", "RestartSec={{", "StartLimitBurst={{", "StartLimitIntervalSec={{", "OnFailure={{", "User={{"):
        assert re.search("^" + re.escape(line), unit, re.MULTILINE), line
    assert read("defaults/main.yml")["managed_service_restart_sec"] == "100ms"
    tasks = "".join(path.read_text(encoding="utf-8") for path in (ROLE / "tasks").glob("*.yml"))
    assert ".service.d" not in tasks
