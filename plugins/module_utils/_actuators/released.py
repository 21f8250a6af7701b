# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redeploy and rollback of a service that has a release, around whatever actuator its resource has.

The deployment itself runs in a process of its own, outside of whatever confines us: where systemd runs, in a transient unit. It acts under
the leases that the healer holds, and goes on should the healer die. Here is only decided whether it can help: old code that was good for
months is not the cause.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from .._core.deployment import Deployment, first_active, newest_good
from .._core.errors import SelfhealError
from .._core.model import Release
from .._core.reasons import Reason
from .._core.times import parse_time
from .._host import Outcome, Step
from .._records.journal import Journal
from .base import Actuator, Instance, Presence, Timed, Work
from .release import Project

LOOK_EVERY = 1.0
"""Seconds for which what was read of the journals is believed without another look."""
GRACE = 10.0
SWITCH_LIMIT = 120.0
"""Seconds beyond probes and builds for restarting, routes and the swap."""
_CANNOT = frozenset((Reason.UNSUPPORTED, Reason.RELEASE_SETTLED, Reason.NO_GOOD_RELEASE))

# Makes the step of an errand: action (redeploy, rollback, proven), seconds it may take.
Errand = Callable[[str, float], Step]


class Known(NamedTuple):
    """What the journals said: the current release, since when its code serves, where a rollback goes, and how long the errands may take."""

    current: Optional[str] = None
    since: Optional[float] = None
    good: Optional[str] = None
    build: float = 0.0
    switch: float = SWITCH_LIMIT
    problem: str = ""


class Released(Actuator):
    """`inner` with the redeploy and rollback of its release project."""

    def __init__(self, release: Release, inner: Actuator, errand: Errand, wall: Callable[[], float] = time.time) -> None:
        self.key = inner.key
        self._inner = inner
        self._release = release
        self._errand = errand
        self._wall = wall
        self._project = Project(release.root, release.project)
        self._looked = (-LOOK_EVERY, "")
        self._known = Known()

    # -- what can be done

    def cannot(self, rung: str) -> Optional[Reason]:
        if rung not in ("redeploy", "rollback"):
            return self._inner.cannot(rung)
        known = self._look()
        if known.problem:
            return None  # we may not see what the errand sees; it will say so itself
        if known.current is None or known.since is None:
            return Reason.UNSUPPORTED
        if self._wall() - known.since > self._release.suspect_for:
            return Reason.RELEASE_SETTLED
        if rung == "rollback" and known.good is None:
            return Reason.NO_GOOD_RELEASE
        return None

    def window(self, rung: str) -> float:
        """A redeployment's window is never shorter than its builds may take."""
        return self._look().build if rung == "redeploy" else self._inner.window(rung)

    def _look(self) -> Known:
        now = time.monotonic()
        if now - self._looked[0] < LOOK_EVERY:
            return self._known
        stamp = self._stamp()
        if stamp != self._looked[1] or not stamp:
            self._known = read_journals(self._project)
        self._looked = (now, stamp)
        return self._known

    def _stamp(self) -> str:
        """Changes whenever a journal or the link does: both are replaced by renames."""
        try:
            link = os.readlink(os.path.join(self._project.path, "current"))
            return "%s %d" % (link, os.stat(self._project.journals).st_mtime_ns)
        except OSError:
            return ""

    # -- what is done

    def look(self) -> Work[Presence]:
        return self._inner.look()

    def watch(self, instance: Instance) -> Optional[Step]:
        return self._inner.watch(instance)

    def probe(self, instance: Optional[Instance]) -> Optional[Step]:
        return self._inner.probe(instance)

    def away(self) -> Optional[str]:
        return self._inner.away()

    def start(self) -> Work[Outcome]:
        return self._inner.start()

    def restart(self) -> Work[Outcome]:
        return self._inner.restart()

    def redeploy(self) -> Work[Outcome]:
        known = self._look()
        return self._run("redeploy", known.build + known.switch)

    def rollback(self) -> Work[Outcome]:
        return self._run("rollback", self._look().switch)

    def proven(self, rung: str) -> Optional[Work[Outcome]]:
        """A rollback is proven to have healed: what it left is bad."""
        return self._run("proven", SWITCH_LIMIT) if rung == "rollback" else None

    def _run(self, action: str, limit: float) -> Work[Outcome]:
        outcome: Outcome = yield Timed(self._errand(action, limit), limit + GRACE)
        self._looked = (-LOOK_EVERY, "")
        return told(action, outcome)


