# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`selfheal status --watch` on a terminal, on a dumb one, and into a pipe: redrawn in place, ended cleanly."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from typing import Any, Tuple


def on_a_terminal(bed: Any, term: str, looks: int, *argv: str) -> Tuple[str, int]:
    """What a terminal of 100 by 12 got until the command had looked so often and was told Ctrl-C, and the exit status."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 100, 0, 0))
    command = bed.command("status", "--watch", *argv)
    run = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": term, "COLUMNS": "", "LINES": ""}
    )
    os.close(theirs)
    text, deadline = "", time.monotonic() + 20
    while text.count("SERVICE") < looks and time.monotonic() < deadline:
        text += os.read(ours, 65536).decode()
    run.send_signal(signal.SIGINT)
    status = run.wait(10)
    try:
        while True:
            text += os.read(ours, 65536).decode()
    except OSError:  # the other end is closed: that was all
        os.close(ours)
    assert text.count("SERVICE") >= looks
    return text, status


def test_a_screen_is_written_over_in_place(bed: Any) -> None:
    """Cleared once, then written over; the cursor is hidden meanwhile and back at the end; Ctrl-C ends it with the last look's status."""
    bed.contracts(bed.service())
    bed.watch()
    bed.healthy()
    text, status = on_a_terminal(bed, "xterm", 3)
    assert 0 == status and 1 == text.count("\x1b[2J") and text.count("\x1b[H") >= 3
    assert 1 == text.count("\x1b[?25l") == text.count("\x1b[?25h") and text.rstrip("\r\n").endswith("\x1b[?25h")
    assert "Traceback" not in text


def test_more_services_than_lines_are_counted(bed: Any) -> None:
    """What does not fit on the screen is said, and does not scroll it."""
    bed.contracts(*[bed.service("s%02d" % number, mode="observe") for number in range(15)])
    text, status = on_a_terminal(bed, "xterm", 2)
    assert 1 == status and "more lines" in text and "s00" in text and "s14" not in text


def test_a_dumb_terminal_and_a_pipe_get_plain_lines(bed: Any) -> None:
    """No escape sequence where nobody understands it; JSON is one line a look."""
    bed.contracts(bed.service())
    bed.watch()
    bed.healthy()
    text, status = on_a_terminal(bed, "dumb", 2)
    assert 0 == status and "\x1b" not in text
    run = subprocess.Popen(bed.command("status", "--watch", "--json"), stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    looks = [json.loads(run.stdout.readline()) for _look in range(2)]
    run.send_signal(signal.SIGINT)
    assert 0 == run.wait(10) and ["web"] * 2 == [look["services"][0]["name"] for look in looks]
    run.stdout.close()


def test_a_reader_that_goes_away_ends_it(bed: Any) -> None:
    """`selfheal status --watch | head -1` ends by itself."""
    bed.contracts(bed.service())
    bed.watch()
    bed.healthy()
    run = subprocess.Popen(bed.command("status", "--watch"), stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    run.stdout.readline()
    run.stdout.close()
    assert 0 == run.wait(10)
