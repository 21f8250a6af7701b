# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is shown of a program's output in one line."""

from __future__ import annotations

import pytest

from selfheal._spawn import last_line


@pytest.mark.parametrize(
    ("stderr", "stdout", "shown"),
    [
        pytest.param("first\nlast\n\n", "other", "exit status 1: last", id="the last line of stderr"),
        pytest.param(" \n", "other\n", "exit status 1: other", id="else that of stdout"),
        pytest.param("", "", "exit status 1", id="nothing"),
        pytest.param("a\tb\x1b[31m\x07\x00c", "", "exit status 1: a b\\x1b[31m\\x07\\x00c", id="plays tricks on a terminal"),
    ],
)
def test_last_line(stderr: str, stdout: str, shown: str) -> None:
    """The last line that says something, on any terminal."""
    assert shown == last_line("exit status 1", {"stderr": stderr, "stdout": stdout})


def test_it_stays_short() -> None:
    """A line without an end does not fill the timeline."""
    assert 500 == len(last_line("exit status 1", {"stderr": "\x1b" * 100000, "stdout": ""}))