def read_journals(project: Project) -> Known:
    """What the journals say at this moment; the problem where they cannot be read."""
    try:
        return _read(project)
    except SelfhealError as error:
        return Known(problem=str(error))


def _read(project: Project) -> Known:
    entries = Journal(project.journals, repair=False).all()
    under_way = [each.id for each in entries if not each.over]
    if under_way:
        # What is current is about to change: nothing is ruled out, and the lease keeps everybody else away meanwhile.
        return Known(problem="deployment %s is not over" % under_way[-1])
    current = project.current()
    entry = next((each for each in entries if each.id == current), None)
    if current is None or entry is None:
        return Known()
    activated = first_active(entries, current)
    good = next((each.release for each in newest_good(entries, current) if project.stands(each.release)), None)
    build = _build(entry)
    return Known(current, None if activated is None else parse_time(activated), good, build, _switch(entry, entries, good))


def _switch(entry: Deployment, entries: List[Deployment], good: Optional[str]) -> float:
    """Seconds that a swap with restart, routes and probes may take, of whichever release it goes to."""
    requests = [each.request for each in entries if each.id in (entry.id, good)]
    return SWITCH_LIMIT + max((_proving(request) for request in requests), default=60.0)


def _proving(request: Mapping[str, Any]) -> float:
    """Seconds until it is proven. A container is asked before it gets traffic, perhaps again at its other address, and when it has it."""
    within = _seconds(request.get("health_within"), 60.0)
    image = (request.get("source") or {}).get("image")
    return 3 * within + _seconds(image.get("drain"), 10.0) if isinstance(image, dict) else within


def errand_limit(release: Release) -> float:
    """Seconds after which any errand for this project has ended, or is ended."""
    known = read_journals(Project(release.root, release.project))
    return known.build + known.switch + GRACE


def longest(release: Release) -> Dict[str, float]:
    """Seconds that a redeployment of what is current may take for pulling and building; nothing where the journals cannot be read."""
    project = Project(release.root, release.project)
    try:
        current = project.current()
        entry = Journal(project.journals, repair=False).load(current) if current is not None else None
    except SelfhealError:
        return {}
    return {} if entry is None else {"redeploy": _build(entry)}


def _build(entry: Deployment) -> float:
    """Seconds that pulling and building again may take, by the journal of what is current."""
    git = (entry.request.get("source") or {}).get("git")
    builds = sum(_seconds(step.get("timeout"), 600.0) for step in entry.request.get("build") or ())
    return builds + (_seconds(git.get("timeout"), 300.0) if isinstance(git, dict) else 0.0)


def _seconds(value: object, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else default


def told(action: str, outcome: Outcome) -> Outcome:
    """What an errand has answered: one JSON object ``{outcome, reason, detail}`` on its standard output."""
    answer = _answer(str(outcome.data.get("stdout", "")))
    if answer is None:
        return outcome if outcome.status != "ok" else Outcome("unknown", Reason.INTERNAL_ERROR, "%s gave no answer" % action)
    detail = str(answer.get("detail", ""))[:500]
    if answer.get("outcome") in ("changed", "unchanged"):
        return Outcome("ok", None, detail)
    try:
        reason = Reason(str(answer.get("reason")))
    except ValueError:
        reason = Reason.ACTION_FAILED
    return Outcome("unknown" if reason in _CANNOT else "bad", reason, detail)


def _answer(text: str) -> Optional[Dict[str, object]]:
    lines: Tuple[str, ...] = tuple(line for line in text.splitlines() if line.startswith("{"))
    try:
        found = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


__all__ = ["Errand", "Known", "Released", "errand_limit", "longest", "read_journals", "told"]
