# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pager with a clock that only moves when told, a network that answers as it is told, and records in a list."""

from __future__ import annotations

import json
import pathlib
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from selfheal._core.model import Notify
from selfheal._core.reasons import Reason
from selfheal._engine.paged import PagedRecords
from selfheal._engine.pager import Pager
from selfheal._engine.ports import Records
from selfheal._host import Handle, Host, Outcome, Step
from selfheal._records.pages import Page, Pages

HOOK = Notify("webhook", {"url": "https://hooks.example/services/T0/SECRETPATH", "token_file": None, "hmac_file": None})


OTHER = Notify("webhook", {"url": "http://other.example/x", "token_file": None, "hmac_file": None})


ALERTS = Notify("alertmanager", {"url": "http://127.0.0.1:9093"})


MAIL = Notify("command", {"argv": ("/bin/mail", "ops")})


FAILED = "2026-11-21T21:03:30.001Z"


PAGE = {"reason": "ladder_exhausted", "detail": "nothing helped", "failure_time": FAILED}


WEB = "web-20261121T210330.001Z"


REFUSED = Outcome("bad", Reason.CONNECTION_REFUSED, "POST https://hooks.example/services/T0/SECRETPATH: refused")


class Sent:
    """One message that was begun."""

    def __init__(self, at: float, step: Any, limit: float) -> None:
        self.at = at
        self.step = step
        self.limit = limit
        if hasattr(step, "argv"):
            self.to, body = step.argv[0], step.stdin
        else:
            self.to, body = step.target.url, step.target.body
        self.body = json.loads(body)
        alert = self.body[0] if isinstance(self.body, list) else None
        self.status = self.body["status"] if alert is None else ("resolved" if alert["endsAt"] <= alert_time(at) else "firing")


def alert_time(at: float) -> str:
    from selfheal._core.times import format_time

    return format_time(1e9 + at)


class Clock(Host):
    """Steps end as `answer` says, at once; None: they hang until their deadline."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sent: List[Sent] = []
        self.answer: Callable[[Sent], Optional[Outcome]] = lambda sent: Outcome("ok")
        self.running: List[Handle] = []

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1e9 + self.now

    def start(self, step: Step, deadline: float, owner: Any = None) -> Handle:
        handle = Handle(step, owner, self.now, deadline)
        sent = Sent(self.now, step, deadline - self.now)
        self.sent.append(sent)
        handle.outcome = self.answer(sent)
        self.running.append(handle)
        return handle

    def cancel(self, handle: Handle) -> None:
        self.running.remove(handle)

    def poll(self, until: float) -> List[Handle]:
        ended = [handle for handle in self.running if handle.outcome is not None]
        if not ended:
            self.now = max(self.now, min([until] + [handle.deadline for handle in self.running]))
            ended = [handle for handle in self.running if handle.deadline <= self.now]
            for handle in ended:
                handle.outcome = Outcome("bad", Reason.TIMEOUT, "no answer")
        self.running = [handle for handle in self.running if handle not in ended]
        return ended


class Noted(Records):
    """Events in a list, with their seq."""

    def __init__(self) -> None:
        self.events: List[Dict[str, Any]] = []

    def record(self, type: str, service: Any = None, incident: Any = None, source: str = "watchdog", data: Any = None) -> Any:
        event = {"seq": len(self.events) + 1, "timestamp": FAILED, "service": service, "incident": incident, "type": type, "data": data}
        self.events.append(event)
        return event

    def save(self, service: str, data: Dict[str, Any]) -> None:
        raise AssertionError("a pager saves no service's state")

    def load(self, service: str) -> Any:
        raise AssertionError("a pager loads no service's state")

    def of(self, *types: str) -> List[Dict[str, Any]]:
        return [event for event in self.events if event["type"] in types]


class Stage:
    """One host's pager, which can be killed and born again; `open` are the incidents the healers know."""

    def __init__(self, folder: pathlib.Path, *targets: Notify) -> None:
        self.folder = folder
        self.clock = Clock()
        self.records = Noted()
        self.targets: Dict[Optional[str], Sequence[Notify]] = {None: targets, "web": targets, "db": targets}
        self.open = {WEB}
        self.born()

    def born(self, resident: bool = True) -> None:
        self.store = Pages(str(self.folder), lambda *words: self.records.record("state_reset", data={"what": words}), self.clock.wall)
        self.pager = Pager(
            self.clock,
            "web1",
            self.store,
            self.records,
            self.targets.get,
            "watchdog",
            self._stands if resident else None,
        )
        self.told = PagedRecords(self.records, self.pager)

    def killed(self, resident: bool = True) -> None:
        """No line of the old process runs any more; nobody takes its pid for alive."""
        self.clock.running.clear()
        for path in self.folder.glob("pages/*.json"):
            data = json.loads(path.read_text())
            if data["owner"]:
                data["owner"]["start_time"] += 1
            path.write_text(json.dumps(data))
        self.born(resident)

    def _stands(self, page: Page) -> Optional[bool]:
        return page.incident in self.open if page.service in self.targets else None

    def page(self, service: Optional[str] = "web", incident: str = WEB, **more: Any) -> None:
        self.open.add(incident)
        self.told.record("page", service, incident, data={**PAGE, **more})

    def resolve(self, incident: str = WEB, service: Optional[str] = "web") -> None:
        self.open.discard(incident)
        self.told.record("recover", service, incident, data={"recovery_time": FAILED, "recovery_duration_ms": 90500})
        self.told.record("page_resolved", service, incident, data={"reason": "ladder_exhausted"})

    def run(self, until: float) -> "Stage":
        """As an engine turns it."""
        while True:
            self.pager.turn(self.clock.now)
            if self.clock.now >= until and not any(handle.outcome for handle in self.clock.running):
                return self
            for handle in self.clock.poll(min(self.pager.wake, until)):
                assert handle.owner.healer is self.pager
                handle.owner.ended(handle)
                handle.owner.healer.wake = -1e18

    def files(self) -> List[str]:
        return sorted(path.name for path in self.folder.glob("pages/*") if not path.name.startswith("."))

    def said(self, since: int = 0) -> List[Tuple[float, str, str]]:
        return [(round(sent.at, 2), sent.to.rpartition("/")[2], sent.status) for sent in self.clock.sent[since:]]
