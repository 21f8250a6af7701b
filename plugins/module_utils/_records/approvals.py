# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A person's yes to one action. One approval is one action, whoever asks first; in doubt there is none.

Expiry counts on both clocks: an approval is over when either the wall clock or, on the same boot, the monotonic clock says so.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional

from .._core.errors import RecordError
from .._core.times import format_time, parse_time
from .files import cause, make_directory, read_file, remove, replace_file, sync_directory, temporary_name
from .holds import dump, record, span_left
from .names import service_name

_LIMIT = 65536
_FUTURE = 60.0


@dataclass(frozen=True)
class Approval:
    service: str
    owner: str
    since: float
    expires: float

    def as_data(self) -> Dict[str, Any]:
        return {"owner": self.owner, "since": format_time(self.since), "expires": format_time(self.expires)}


class Approvals:
    """``<state_dir>/approvals/<service>.json``."""

    def __init__(self, state_dir: str, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.directory = os.path.join(state_dir, "approvals")
        self._clock = clock
        self._monotonic = monotonic

    def _path(self, service: str) -> str:
        return os.path.join(self.directory, service_name(service) + ".json")

    def approve(self, service: str, owner: str, ttl: float = 3600.0) -> Approval:
        """Allow one action within `ttl` seconds. A second approval replaces one not used yet; they do not add up. Raises RecordError."""
        path = self._path(service)
        data = record(owner, "", ttl, self._clock(), self._monotonic())
        make_directory(self.directory)
        replace_file(path, dump(data))
        return Approval(service, owner, parse_time(data["since"]), parse_time(data["expires"]))

    def peek(self, service: str) -> Optional[Approval]:
        """The approval that `consume` would take now."""
        return self._read(service, self._path(service))

    def consume(self, service: str) -> Optional[Approval]:
        """Take the approval: of all that ask, exactly one gets it. None when there is none that is valid. Raises RecordError.

        It is gone before the action starts: a crash in between costs a second approval, never gives a second action.
        """
        path = self._path(service)
        mine = temporary_name(path)
        try:
            os.rename(path, mine)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RecordError("Taking the approval %s: %s" % (path, cause(error))) from error
        approval = self._read(service, mine)
        try:
            remove(mine)
            sync_directory(self.directory)
        except OSError as error:
            raise RecordError("Using up the approval %s: %s. Nothing is done on it." % (path, cause(error))) from error
        return approval

    def _read(self, service: str, path: str) -> Optional[Approval]:
        wall = self._clock()
        try:
            data = json.loads(read_file(path, _LIMIT))
            left = span_left(data, wall, self._monotonic())
            approval = Approval(service, str(data["owner"]), parse_time(data["since"]), parse_time(data["expires"]))
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            # Absent or unreadable is the same answer: nobody has approved.
            return None
        usable = left is not None and left > 0 and approval.since - _FUTURE <= wall < approval.expires
        return approval if usable else None


__all__ = ["Approval", "Approvals"]
