# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that writes to the terminal.

A reader that goes away (``selfheal incidents | head``) is no error: the rest is written to nowhere, and `gone` says so to whoever
would go on for ever.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import Any, List, Mapping, Sequence

_state = {"gone": False}


def gone() -> bool:
    """Has whoever read our output gone away?"""
    return _state["gone"]


def say(text: str = "") -> None:
    """One or more lines to standard output."""
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
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def clear() -> None:
    """An empty screen, on a terminal."""
    if terminal():
        _write(sys.stdout, "\x1b[H\x1b[2J")


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


__all__ = ["clear", "complain", "emit", "emit_line", "flush", "gone", "pairs", "printable", "say", "table", "terminal"]
