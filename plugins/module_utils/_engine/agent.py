# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this host answers to the agent checks of load balancers, as files: whoever heals sets it, and the watchdog says it.

``<state_dir>/agent/<port>`` holds the word and outlives everything, so that a watchdog that comes back says what the one before it said.
``<run_dir>/agent/<port>.json`` is the watchdog's: that it listens, and the word that it has told to a balancer last.
"""

from __future__ import annotations

import json
import os
from typing import NamedTuple, Optional

from .._core.errors import RecordError
from .._records.files import Owner, cause, make_directory, read_file, remove, replace_file

UP = "up"
DRAIN = "drain"
_LIMIT = 4096


class Told(NamedTuple):
    """The watchdog listens; `word` is what a balancer was told last, None before the first one has asked."""

    word: Optional[str]


class AgentWord:
    """The answer of one port."""

    def __init__(self, state_dir: str, run_dir: str, port: int) -> None:
        self.port = port
        self.path = os.path.join(state_dir, "agent", "%d" % port)
        self._told = os.path.join(run_dir, "agent", "%d.json" % port)

    def get(self) -> str:
        """The word that is to be said; `up` where there is none or it cannot be read: balancers have health checks of their own."""
        try:
            return DRAIN if read_file(self.path, _LIMIT).strip() == b"drain" else UP
        except (OSError, ValueError):
            return UP

    def set(self, word: str) -> None:
        """Say this from now on. Raises RecordError."""
        if self.get() != word or not os.path.exists(self.path):
            make_directory(os.path.dirname(self.path))
            replace_file(self.path, word.encode("ascii") + b"\n")

    def told(self) -> Optional[Told]:
        """What the listener has told last; None when nobody listens."""
        try:
            data = json.loads(read_file(self._told, _LIMIT))
            if Owner.from_data(data["owner"]).alive() is not True:
                return None
            return Told(data["word"])
        except (OSError, ValueError, TypeError, KeyError, RecordError):
            return None

    def tell(self, word: Optional[str]) -> None:
        """The listener's: it listens, and this is what it has told. Raises RecordError."""
        make_directory(os.path.dirname(self._told))
        replace_file(self._told, json.dumps({"word": word, "owner": Owner.current().as_data()}).encode("ascii"))

    def silent(self) -> None:
        """The listener's: it listens no more. Raises RecordError."""
        try:
            remove(self._told)
        except OSError as error:
            raise RecordError("Removing %s: %s" % (self._told, cause(error))) from error


__all__ = ["AgentWord", "DRAIN", "Told", "UP"]
