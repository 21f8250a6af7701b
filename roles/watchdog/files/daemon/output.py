# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that writes to the terminal.

A reader that goes away (``selfheal incidents | head``) is no error: the rest is written to nowhere, and `gone` says so to whoever
would go on for ever. Output that cannot be written (a full disk) is one, said once on standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from typing import Any, Dict, Iterator, List, Mapping, Sequence

_state: Dict[str, Any] = {"gone": False, "held": None}


def gone() -> bool:
    """Has whoever read our output gone away?"""
    return bool(_state["gone"])


def say(text: str = "") -> None:
    """One or more lines to standard output."""
    if _state["held"] is not None:
        _state["held"].append(text + "\n")
        return
    _write(sys.stdout, text + "\n")


def complain(text: str) -> None:
    """A message to standard error."""
    _write(sys.stderr, "selfheal: %s\n" % text)


def emit(data: Any) -> None:
    """Data for machines: JSON, indented for people who look at it all the same."""
    say(json.dumps(data, indent=2, ensure_ascii=False))


def emit_line(data: Any) -> None:
    """One JSON line, for streams."""
    say(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


def flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        _write(stream, "")


def _write(stream: Any, text: str) -> None:
    if stream is None:
        return
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            stream.write(text.encode(stream.encoding or "ascii", "backslashreplace").decode(stream.encoding or "ascii"))
        stream.flush()
    except BrokenPipeError:
        _state["gone"] = True
        _to_nowhere(stream)
    except OSError as error:
        _to_nowhere(stream)
        if stream is not sys.stderr:  # where messages cannot be written the exit status has to say it all
            raise OSError(error.errno, "writing the output: %s" % error.strerror) from error


def _to_nowhere(stream: Any) -> None:
    """What waits in the buffer, and all that follows, is written to nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def redraws() -> bool:
    """Is there a screen that can be written over? Not a pipe, and no terminal that says it is dumb or nothing at all."""
    return terminal() and os.environ.get("TERM", "") not in ("", "dumb")


@contextlib.contextmanager
def screen() -> Iterator[None]:
    """Inside the block what is said in one turn (see `turn`) takes the place of the turn before. The cursor is back at the end of it."""
    if not redraws():
        yield
        return
    _write(sys.stdout, "\x1b[?25l\x1b[2J")
    try:
        yield
    finally:
        _write(sys.stdout, "\x1b[?25h")


@contextlib.contextmanager
def turn(first: bool) -> Iterator[None]:
    """What is said inside the block is shown at once and in place of the last turn; below it on a pipe or a dumb terminal."""
    if not redraws():
        if not first:
            say()
        yield
        return
    _state["held"] = []
    try:
        yield
    finally:
        lines, _state["held"] = "".join(_state["held"]).split("\n"), None
        rows = shutil.get_terminal_size((120, 24)).lines
        if len(lines) > rows:
            lines = [*lines[: rows - 1], "\u2026 %d more lines" % (len(lines) - rows)]
        # Each line is written over the old one and cleared to its end: nothing flickers, nothing old stays.
        _write(sys.stdout, "\x1b[H" + "\x1b[K\n".join(lines[:-1]) + "\x1b[K" + ("\n" + lines[-1] if lines[-1] else "") + "\x1b[J")


def printable(value: Any) -> str:
    """Text that cannot play tricks with a terminal: what is not printable is shown escaped."""
    text = "" if value is None else str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def pairs(data: Mapping[str, Any]) -> List[str]:
    """An event's data as ``key=value`` words for people; what is nested deeper than a list of words is left to ``--json``."""
    found = []
    for key, value in data.items():
        if isinstance(value, (list, tuple)) and not any(isinstance(each, (dict, list)) for each in value):
            value = ",".join(str(each) for each in value) or "none"
        if not isinstance(value, (dict, list, tuple)):
            found.append("%s=%s" % (key, value))
    return found


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Columns as wide as they must be; the last is cut at the terminal's edge, and never when nobody looks."""
    texts: List[List[str]] = [[printable(cell) for cell in row] for row in rows]
    widths = [max([len(title)] + [len(row[column]) for row in texts]) for column, title in enumerate(header)]
    edge = shutil.get_terminal_size((120, 24)).columns if terminal() else 0
    for row in [[title.upper() for title in header]] + texts:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        say(line[: edge - 1] + "…" if edge and len(line) > edge else line)


__all__ = ["complain", "emit", "emit_line", "flush", "gone", "pairs", "printable", "redraws", "say", "screen", "table", "terminal", "turn"]
