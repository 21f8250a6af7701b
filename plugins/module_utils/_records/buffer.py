# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recording that goes on when the disk does not: events wait in memory, in order, and are written when it works again."""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, Mapping, Optional, Union

from .._core.errors import RecordError
from .._core.times import format_time
from .events import Draft, EventRefused, draft
from .timeline import Timeline

_BATCH = 1024 * 1024


class Recorder:
    """A timeline for a process that must go on acting when nothing can be written.

    `journal` is called with every event that could not be written at once, as ``{timestamp, host, …, data}`` without seq and
    hash: the host's journal then has it. It must not raise. While unwritable no call waits for the timeline's lock.
    """

    def __init__(self, timeline: Timeline, journal: Optional[Callable[[Mapping[str, Any]], None]] = None, capacity: int = 1000) -> None:
        self.timeline = timeline
        self.problem = ""
        """Why nothing can be written, for people; empty while it can."""
        self._journal = journal
        self._capacity = capacity
        self._waiting: Deque[Draft] = deque()
        self._dropped = 0
        self._since = ""

    @property
    def writable(self) -> bool:
        """Did the last attempt to write succeed?"""
        return not self.problem

    @property
    def waiting(self) -> int:
        """How many events are kept in memory."""
        return len(self._waiting)

    @property
    def dropped(self) -> int:
        """How many were lost to memory because more than `capacity` waited (the oldest go first; the journal has them)."""
        return self._dropped

    def record(
        self,
        type: str,
        service: Optional[str] = None,
        incident: Optional[str] = None,
        source: str = "watchdog",
        data: Optional[Mapping[str, Any]] = None,
        timestamp: Optional[Union[float, str]] = None,
    ) -> Optional[Dict[str, Any]]:
        """Write an event, those that wait first. Returns it with seq and hash once durable, None when it has to wait.

        Raises EventRefused when the event itself is wrong; nothing else.
        """
        event = self.timeline.draft(type, service, incident, source, data, timestamp)
        if self.flush():
            try:
                return self.timeline.write(event)
            except EventRefused:
                raise
            except RecordError as error:
                self._fail(error)
        if len(self._waiting) >= self._capacity:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(event)
        if self._journal is not None:
            self._journal(event.fields)
        return None

    def flush(self) -> bool:
        """Try to write what waits; is everything written? To be called now and then while not `writable`."""
        if not self.problem:
            return True
        try:
            while True:
                batch = [self._tell()]
                size = 0
                for event in self._waiting:
                    size += len(event.body) + 256
                    if size > _BATCH and len(batch) > 1:
                        break
                    batch.append(event)
                # All or none: what waits is never there twice, and never without what happened to it.
                self.timeline.write_all(batch, lock_timeout=0.0)
                self._dropped = 0
                for _event in batch[1:]:
                    self._waiting.popleft()
                if not self._waiting:
                    break
        except RecordError as error:
            self._fail(error)
            return False
        self.problem = self._since = ""
        return True

    def _tell(self) -> Draft:
        """What happened to the log, for the log."""
        data = {"cause": "unwritable", "error": self.problem, "since": self._since, "kept": len(self._waiting), "dropped": self._dropped}
        return draft(self.timeline.host, self.timeline.clock(), "log_repair", data=data)

    def _fail(self, error: RecordError) -> None:
        if not self.problem:
            self._since = format_time(self.timeline.clock())
        self.problem = str(error)


__all__ = ["Recorder"]
