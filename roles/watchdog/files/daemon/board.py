# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the daemon can be asked: the one object between its loop and its endpoints. Answers from memory, and never waits."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Optional, Tuple

from .._core.model import Service, WatchdogConfig
from .._core.times import format_time
from .._engine.healer import Healer
from .._engine.network import NetworkWatch
from .._engine.pager import Pager
from .._engine.ports import Desk
from .._records.read import read
from .._records.segments import Head
from .._version import VERSION
from . import view
from .ledger import Ledger
from .rounds import Rounds

LOOK_BACK = 5000
"""Events of the timeline that `/artifacts` looks through, so that a rare type costs no probe its time."""


RECALLED = 1000
"""Events from before its own time that a new process looks through for incidents."""


class Board:
    """`head` answers with the timeline's last event."""

    def __init__(self, config: WatchdogConfig, rounds: Rounds, desk: Desk, ledger: Ledger, head: Callable[[], Head]) -> None:
        self.config = config
        self.rounds = rounds
        self.desk = desk
        self.ledger = ledger
        self.head = head
        self.uptimes: Dict[str, view.Uptime] = {}
        self.pager: Optional[Pager] = None
        self.network: Optional[NetworkWatch] = None
        self._looked: Dict[str, Tuple[Any, Any, Any]] = {}
        self._proven: Dict[str, str] = {}
        self.cycles = 0
        self.last_cycle = 0.0
        self.loaded = False
        self.unsupported: Dict[str, Tuple[Service, str]] = {}
        """Services whose contracts ask for what this version cannot do, and what that is."""
        self.refused: Optional[str] = None
        """Why the newest contracts are not in force, if they are not."""
        self._host = rounds.host
        self._began = self._host.monotonic()

    # -- what the loop tells ---------------------------------------------------------------------------------------------

    def seen(self, healer: Healer) -> bool:
        """A healer had a turn; is its state another one? What it follows from is compared first: nearly always nothing has changed."""
        before = self._looked.get(healer.name)
        verdict = healer.watch.verdict
        if before is not None and before[0] is healer.memory and before[1] is verdict and before[2] is healer.presence:
            return False
        self._looked[healer.name] = healer.memory, verdict, healer.presence
        state, now = str(healer.state), self._host.monotonic()
        uptime = self.uptimes.get(healer.name)
        changed = uptime is None or uptime.state != state
        if uptime is None:
            self.uptimes[healer.name] = view.Uptime(state, now)
        elif changed:
            uptime.become(state, now)
        if verdict.well_since is not None and healer.memory.instance is not None:
            self._proven[healer.name] = healer.memory.instance
        return changed

    def unseen(self, name: str) -> None:
        """A service is not watched at present."""
        self._looked.pop(name, None)
        uptime = self.uptimes.get(name)
        if uptime is not None:
            uptime.become("unknown", self._host.monotonic())

    def forget(self, name: str) -> None:
        """A service is no longer in the contracts."""
        self.uptimes.pop(name, None)
        self.unsupported.pop(name, None)
        self._proven.pop(name, None)
        self._looked.pop(name, None)

    def cycle(self) -> None:
        self.cycles += 1
        self.last_cycle = self._host.wall()

    # -- what may be asked -----------------------------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        """The contracts are loaded, and every healer has had its first turn. Once true it stays so."""
        return self.loaded and self.cycles > 0

    @property
    def ready(self) -> bool:
        """It has started and does its work now: not every healer is broken."""
        return self.started and (bool(self.rounds.healers) or not self.rounds.broken)

    def not_watched(self) -> List[str]:
        """Services that stand in the contracts and are not watched: their healer broke, or nothing here can act on them."""
        return sorted([*self.rounds.broken, *self.unsupported])

    @property
    def running_for(self) -> float:
        return self._host.monotonic() - self._began

    def hold(self, name: str) -> Optional[str]:
        """Who holds a service, in words."""
        held = self.desk.hold(name)
        return held.text if held is not None else None

    def services(self) -> List[Dict[str, Any]]:
        """Every service, in order of name."""
        now = self._host.monotonic()
        found = [self._service(healer, now) for healer in self.rounds.healers]
        found += [view.broken(each, now) for each in self.rounds.broken.values()]
        found += [self._unsupported(name) for name in self.unsupported]
        return sorted(found, key=lambda each: str(each["name"]))

    def service(self, name: str) -> Optional[Dict[str, Any]]:
        """One service; None when there is none of that name."""
        now = self._host.monotonic()
        healer = self.rounds.find(name)
        if healer is not None:
            return self._service(healer, now)
        broken = self.rounds.broken.get(name)
        if broken is not None:
            return view.broken(broken, now)
        return self._unsupported(name) if name in self.unsupported else None

    def _service(self, healer: Healer, now: float) -> Dict[str, Any]:
        uptime, hold = self.uptimes.get(healer.name), self.hold(healer.name)
        return view.service(healer, self.ready_for_traffic(healer), uptime, hold, now, self._host.wall() - now)

    def ready_for_traffic(self, healer: Healer) -> bool:
        """Is the service well, and has its present instance answered well once?

        By the kubelet's rules liveness begins as healthy, but traffic must not be sent to what has not answered yet. An instance that the
        watchdog before us already knew is believed, or every restart of the watchdog would drain its host.
        """
        instance = healer.memory.instance
        known = instance in (self._proven.get(healer.name), self.ledger.taken_up.get(healer.name))
        return instance is not None and known and healer.state in view.WELL

    def _unsupported(self, name: str) -> Dict[str, Any]:
        service, problem = self.unsupported[name]
        return view.unwatched(service, "unsupported", "%s is not watched: %s" % (name, problem))

    def readiness(self, name: str) -> Optional[Tuple[bool, str]]:
        """Just whether a service is ready, and its state: what load balancers ask all the time. None when there is none of that name."""
        healer = self.rounds.find(name)
        if healer is not None:
            return self.ready_for_traffic(healer), str(healer.state)
        return (False, "unknown") if name in self.rounds.broken or name in self.unsupported else None

    def summary(self) -> Dict[str, Any]:
        """The whole host."""
        services = self.services()
        head = self.head()
        return {
            "host": self.config.host,
            "version": VERSION,
            "pid": os.getpid(),
            "status": view.overall(services),
            "sentence": self.sentence(services),
            "running_for_seconds": round(self.running_for, 3),
            "services": {"total": len(services), **view.counts(services)},
            "incidents": [each["incident"]["id"] for each in services if each["incident"]],
            "held": sorted(each["name"] for each in services if each["held"]),
            "mode_ceiling": self.config.mode_ceiling,
            "contracts_refused": self.refused,
            "timeline": {"seq": head.seq, "hash": head.hash, "unwritable": self.ledger.unwritable()},
            "last_cycle": format_time(self.last_cycle),
        }

    def sentence(self, services: Optional[List[Dict[str, Any]]] = None) -> str:
        """What is being done, or why nothing, in one sentence."""
        services = self.services() if services is None else services
        if not services:
            return "nothing to do: the contracts name no service"
        present = view.counts(services)
        troubled = [each for each in services if each["state"] not in ("healthy", "stopped") or each["incident"]]
        trouble = [each["sentence"] for each in sorted(troubled, key=lambda each: view.badness(each["state"]))]
        if not trouble:
            stopped = ", %d stopped on purpose" % present["stopped"] if "stopped" in present else ""
            return "nothing to do: %d of %d services healthy%s" % (present.get("healthy", 0), len(services), stopped)
        more = "; %d more are not healthy" % (len(trouble) - 1) if len(trouble) > 1 else ""
        return "%s%s" % (trouble[0], more)

    def incidents(self, most: int) -> List[Dict[str, Any]]:
        """The newest incidents, the newest first; see `Stories.newest`."""
        return self.ledger.stories.newest(most)[::-1]

    def recall(self) -> None:
        """Take up what the timeline tells of incidents before this process began. Raises RecordError."""
        for event in self.events(RECALLED, None, None):
            self.ledger.stories.take(event)

    def events(self, limit: int, type: Optional[str], service: Optional[str]) -> List[Dict[str, Any]]:
        """The newest events that match, newest last, out of the newest `LOOK_BACK`. Raises RecordError."""
        after = max(0, self.head().seq - LOOK_BACK)
        return read(os.path.join(self.config.state_dir, "timeline"), service=service, type=type, limit=limit, after_seq=after)


__all__ = ["Board", "LOOK_BACK", "RECALLED"]
