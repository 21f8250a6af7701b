# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One deployment under way: its journal, what it acts through, and how a phase says that it has failed."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any, Dict, Mapping, Optional, TypeVar

from .._actuators.base import Actuator, State, Work
from .._actuators.release import Project
from .._core.deployment import Deployment, Phase, activated, began, ended
from .._core.deployment_request import Request
from .._core.errors import SelfhealError
from .._core.reasons import Reason
from .._core.times import format_time, parse_time
from .._host import Host, Outcome
from .._records.files import cause
from .._records.journal import Journal
from .deploy_site import DeploySite, Under
from .fallbacks import fallback_for
from .traffic import Fallback

T = TypeVar("T")
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class PhaseFailed(SelfhealError):
    """A phase could not reach its end; `reason` is one of `Reason`, the message says what was found and what to do."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Run:
    """`entry` is what the journal says, always: whatever changes it is durable before it counts."""

    def __init__(
        self,
        site: DeploySite,
        project: Project,
        journal: Journal,
        entry: Deployment,
        request: Request,
        actuator: Optional[Actuator],
        under: Optional[Under] = None,
    ) -> None:
        self.site = site
        self.host: Host = site.host
        self.project = project
        self.journal = journal
        self.entry = entry
        self.request = request
        self.actuator = actuator
        self.under = under
        # On the ladder, traffic is the healer's: it has taken it away before, and gives it back when health is proven.
        rules = request.fallback if under is None else None
        self.fallback: Optional[Fallback] = fallback_for(rules, site.config.state_dir, site.config.run_dir)

    @property
    def target(self) -> str:
        """What `current` says when this release is current."""
        return "deployments/" + self.entry.release

    def now(self) -> str:
        return format_time(self.host.wall())

    def keep(self, **changes: Any) -> None:
        """Change what the journal says. Raises RecordError."""
        self._save(replace(self.entry, **changes))

    def note(self, text: str) -> None:
        """Something that people should know and that changes no outcome. Kept with the next thing that is written."""
        self.entry = replace(self.entry, notes=self.entry.notes + (text[:500],))

    def begin(self, phase: Phase) -> None:
        before = self.entry.phase
        self._save(began(self.entry, phase, self.now()))
        self.tell("deployment_phase", {"phase": phase.value, "from": before.value})

    def end(self, proof: Mapping[str, Any]) -> None:
        """The phase has ended well; written together with the beginning of the next one."""
        self.entry = ended(self.entry, proof, self.now())

    def activate(self, newest: Optional[str]) -> None:
        """Becomes active, later than every other activation whatever the clock says."""
        at = self.now()
        if newest is not None and at <= newest:
            at = format_time(parse_time(newest) + 0.001)
        self._save(activated(self.entry, at))
        self.tell("deployment_phase", {"phase": "active", "from": Phase.HEALTH_CHECK.value, "source": dict(self.entry.source)})

    def _save(self, entry: Deployment) -> None:
        self.journal.save(entry)
        self.entry = entry

    def tell(self, type: str, data: Dict[str, Any]) -> None:
        entry = self.entry
        about = {"deployment": entry.id, "project": entry.project, "kind": entry.kind, "release": entry.release}
        incident = self.under.incident if self.under is not None else None
        self.site.record(type, entry.service, incident, {**about, **data})

    def drive(self, work: Work[T]) -> T:
        """The result of a work, its steps one after another."""
        return drive(self.host, work)

    def restart(self) -> Optional[Outcome]:
        """Restart what runs the release; starts what does not run. None when there is nothing to restart."""
        if self.actuator is None:
            return None
        here = self.drive(self.actuator.look())
        if here.state in (State.GONE, State.STOPPED, State.NEVER):
            return self.drive(self.actuator.start())
        return self.drive(self.actuator.restart())


def drive(host: Host, work: Work[T]) -> T:
    """The result of a work that nobody else waits for."""
    outcome: Any = None
    while True:
        try:
            timed = work.send(outcome)
        except StopIteration as stop:
            result: T = stop.value
            return result
        handle = host.start(timed.step, host.monotonic() + timed.within)
        while handle.outcome is None:
            host.poll(host.monotonic() + 60.0)
        outcome = handle.outcome


def reason_of(error: BaseException) -> Reason:
    """Why, from what was raised: a full disk is known as one wherever it shows."""
    cursor: Optional[BaseException] = error
    while cursor is not None:
        if isinstance(cursor, OSError) and cursor.errno in NO_SPACE:
            return Reason.DISK_FULL
        cursor = cursor.__cause__
    own = getattr(error, "reason", None)
    return own if isinstance(own, Reason) else Reason.ACTION_FAILED


def words_of(error: BaseException) -> str:
    if isinstance(error, OSError):
        return "%s: %s" % (error.filename, cause(error)) if error.filename else cause(error)
    return str(error)


__all__ = ["PhaseFailed", "Run", "drive", "reason_of", "words_of"]
