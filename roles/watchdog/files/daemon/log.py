# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon's lines for the host's journal: standard error, never waited for.

A journal that hangs must not stop the healing, so a line that cannot be written at once is dropped, and the next one says how many were.
"""

from __future__ import annotations

import os
import select
from typing import Any, Mapping

from .output import pairs, printable

ERROR, WARNING, NOTICE, INFO = 3, 4, 5, 6
"""The journal's priorities, as in syslog(3)."""

# A pipe that is ready takes as much as this in one piece.
_LONGEST = 4096
_STDERR = 2
_GRAVE = {"failure": WARNING, "page": ERROR, "contract_refused": ERROR, "state_reset": WARNING, "log_repair": WARNING, "blocked": WARNING}


class Log:
    """Lines to standard error; with their priority where the journal reads it."""

    def __init__(self) -> None:
        self.lost = 0
        self._marked = "JOURNAL_STREAM" in os.environ
        self._ready = select.poll()
        self._ready.register(_STDERR, select.POLLOUT)

    def say(self, text: str, priority: int = INFO) -> None:
        """One line."""
        if self.lost:
            text = "%s (%d lines before this one were lost: nobody read them)" % (text, self.lost)
        mark = "<%d>" % priority if self._marked else ""
        line = ("%s%s" % (mark, printable(text))).encode("utf-8", "backslashreplace")[: _LONGEST - 1] + b"\n"
        try:
            ready = self._ready.poll(0)
            if not ready or not ready[0][1] & select.POLLOUT or os.write(_STDERR, line) != len(line):
                self.lost += 1
                return
        except OSError:
            self.lost += 1  # nobody is there to be told that nobody is there
            return
        self.lost = 0

    def event(self, event: Mapping[str, Any]) -> None:
        """An event of the timeline, as one line for people."""
        data = event.get("data") or {}
        words = [str(event.get("service") or event.get("host")), event["type"].replace("_", " ")]
        words += pairs(data)
        if event.get("incident"):
            words.append("incident=%s" % event["incident"])
        if event.get("seq"):
            words.append("seq=%d" % event["seq"])
        self.say(" ".join(words), _GRAVE.get(event["type"], NOTICE))


__all__ = ["ERROR", "INFO", "Log", "NOTICE", "WARNING"]
