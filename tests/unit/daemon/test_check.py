# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``selfheal check`` of single files: what the role asks before a file replaces the one in force."""

from __future__ import annotations

import json
import pathlib
from typing import Any, Dict, List

import pytest

from selfheal.daemon import cli

GOOD = {"schema": 1, "host": "web1"}
CASES: List[Any] = [
    (GOOD, 0, []),
    ({**GOOD, "listen": "0.0.0.0:9877"}, 2, ["watchdog.new", "listen", "token_file"]),
    ({**GOOD, "lissten": "x"}, 2, ["watchdog.new", "lissten", "did you mean"]),
    ({"host": "web1"}, 2, ["schema"]),
]


@pytest.mark.parametrize(("configuration", "status", "words"), CASES, ids=["good", "off-loopback", "unknown-key", "no-schema"])
def test_a_configuration_is_checked_alone(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], configuration: Dict[str, Any], status: int, words: List[str]
) -> None:
    """Neither the configuration in force nor contracts, which need not exist yet, have a say; a problem names the file that was given."""
    path = tmp_path / "watchdog.new"
    path.write_text(json.dumps(configuration))
    found = cli.main(["--etc", str(tmp_path / "nowhere"), "check", "--configuration", str(path)])
    said = capsys.readouterr().err
    assert status == found
    assert [] == [word for word in words if word not in said]


def test_both_files_are_checked_when_both_are_given(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One call lists the problems of both new files."""
    for name in ("w.json", "c.json"):
        (tmp_path / name).write_text("{}")
    argv = ["check", "--configuration", str(tmp_path / "w.json"), "--contracts", str(tmp_path / "c.json")]
    assert 2 == cli.main(argv)
    said = capsys.readouterr().err
    assert "w.json" in said and "c.json" in said
