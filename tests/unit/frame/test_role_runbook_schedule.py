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

from selfheal._records.timeline import Timeline

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


def ended(place: pathlib.Path, result: str, status: str, **environment: str) -> dict[str, Any] | None:
    """What is recorded of the run of the job `reconcile` that ended so."""
    ansible = place / "ansible"
    ansible.write_text('#!/bin/sh\nfor word in "$@"; do last=$word; done; printf "%s" "$last"\n', encoding="utf-8")
    ansible.chmod(0o755)
    text = (ROLE / "templates" / "ended.j2").read_text(encoding="utf-8")
    for name, value in (
        ("runbook_schedule_program | dirname", str(place)),
        ("runbook_schedule_home | quote", str(place / "home")),
        ("runbook_schedule_home", str(place / "home")),
        ("inventory_hostname", "control"),
    ):
        assert "{{ %s }}" % name in text
        text = text.replace("{{ %s }}" % name, value)
    script = place / "ended"
    script.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["/bin/sh", str(script), "reconcile"],
        env={"SERVICE_RESULT": result, "EXIT_STATUS": status, "PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stderr == ""
    return dict(json.loads(done.stdout)) if done.stdout else None


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
    said = ended(tmp_path, result, status)
    if outcome is None:
        assert said is None
    else:
        assert said is not None and said["data"] == {"run": "reconcile", "outcome": outcome, "exit": status}
        assert (said["host"], said["type"], said["path"]) == ("control", "run_result", str(tmp_path / "home" / "timeline"))


@pytest.mark.parametrize(
    ("invocation", "segment", "result", "twice"),
    [
        ("0f" * 16, 3, "exit-code", False),
        ("0f" * 16, 2, "exit-code", False),
        ("0f" * 16, 1, "exit-code", True),
        ("ab" * 16, 3, "exit-code", True),
        ("", 3, "exit-code", True),
        ("0f" * 16, 3, "timeout", True),
    ],
    ids=["in the newest segment", "in the one before", "long ago", "another run", "no invocation", "cut off after its end"],
)
def test_one_failure_is_one_record(invocation: str, segment: int, result: str, twice: bool, tmp_path: pathlib.Path) -> None:
    """A run that went to its end and failed has said so itself, host by host: the unit finds that by systemd's invocation."""
    for number in range(1, 4):
        timeline = Timeline(str(tmp_path / "home" / "timeline"), "web1", segment_size=1, ballast=False)
        timeline.append("run_result", data={"run": "reconcile", "invocation": "0f" * 16 if number == segment else "00" * 16})
        timeline.close()
    assert len(list((tmp_path / "home" / "timeline").glob("0*.jsonl"))) == 3
    assert (ended(tmp_path, result, "2", INVOCATION_ID=invocation) is not None) is twice
