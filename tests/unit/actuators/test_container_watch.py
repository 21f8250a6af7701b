# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One stream of events for all containers of a host, and the engine itself as one incident."""

from __future__ import annotations

import json
import os
import socket
import time
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest
from container_helpers import Engine, answer, event

from selfheal import _proc
from selfheal._actuators.container_engine import ContainerEngine
from selfheal._core.reasons import Reason
from selfheal._engine import containers
from selfheal._engine.containers import ContainerWatch, Excused
from selfheal._engine.engine import Engine as Loop
from selfheal._host import Machine, Outcome, Step
from selfheal._probes.engine import LocalHost


class Healer:
    """Counts how often it is told to look, and to ask its probes."""

    def __init__(self, name: str) -> None:
        self.service = SimpleNamespace(resource=SimpleNamespace(name=name))
        self.looks = 0
        self.presses = 0
        self.watch = SimpleNamespace(press=self._press)

    def _press(self, _now: float) -> None:
        self.presses += 1

    def look_again(self) -> None:
        self.looks += 1


class Records:
    def __init__(self) -> None:
        self.events: List[Tuple[str, Optional[str], Dict[str, Any]]] = []

    def record(self, type: str, service: Any = None, incident: Any = None, source: str = "watchdog", data: Any = None) -> None:
        assert service is None, "an engine is nobody's service"
        self.events.append((type, incident, data))

    def types(self) -> List[str]:
        return [each[0] for each in self.events]


class Docker:
    """An engine whose streams a test can speak on."""

    def __init__(self, folder: str) -> None:
        self.streams: List[socket.socket] = []
        self.refuse: Optional[int] = None
        self.hang = False
        self.server = Engine(folder, self._handle)

    def _handle(self, connection: socket.socket, line: str) -> bool:
        if self.hang:
            time.sleep(3)
            return False
        if "/events" in line:
            if self.refuse is not None:
                connection.sendall(answer({"message": "forbidden"}, self.refuse))
                return False
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            self.streams.append(connection)
            return True
        connection.sendall(answer("OK"))
        return False

    def say(self, told: Dict[str, Any]) -> None:
        self.streams[-1].sendall(json.dumps(told).encode() + b"\n")


class Bed:
    def __init__(self, host: LocalHost, docker: Docker, *names: str) -> None:
        self.docker = docker
        self.engine = ContainerEngine(docker.server.address)
        self.engine.names.update(names)
        self.healers = [Healer(name) for name in names]
        self.records = Records()
        self.watch = ContainerWatch(self.engine, host, self.records, lambda: self.healers)  # type: ignore[arg-type]
        self.loop = Loop(host, companions=[self.watch])

    def until(self, true: Callable[[], Any], within: float = 8.0) -> None:
        end = time.monotonic() + within
        while not true():
            assert time.monotonic() < end, (self.records.events, self.docker.server.asked)
            self.loop.spin(time.monotonic() + 0.05)


@pytest.fixture
def bed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bed]:
    for name, value in (
        ("PING_EVERY", 0.2),
        ("PING_WITHIN", 0.2),
        ("OPEN_WITHIN", 0.3),
        ("PAUSES", (0.05, 0.2)),
        ("PAGE_AFTER", 1.0),
        ("GONE_FOR", 0.1),
    ):
        monkeypatch.setattr(containers, name, value)
    docker = Docker(str(tmp_path))
    with LocalHost() as host:
        made = Bed(host, docker, "web", "db")
        made.until(lambda: made.engine.heard)
        yield made
        made.watch.stop()
    docker.server.down()


def test_one_stream_for_all(bed: Bed) -> None:
    """However many containers: one connection; an event is its own container's healer's business, and news of health is for its probes."""
    bed.until(lambda: bed.docker.streams)
    before = [healer.looks for healer in bed.healers]
    bed.docker.say(event("die", "db"))
    bed.until(lambda: bed.healers[1].looks > before[1])
    assert before[0] == bed.healers[0].looks and 0 == bed.healers[1].presses
    bed.docker.say(event("health_status: unhealthy", "web"))
    bed.until(lambda: bed.healers[0].presses == 1)
    assert 1 == sum("/events" in line for line in bed.docker.server.asked)


