# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role runbook_schedule says at one place what it takes, and its record of how a run ended says what happened."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
from typing import Any

import pytest
import yaml

ROLE = pathlib.Path(__file__).resolve().parents[3] / "roles" / "runbook_schedule"


def load(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROLE / name).read_text(encoding="utf-8")))


def options() -> dict[str, Any]:
    return dict(load("meta/argument_specs.yml")["argument_specs"]["main"]["options"])


def test_the_role_specifies_exactly_what_has_a_default() -> None:
    """Nothing is taken that is not typed, nothing typed lacks a default, and literal defaults are the same at both places."""
    defaults = load("defaults/main.yml")
    assert sorted(options()) == sorted(defaults)
    for name, option in options().items():
        if "default" in option:
            assert defaults[name] == option["default"], name


def test_the_tables_in_the_readme_are_the_specification() -> None:
    """A reader of the README sees every variable, and every key of a job, with its type, in the specification's order."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", (ROLE / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    wanted = {**options(), **options()["runbook_schedule_jobs"]["options"]}
    assert rows == [(name, option["type"]) for name, option in wanted.items()]


@pytest.mark.parametrize(
    ("result", "status", "outcome"),
    [
        ("success", "0", None),
        ("success", "75", "lock_held"),
        ("success", "TERM", "stopped"),
        ("timeout", "TERM", "timeout"),
        ("exit-code", "4", "exit-code"),
        ("oom-kill", "KILL", "oom-kill"),
    ],
)
def test_how_a_run_ended_is_recorded(result: str, status: str, outcome: str | None, tmp_path: pathlib.Path) -> None:
    """A run that could not say so itself is on record with what systemd says of it; one that somebody stopped was no success."""
    ansible = tmp_path / "ansible"
    ansible.write_text('#!/bin/sh\nfor word in "$@"; do last=$word; done; printf "%s" "$last"\n', encoding="utf-8")
    ansible.chmod(0o755)
    text = (ROLE / "templates" / "ended.j2").read_text(encoding="utf-8")
    for name, value in (
        ("runbook_schedule_program | dirname", str(tmp_path)),
        ("runbook_schedule_home", "/var/lib/selfheal-controller"),
        ("inventory_hostname", "control"),
    ):
        assert "{{ %s }}" % name in text
        text = text.replace("{{ %s }}" % name, value)
    script = tmp_path / "ended"
    script.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["/bin/sh", str(script), "reconcile"],
        env={"SERVICE_RESULT": result, "EXIT_STATUS": status, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    if outcome is None:
        assert done.stdout == ""
    else:
        said = json.loads(done.stdout)
        assert said["data"] == {"run": "reconcile", "outcome": outcome, "exit": status}
        assert (said["host"], said["type"], said["path"]) == ("control", "run_result", "/var/lib/selfheal-controller/timeline")
