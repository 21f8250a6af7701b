# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon without its process: rounds, board and endpoints over scripted services, on a virtual clock."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

from selfheal._core.contract import parse_services
from selfheal._core.model import WatchdogConfig
from selfheal._engine.healer import Healer
from selfheal._engine.simulation import MemoryRecords
from selfheal._engine.world import Ask, ScriptedActuator, World
from selfheal._records.segments import Head
from selfheal.daemon.board import Board
from selfheal.daemon.endpoints import Endpoints
from selfheal.daemon.http import Request
from selfheal.daemon.ledger import Ledger
from selfheal.daemon.rounds import Broken, Rounds

PROBE = {"role": "liveness", "tcp": {"host": "127.0.0.1", "port": 9}}


class Stage:
    """The daemon without its process: rounds, board and endpoints over scripted services."""

    def __init__(self, *names: str) -> None:
        contracts = [{"name": name, "resource": {"process": {"argv": ["/bin/x"]}}, "probes": [PROBE]} for name in names]
        self.services = {service.name: service for service in parse_services(contracts)}
        self.world = World(tuple(self.services.values()))
        self.host: Any = self.world.host
        self.host.instant = self.world.happen
        self.memory = MemoryRecords(self.host.monotonic)
        self.ledger = Ledger(self.memory, lambda type, service, data: None)
        self.faults: List[Broken] = []
        self.built: List[str] = []
        self.rounds = Rounds(self.host, self.build, self.faults.append, self.seen)
        self.board = Board(WatchdogConfig("h1"), self.rounds, self.world.desk, self.ledger, lambda: Head(7, "f" * 64))
        self.endpoints = Endpoints(self.board)
        for service in self.services.values():
            self.rounds.begin(service)
        self.board.loaded = True

    def seen(self, healer: Healer) -> None:
        self.board.seen(healer)

    def build(self, service: Any) -> Healer:
        self.built.append(service.name)
        body = self.world.bodies[service.name]
        actuator = ScriptedActuator(self.world, body)
        return Healer(service, self.host, actuator, self.world.desk, self.ledger, lambda probe, _instance: Ask(body, probe))

    def run(self, until: float) -> None:
        """Turn the engine up to that second."""
        while self.host.now < until:
            self.rounds.spin(min(until, self.world.next_later))
            self.board.cycle()

    def get(self, path: str, method: str = "GET", token: Optional[str] = None, **query: str) -> Tuple[int, str]:
        headers = {"authorization": "Bearer %s" % token} if token else {}
        answer = self.endpoints.answer(Request(method, path, query, headers))
        return answer.status, answer.body.decode()