def test_everybody_looks_after_the_stream_was_lost(bed: Bed) -> None:
    """A stream that breaks is opened again, and then everybody looks once; an engine that was away for a moment is no incident."""
    before = [healer.looks for healer in bed.healers]
    bed.until(lambda: bed.docker.streams)
    bed.docker.streams[0].shutdown(socket.SHUT_RDWR)
    bed.until(lambda: len(bed.docker.streams) == 2)
    bed.until(lambda: bed.engine.heard)
    assert all(healer.looks > looks for healer, looks in zip(bed.healers, before)) and [] == bed.records.types()


def test_an_engine_that_is_down_is_one_incident(bed: Bed) -> None:
    """C04 one failure, one page after a while, one recovery, whatever the number of its containers."""
    bed.docker.server.down()
    bed.until(lambda: bed.engine.problem)
    assert ["failure"] == bed.records.types() and "engine_down" == bed.records.events[0][2]["reason"]
    bed.until(lambda: "page" in bed.records.types())
    bed.docker.server.up()
    bed.until(lambda: "page_resolved" in bed.records.types())
    assert ["failure", "page", "recover", "page_resolved"] == bed.records.types()
    assert 1 == len({incident for _type, incident, _data in bed.records.events}) and bed.engine.problem is None
    assert bed.records.events[2][2]["recovery_duration_ms"] > 0


def test_an_engine_that_hangs_is_one_too(bed: Bed) -> None:
    """C04 its stream stays open and says nothing: the ping tells. What died moments before was not stopped by anybody."""
    bed.until(lambda: bed.docker.streams)
    for action, more in (("kill", {"signal": "15"}), ("die", {"exitCode": "137"})):
        bed.docker.say(event(action, "web", at=time.time(), **more))
    bed.until(lambda: bed.engine.story("abc").died_at)
    assert not bed.engine.story("abc").away
    bed.docker.hang = True
    bed.until(lambda: bed.engine.problem)
    assert ["failure"] == bed.records.types() and not bed.engine.heard
    bed.docker.hang = False
    bed.until(lambda: bed.engine.problem is None and bed.engine.heard)
    assert "recover" in bed.records.types()
    assert bed.engine.story("abc").away and (bed.engine.story("abc").died_at or 0.0) < bed.engine.heard_since


def test_an_engine_that_was_killed_comes_up(bed: Bed, tmp_path: Any) -> None:
    """A new process of the engine's ends what lives of its containers before it serves anybody: that was no person."""
    pidfile = tmp_path / "docker.pid"
    pidfile.write_text(str(os.getppid()))
    bed.until(lambda: bed.docker.streams)
    for number, pid in ((2, os.getppid()), (3, os.getppid()), (4, os.getpid())):
        assert bed.engine.returning is None
        pidfile.write_text("%d\n" % pid)
        bed.docker.streams[-1].shutdown(socket.SHUT_RDWR)
        bed.until(lambda number=number: len(bed.docker.streams) == number and bed.engine.heard)
    assert bed.engine.returning is not None
    began, back = bed.engine.returning
    assert abs(began - _proc.started_wall(_proc.stat(os.getpid()).start_time)) < 1.0  # type: ignore[union-attr]
    assert began < back <= time.time()


def test_a_proxy_that_forbids_the_events(tmp_path: Any) -> None:
    """Then containers are looked at in turn, which is said once; the engine is not down."""
    docker = Docker(str(tmp_path))
    docker.refuse = 403
    with LocalHost() as host:
        bed = Bed(host, docker, "web")
        bed.until(lambda: bed.records.events)
        assert ["note"] == bed.records.types() and bed.engine.problem is None and not bed.engine.heard
        bed.watch.stop()
    docker.server.down()


class Said(Step):
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    def begin(self, now: float) -> Machine:
        machine = Ended()
        machine.outcome = self.outcome
        return machine


class Ended(Machine):
    def advance(self, now: float) -> None:
        raise AssertionError("it has ended")


@pytest.mark.parametrize(
    ("status", "why", "expected"),
    [("bad", None, "bad"), ("bad", "the engine is away", "unknown"), ("ok", "the engine is away", "ok"), ("unknown", None, "unknown")],
)
def test_what_fails_while_the_engine_is_away(status: str, why: Optional[str], expected: str) -> None:
    """Nobody could do anything about it, so it opens no incident; what answers well is well."""
    excused = Excused(Said(Outcome(status, Reason.TIMEOUT if status == "bad" else None)), lambda: why).begin(0.0)
    assert excused.outcome is not None and expected == excused.outcome.status
