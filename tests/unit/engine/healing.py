# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One healer on a virtual host, driven by hand, with records and an actuator that can be broken."""

from __future__ import annotations

from typing import Any, Optional

from selfheal._actuators.base import Presence, Work
from selfheal._core import contract
from selfheal._core.model import Service
from selfheal._core.reasons import Reason
from selfheal._engine.engine import Engine
from selfheal._engine.healer import Healer
from selfheal._engine.ports import Stored
from selfheal._engine.simulation import MemoryRecords
from selfheal._engine.world import Ask, ScriptedActuator, World
from selfheal._host import Outcome

WEB = {
    "name": "web",
    "resource": {"unit": "web.service"},
    "probes": [{"role": "liveness", "http": {"url": "http://127.0.0.1:8080/live"}}],
    "release": {"root": "/var/www", "project": "web"},
}


class Records(MemoryRecords):
    """State files that can be of another boot, and a timeline that can be full."""

    boot_changed = False
    full: Optional[str] = None

    def load(self, service: str) -> Optional[Stored]:
        stored = super().load(service)
        return Stored(stored.data, not self.boot_changed) if stored is not None else None

    def unwritable(self) -> Optional[str]:
        return self.full


class Actuator(ScriptedActuator):
    """One that can be broken, or see what no script can say."""

    broken: Optional[Exception] = None
    sees: Optional[Presence] = None
    useless: Optional[Reason] = None
    fails: bool = False

    def look(self) -> Work[Presence]:
        if self.broken is not None:
            return self._breaks()
        return self._sees() if self.sees is not None else super().look()

    def start(self) -> Work[Outcome]:
        return self._fails() if self.fails else super().start()

    def restart(self) -> Work[Outcome]:
        return self._breaks() if self.broken is not None else super().restart()

    def cannot(self, rung: str) -> Optional[Reason]:
        return self.useless

    def _fails(self) -> Work[Outcome]:
        yield from ()
        return Outcome("bad", Reason.ACTION_FAILED, "it does not start")

    def _breaks(self) -> Work[Any]:
        yield from ()
        raise self.broken or RuntimeError("not broken")

    def _sees(self) -> Work[Presence]:
        yield from ()
        return self.sees


class Stage:
    """A world with one service, its records, and a healer that can be killed and born again."""

    def __init__(self, **changes: Any) -> None:
        self.service: Service = contract.parse_services([{**WEB, **changes}])[0]
        self.world = World((self.service,))
        self.body = self.world.bodies["web"]
        self.actuator = Actuator(self.world, self.body)
        self.records = Records(self.world.host.monotonic)
        self.world.host.instant = self.world.happen
        self.engine: Engine
        self.healer: Healer

    def watch(self, **how: Any) -> Stage:
        def prober(probe: Any, _instance: Any) -> Ask:
            return Ask(self.body, probe)

        self.world.host.forget()
        self.healer = Healer(self.service, self.world.host, self.actuator, self.world.desk, self.records, prober, **how)
        self.engine = Engine(self.world.host, [self.healer])
        return self

    def until(self, at: float) -> Stage:
        host = self.world.host
        while host.now < at or min(self.engine.wake, host.next_end, self.world.next_later) <= at:
            self.engine.spin(min(at, self.world.next_later))
        return self

    def answers(self, result: str) -> Stage:
        self.body.results["liveness"] = result
        self.healer.nudge()
        return self

    def told(self, *types: str) -> list[tuple[float, str, Any]]:
        return [
            (event["at"], event["type"], event["data"].get("reason"))
            for event in self.records.events
            if not types or event["type"] in types
        ]
