# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics as a file: whole, readable by another user, written when due, and quiet when it cannot be."""

from __future__ import annotations

import os
import pathlib
import stat
from typing import List, Optional

from selfheal.daemon.textfile import EVERY, Textfile


def test_it_is_written_whole_and_only_when_due(tmp_path: pathlib.Path) -> None:
    """Every 15 s one file that others may read, whatever our umask is, and nothing beside it."""
    path, rendered = tmp_path / "selfheal.prom", [0]

    def render() -> bytes:
        rendered[0] += 1
        return b"x %d\n" % rendered[0]

    before = os.umask(0o077)
    try:
        textfile = Textfile(str(path), render, lambda problem: None)
        for now in (0.0, 1.0, EVERY - 0.1, EVERY):
            textfile.turn(now)
    finally:
        os.umask(before)
    assert (rendered[0], path.read_bytes(), textfile.wake) == (2, b"x 2\n", 2 * EVERY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644 and os.listdir(tmp_path) == ["selfheal.prom"]


def test_without_a_path_it_never_wakes_anybody() -> None:
    """Who asks for no file pays for none."""
    textfile = Textfile(None, lambda: b"", lambda problem: None)
    textfile.turn(5.0)
    assert textfile.wake == float("inf")


def test_a_problem_is_told_once_and_its_end_too(tmp_path: pathlib.Path) -> None:
    """A directory that is missing for an hour is one line in the log, not 240."""
    told: List[Optional[str]] = []
    textfile = Textfile(str(tmp_path / "gone" / "selfheal.prom"), lambda: b"x 1\n", told.append)
    for round in range(5):
        textfile.turn(round * EVERY)
    (tmp_path / "gone").mkdir()
    for round in range(5, 8):
        textfile.turn(round * EVERY)
    assert len(told) == 2 and "No such file or directory" in str(told[0]) and told[1] is None


def test_a_link_in_its_place_is_replaced_and_not_followed(tmp_path: pathlib.Path) -> None:
    """Nobody leads root's hand to another file."""
    other, path = tmp_path / "other", tmp_path / "selfheal.prom"
    other.write_text("precious")
    path.symlink_to(other)
    Textfile(str(path), lambda: b"x 1\n", lambda problem: None).turn(0.0)
    assert other.read_text() == "precious" and path.read_text() == "x 1\n" and not path.is_symlink()
