# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Traffic moved on somebody's word: the same moves as a fallback makes, told before they are made, and nothing where all stands already."""

from __future__ import annotations

from typing import Any, Callable, Dict, FrozenSet, List, NamedTuple, Optional, Union

from .._actuators.base import Work
from .._actuators.haproxy import Backend, Servers, shown
from .._core.reasons import Reason
from .._host import Host, Outcome
from .job import Job, broken_action

STATES = ("primary", "backup", "drain", "ready")


class Wish(NamedTuple):
    """What somebody wants. weight: percent of the primary's own weight, for primary and ready. wait: seconds, see `Switch`."""

    state: str
    primary: str
    backup: Optional[str] = None
    weight: Optional[int] = None
    wait: float = 0.0


class Switched(NamedTuple):
    """What came of it. status: ok, bad, unknown. before, after: see `shown`; None where HAProxy could not be asked."""

    status: str
    reason: Optional[Reason]
    detail: str
    changed: bool
    before: Optional[Dict[str, Any]]
    after: Optional[Dict[str, Any]]
    unsaved: Optional[str] = None


class Switch:
    """One wish about one backend. `announce` is called once, before anything is changed; not at all where nothing is to be.

    backup: the primary is out, the backup was read back as up. drain: the primary gets no new clients; with `wait` its last session has
    ended. ready: it takes traffic as far as HAProxy's own check lets it. primary: the same, and it is read back as up, within `wait`.
    """

    def __init__(self, backend: Backend, wish: Wish, override: FrozenSet[Reason], announce: Callable[[], None], rehearsal: bool) -> None:
        self.backend = backend
        self.wish = wish
        self._override = override
        self._announce = announce
        self._rehearsal = rehearsal

    def run(self, host: Host) -> Switched:
        """Do it, and wait for it."""
        ended: List[Switched] = []
        job: Job[Switched] = Job(host, self._work(), None, ended.append, _broken)
        job.begin()
        while not ended:
            for handle in host.poll(host.monotonic() + 1.0):
                job.ended(handle)
        return ended[0]

    def _work(self) -> Work[Switched]:
        wish = self.wish
        names = [wish.primary] if wish.backup is None else [wish.primary, wish.backup]
        before = yield from self.backend.named(*names)
        if isinstance(before, Outcome):
            return _failed(before, None)
        refused = self._refusal(before)
        if refused is not None:
            return _failed(refused, before)
        if self._stands(before):
            return (yield from self._waited(Outcome("ok", None, ", ".join(map(str, before.values()))), before, False))
        if self._rehearsal:
            planned = shown(before)
            planned[wish.primary]["status"] = {"backup": "MAINT", "drain": "DRAIN"}.get(wish.state, "UP")
            return Switched("ok", None, "only rehearsed", True, shown(before), planned)
        self._announce()
        outcome = yield from self._move()
        if outcome.status != "ok":
            return _failed(outcome, before)
        return (yield from self._waited(outcome, before, True))

    def _move(self) -> Work[Outcome]:
        wish = self.wish
        if wish.state == "backup":
            return self.backend.to_backup(wish.primary, str(wish.backup))
        if wish.state == "drain":
            return self.backend.drain(wish.primary)
        return self.backend.to_primary(wish.primary, wish.weight)

    def _refusal(self, before: Servers) -> Optional[Outcome]:
        """Nothing is taken away where nobody is left to serve."""
        wish = self.wish
        if wish.state not in ("backup", "drain"):
            return None
        if wish.backup is not None and not before[wish.backup].up:
            detail = "backend %s: the backup %s, so nothing is moved to it" % (self.backend.name, before[wish.backup])
            return Outcome("bad", Reason.NO_BACKUP, detail)
        others = [name for name, server in before.items() if name != wish.primary and server.up]
        if not others and Reason.LAST_AVAILABLE not in self._override:
            detail = "backend %s: no other server than %s is up: %s" % (
                self.backend.name,
                wish.primary,
                ", ".join(map(str, before.values())),
            )
            return Outcome("bad", Reason.LAST_AVAILABLE, detail)
        return None

    def _stands(self, before: Servers) -> bool:
        primary = before[self.wish.primary]
        if self.wish.state == "backup":
            return primary.away
        if self.wish.state == "drain":
            return primary.drained
        return not primary.away and not primary.drained and self.wish.weight is None

    def _waited(self, outcome: Outcome, before: Servers, changed: bool) -> Work[Switched]:
        wish = self.wish
        done = outcome
        if wish.state == "drain" and wish.wait > 0 and not self._rehearsal:
            done = yield from self.backend.awaited(wish.primary, wish.wait, lambda server: server.sessions == 0, "without sessions")
        elif wish.state == "primary" and not self._rehearsal:
            done = yield from self.backend.awaited(wish.primary, wish.wait, lambda server: server.up, "up")
        after = yield from self.backend.servers()
        now = shown(after) if not isinstance(after, Outcome) else None
        unsaved = outcome.data.get("unsaved")
        if done.status != "ok":
            return Switched(done.status, done.reason, done.detail, changed, shown(before), now, unsaved)
        return Switched("ok", None, done.detail, changed and _visible(before, after), shown(before), now, unsaved)


def _visible(before: Servers, after: Union[Servers, Outcome]) -> bool:
    """Is anything different that somebody has set? A weight given again is no change."""
    if isinstance(after, Outcome):
        return True
    return any((s.away, s.drained, s.weight) != (after[name].away, after[name].drained, after[name].weight) for name, s in before.items())


def _failed(outcome: Outcome, before: Optional[Servers]) -> Switched:
    seen = shown(before) if before is not None else None
    return Switched(outcome.status, outcome.reason, outcome.detail, False, seen, seen)


def _broken(error: Exception) -> Switched:
    return _failed(broken_action(error), None)


__all__ = ["STATES", "Switch", "Switched", "Wish"]
