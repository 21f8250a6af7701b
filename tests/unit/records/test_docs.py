# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the timeline says what the code does."""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest

from selfheal._records.events import KEYS, SOURCES, TYPES
from selfheal._records.timeline import Timeline

TEXT = (pathlib.Path(__file__).resolve().parents[3] / "docs" / "timeline.md").read_text()


def test_every_event_type_is_documented_in_order():
    """The table has all types, no other, in the order of the list in the code."""
    table = TEXT.partition("## Event types")[2].partition("## In numbers")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == TYPES


def test_keys_and_sources_are_documented():
    """Each key of an event has its row in order; every source is named."""
    table = TEXT.partition("## One event")[2].partition("## Check it by hand")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == KEYS
    assert ", ".join(SOURCES) in table


@pytest.mark.parametrize("tamper", [False, True])
def test_the_shell_script_of_the_documentation_checks_a_log(tmp_path, tamper):
    """Anyone can check a log with sha256sum as the documentation says."""
    timeline = Timeline(str(tmp_path), "web1", segment_size=1500, ballast=False)
    for number in range(12):
        timeline.append("note", data={"number": number, "text": "back\\slash \u00fc"})
    if tamper:
        path = tmp_path / "000001.jsonl"
        path.write_text(path.read_text().replace('"number":2', '"number":9'))
    script = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)[0]
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ("broken at:" in done.stdout, done.stderr) == (tamper, "")


@pytest.mark.parametrize("name, own", [("timeline_record", False), ("timeline_info", True)])
def test_the_modules_document_the_same_types(name, own):
    """Choices in the documentation of the modules are the types of the code."""
    text = (pathlib.Path(__file__).resolve().parents[3] / "plugins" / "modules" / (name + ".py")).read_text()
    listed = re.findall(r"^      - (\w+)$", text.partition("EXAMPLES")[0], re.MULTILINE)
    assert tuple(listed) == tuple(kind for kind in TYPES if own or not kind.startswith("log_"))
