# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request to a container engine under one deadline, against real sockets; and its stream of events."""

from __future__ import annotations

import datetime
import json
import socket
import subprocess
import threading
import time
from typing import Any, Callable, Iterator

import pytest
from container_helpers import Engine, Handler, answer, event, finish

from selfheal._actuators.base import State
from selfheal._actuators.container import ContainerActuator
from selfheal._actuators.container_api import BadAddress, Call, OpenStream, address_of, place_of, request_of
from selfheal._actuators.container_engine import ContainerEngine
from selfheal._actuators.container_state import by_hand, moment
from selfheal._core.model import ContainerResource, Release, Service
from selfheal._core.reasons import Reason
from selfheal._engine.resources import wrong_here
from selfheal._host import Outcome, Step
from selfheal._probes.engine import LocalHost

Made = Callable[[Handler], Engine]


@pytest.fixture
def engine(tmp_path: Any) -> Iterator[Made]:
    made = []

    def make(handler: Handler) -> Engine:
        made.append(Engine(str(tmp_path), handler))
        return made[-1]

    yield make
    for each in made:
        each.down()


@pytest.fixture
def host() -> Iterator[LocalHost]:
    with LocalHost() as made:
        yield made


def run(host: LocalHost, step: Step, within: float = 2.0) -> Outcome:
    host.start(step, host.monotonic() + within)
    while True:
        for handle in host.poll(host.monotonic() + 1.0):
            assert handle.outcome is not None
            return handle.outcome


@pytest.mark.parametrize("chunked", [False, True])
def test_an_answer(host: LocalHost, engine: Made, chunked: bool) -> None:
    """JSON of a known length or in chunks, as Docker sends short and long answers."""
    body = [{"Id": "a" * 5000}]
    server = engine(lambda connection, _line: connection.sendall(answer(body, chunked=chunked)))
    outcome = run(host, Call(place_of(server.address), "GET", "/containers/json", (("all", "1"),)))
    assert ("ok", body) == (outcome.status, outcome.data["body"])
    assert ["GET /containers/json?all=1 HTTP/1.1"] == server.asked


@pytest.mark.parametrize(
    ("status", "expected"),
    [(204, ("ok", None)), (304, ("ok", None)), (404, ("bad", Reason.NO_SUCH_CONTAINER)), (409, ("bad", Reason.ACTION_FAILED)),
     (500, ("bad", Reason.ACTION_FAILED)), (403, ("unknown", Reason.NO_PERMISSION)), (503, ("unknown", Reason.ENGINE_DOWN))],
)  # fmt: skip
def test_a_status(host: LocalHost, engine: Made, status: int, expected: Any) -> None:
    """What the engine refuses is bad, in its own words; what a proxy forbids, or cannot pass on, was never asked."""
    body = {"message": "driver failed"} if status >= 400 else None
    server = engine(lambda connection, _line: connection.sendall(answer(body, status)))
    outcome = run(host, Call(place_of(server.address), "POST", "/containers/web/start"))
    assert expected == (outcome.status, outcome.reason)
    assert status < 400 or "driver failed" in outcome.detail


def silent(connection: socket.socket, _line: str) -> None:
    time.sleep(1)


def dripping(connection: socket.socket, _line: str) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-" + b"a" * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


@pytest.mark.parametrize("handler", [silent, dripping], ids=["silence", "header drip"])
def test_an_engine_that_hangs_costs_the_deadline(host: LocalHost, engine: Made, handler: Handler) -> None:
    """C04 one total deadline: an engine that is silent, or drips, is unknown after it, and says nothing of the container."""
    server = engine(handler)
    began = time.monotonic()
    outcome = run(host, Call(place_of(server.address), "GET", "/_ping"), 0.3)
    assert ("unknown", Reason.ENGINE_DOWN) == (outcome.status, outcome.reason)
    assert time.monotonic() - began < 1.0


def test_an_engine_that_takes_no_connections(host: LocalHost, tmp_path: Any) -> None:
    """C04 a stopped process accepts nothing: when its queue is full the connection is refused at once, and nobody waits."""
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(0)
        waiting = []
        while True:
            one = socket.socket(socket.AF_UNIX)
            one.setblocking(False)
            waiting.append(one)
            try:
                one.connect(path)
            except BlockingIOError:
                break
        outcome = run(host, Call(place_of("unix://" + path), "GET", "/_ping"))
        for one in waiting:
            one.close()
    assert Reason.ENGINE_DOWN is outcome.reason and "takes no connections" in outcome.detail


@pytest.mark.parametrize(
    "reply", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", b"garbage\r\n\r\n"], ids=["nothing", "half an answer", "garbage"]
)
def test_half_an_answer_is_none(host: LocalHost, engine: Made, reply: bytes) -> None:
    """An engine that dies in the middle of its answer was not understood: unknown."""

    def half(connection: socket.socket, _line: str) -> None:
        connection.sendall(reply)

    outcome = run(host, Call(place_of(engine(half).address), "GET", "/_ping"))
    assert ("unknown", Reason.ENGINE_DOWN) == (outcome.status, outcome.reason)


def test_no_socket_and_no_right_to_it(host: LocalHost, tmp_path: Any) -> None:
    """No engine at all is unknown, and says where it was looked for."""
    path = str(tmp_path / "none.sock")
    outcome = run(host, Call(place_of("unix://" + path), "GET", "/_ping"))
    assert ("unknown", Reason.ENGINE_DOWN) == (outcome.status, outcome.reason) and path in outcome.detail


@pytest.mark.parametrize("address", ["ssh://host", "https://host:2376", "tcp://host", "unix://relative", "", "tcp://host:99999"])
def test_addresses_that_are_none(address: str) -> None:
    """What cannot be spoken to is refused by name."""
    with pytest.raises(BadAddress):
        place_of(address)


def test_where_the_engine_is(tmp_path: Any) -> None:
    """DOCKER_HOST, else the first socket that is there, else Docker's."""
    there = str(tmp_path / "podman.sock")
    open(there, "w").close()
    assert "tcp://127.0.0.1:2375" == address_of({"DOCKER_HOST": "tcp://127.0.0.1:2375"})
    assert "unix://" + there == address_of({}, ("/nowhere/docker.sock", there))
    assert "unix:///nowhere/docker.sock" == address_of({}, ("/nowhere/docker.sock", "/nowhere/podman.sock"))


def test_a_proxy_over_tcp(host: LocalHost) -> None:
    """A filtering proxy is spoken to over TCP, and one that is not there is an engine that is down."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            connection, _address = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer({"a": 1}))

        thread = threading.Thread(target=serve)
        thread.start()
        assert {"a": 1} == run(host, Call(place_of("tcp://127.0.0.1:%d" % port), "GET", "/version")).data["body"]
        thread.join()
    outcome = run(host, Call(place_of("tcp://127.0.0.1:%d" % port), "GET", "/version"))
    assert ("unknown", Reason.ENGINE_DOWN) == (outcome.status, outcome.reason)


def test_names_cannot_leave_their_place() -> None:
    """What stands in a path is quoted."""
    wire = request_of(Call(place_of("unix:///x"), "GET", "/containers/a b?c\r\nX: y/json")).wire
    assert wire.startswith(b"GET /containers/a%20b%3Fc%0D%0AX:%20y/json HTTP/1.1\r\n")


def test_events(host: LocalHost, engine: Made) -> None:
    """Events in pieces and several at once, and the end of the stream is told."""
    lines = [json.dumps(event(action)).encode() + b"\n" for action in ("die", "start", "kill")]

    def stream(connection: socket.socket, _line: str) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (lines[0][:10], lines[0][10:], lines[1] + lines[2]):
            time.sleep(0.05)
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))

    opened = run(host, OpenStream(place_of(engine(stream).address)))
    heard = []
    while True:
        outcome = run(host, opened.data["stream"].listen(), 5.0)
        if outcome.status != "ok":
            break
        heard += [each["Action"] for each in outcome.data["events"]]
    opened.data["stream"].close()
    assert ["die", "start", "kill"] == heard and Reason.ENGINE_DOWN is outcome.reason


def test_one_event_of_each_container(host: LocalHost) -> None:
    """Only of containers that somebody watches; our own stops are nobody's wish."""
    engine = ContainerEngine("unix:///nowhere")
    engine.names.add("web")
    assert engine.take(event("die", "other")) is None and ("web", "die") == engine.take(event("die", at=5.0))
    assert 5.0 == engine.story("abc").died_at
    engine.take(event("start"))
    engine.ours.add("abc")
    engine.take(event("kill", signal="15"))
    assert engine.story("abc").killed_at is None
    assert ("web", "health_status") == engine.take(event("health_status: unhealthy"))
    assert ("web", "rename") == engine.take(event("rename", "web2", oldName="/web"))


def test_a_container_that_is_not_there(host: LocalHost, engine: Made) -> None:
    """No container of the name is unknown; a name that is an abbreviated id is none; one that was there was removed."""
    told = {"Id": "web" + "0" * 61, "Name": "/another", "State": {"Status": "running", "Pid": 0}}
    server = engine(lambda connection, _line: connection.sendall(answer(told)))
    actuator = ContainerActuator("web", ContainerEngine(server.address))
    assert State.UNKNOWN is finish(host, actuator.look()).state
    told["Name"] = "/web"
    assert State.RUNNING is finish(host, actuator.look()).state
    server.handler = lambda connection, _line: connection.sendall(answer({"message": "no"}, 404))
    assert State.STOPPED is finish(host, actuator.look()).state


@pytest.mark.parametrize(("noted", "expected"), [(True, True), (False, False)])
def test_stopped_shortly_before_the_engine_went_down(host: LocalHost, tmp_path: Any, noted: bool, expected: bool) -> None:
    """C01 what somebody stopped stays so over a restart of the engine; what the engine took along was stopped by nobody.

    The events are the same: kill, die, stop, and then the stream ends. Docker notes only the former beside the container's files.
    """
    identity = "a" * 64
    folder = tmp_path / identity
    folder.mkdir()
    ended = "2026-11-22T06:12:02.953304678Z"
    state = {"Status": "exited", "StartedAt": "2026-11-22T06:11:00Z", "FinishedAt": ended, "ExitCode": 137}
    (folder / "config.v2.json").write_text(json.dumps({"State": {"FinishedAt": ended}, "HasBeenManuallyStopped": noted}))
    known = ContainerEngine("unix:///nowhere")
    known.names.add("web")
    died_at = moment(ended) or 0.0
    for action, more in (("kill", {"signal": "15"}), ("die", {"exitCode": "137"}), ("stop", {})):
        known.take(event(action, identity=identity, at=died_at, **more))
    known.went_away(died_at + 4.0)
    told = {"Id": identity, "Name": "/web", "State": state, "Config": {}, "HostnamePath": str(folder / "hostname")}
    found = finish(host, ContainerActuator("web", known).heard(told))
    assert expected is by_hand(told, found)


@pytest.mark.parametrize("answered", [True, False])
def test_a_restart_of_ours_that_got_no_further_than_its_stop(host: LocalHost, engine: Made, tmp_path: Any, answered: bool) -> None:
    """C08 an engine that goes down, or fails, between the stop and the start of our restart notes a stop by hand: it was ours.

    What somebody stops once it runs again is theirs.
    """
    identity = "a" * 64
    folder = tmp_path / identity
    folder.mkdir()
    began = "2026-11-22T06:00:00Z"
    told = {"Id": identity, "Name": "/web", "State": {"Status": "running", "StartedAt": began}, "Config": {}}
    told["HostnamePath"] = str(folder / "hostname")

    def handler(connection: socket.socket, line: str) -> None:
        if line.startswith("GET"):
            connection.sendall(answer(told))
            return
        ended = datetime.datetime.now(datetime.timezone.utc).isoformat()
        told["State"] = {"Status": "exited", "StartedAt": began, "FinishedAt": ended, "ExitCode": 137}
        (folder / "config.v2.json").write_text(json.dumps({"State": {"FinishedAt": ended}, "HasBeenManuallyStopped": True}))
        if answered:
            connection.sendall(answer({"message": "database not open"}, 500))

    server = engine(handler)
    known = ContainerEngine(server.address)
    known.names.add("web")
    actuator = ContainerActuator("web", known)
    assert finish(host, actuator.restart()).status != "ok"
    assert not by_hand(told, finish(host, actuator.heard(told)))
    known.take(event("start", identity=identity, at=time.time()))
    assert by_hand(told, finish(host, actuator.heard(told)))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(-3.0, False), (-120.0, True), (3.0, True), (-63.0, True)],
    ids=["ours", "long-ago", "before-ours", "a-later-life"],
)
def test_an_action_that_a_dead_watchdog_had_begun(host: LocalHost, tmp_path: Any, asked: float, expected: bool) -> None:
    """C01 what its request may have stopped, of the life it was for and in the time that takes, nobody else has stopped."""
    folder = tmp_path / ("a" * 64)
    folder.mkdir()
    ended = "2026-11-22T06:12:02.953304678Z"
    state = {"Status": "exited", "StartedAt": "2026-11-22T06:11:00Z", "FinishedAt": ended, "ExitCode": 137}
    (folder / "config.v2.json").write_text(json.dumps({"State": {"FinishedAt": ended}, "HasBeenManuallyStopped": True}))
    actuator = ContainerActuator("web", ContainerEngine("unix:///nowhere"))
    actuator.interrupted((moment(ended) or 0.0) + asked)
    told = {"Id": "a" * 64, "Name": "/web", "State": state, "Config": {}, "HostnamePath": str(folder / "hostname")}
    assert expected is by_hand(told, finish(host, actuator.heard(told)))


@pytest.mark.parametrize(
    ("began", "back", "expected"), [(-1.0, 1.0, False), (1.0, 2.0, True), (-2.0, -1.0, True)], ids=["between", "before", "after"]
)
def test_ended_while_a_killed_engine_came_up(host: LocalHost, tmp_path: Any, began: float, back: float, expected: bool) -> None:
    """C01 an engine that starts ends what is alive and notes a stop by hand; what ended before or after that, somebody stopped."""
    folder = tmp_path / ("a" * 64)
    folder.mkdir()
    ended = "2026-11-22T06:12:02.953304678Z"
    state = {"Status": "exited", "StartedAt": "2026-11-22T06:11:00Z", "FinishedAt": ended, "ExitCode": 137}
    (folder / "config.v2.json").write_text(json.dumps({"State": {"FinishedAt": ended}, "HasBeenManuallyStopped": True}))
    known = ContainerEngine("unix:///nowhere")
    died_at = moment(ended) or 0.0
    known.returning = (died_at + began, died_at + back)
    told = {"Id": "a" * 64, "Name": "/web", "State": state, "Config": {}, "HostnamePath": str(folder / "hostname")}
    found = finish(host, ContainerActuator("web", known).heard(told))
    assert expected is by_hand(told, found)


@pytest.mark.parametrize(("again", "state"), [(False, State.STOPPED), (True, State.GONE)])
def test_what_was_told_before_the_stream_broke(host: LocalHost, engine: Made, again: bool, state: State) -> None:
    """A kill and a death are somebody's stop while the engine stands; when it has gone down since it is asked what it made of them."""
    child = subprocess.Popen(["sleep", "60"])
    body: Any = {"Id": "a" * 64, "Name": "/web", "HostConfig": {}, "Config": {}}
    body["State"] = {"Status": "running", "Pid": child.pid, "StartedAt": "2026-11-22T06:00:00Z"}
    server = engine(lambda connection, _line: connection.sendall(answer(body)))
    known = ContainerEngine(server.address)
    known.local = known.heard = True
    actuator = ContainerActuator("web", known)
    assert State.RUNNING is finish(host, actuator.look()).state
    child.kill()
    child.wait()
    now = time.time()
    for action, more in (("kill", {"signal": "15"}), ("die", {"exitCode": "137"})):
        known.take(event(action, identity="a" * 64, at=now, **more))
    ended = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + ("%.6f" % (now % 1))[1:] + "Z"
    body["State"] = {"Status": "exited", "Pid": 0, "StartedAt": "2026-11-22T06:00:00Z", "FinishedAt": ended, "ExitCode": 137}
    if again:
        known.went_away(now + 1.0)
        known.heard_since = now + 2.0
    before = len(server.asked)
    assert state is finish(host, actuator.look()).state
    assert again is (len(server.asked) > before)


@pytest.mark.parametrize("there", [True, False])
def test_a_contract_for_a_container_that_is_not_there(host: LocalHost, engine: Made, there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is wrong on this host; one for a container that a release will be deployed as is not, nor one that nobody can be asked about."""
    body: Any = {"Id": "a" * 64, "Name": "/web", "State": {"Status": "exited"}} if there else {"message": "No such container: web"}
    server = engine(lambda connection, _line: connection.sendall(answer(body, 200 if there else 404)))
    monkeypatch.setenv("DOCKER_HOST", server.address)
    plain = Service("web", ContainerResource("web"), ())
    deployed = Service("later", ContainerResource("web"), (), release=Release("/var/www", "web"))
    found = wrong_here([plain, deployed], host)
    assert ([] if there else ["web"]) == list(found.wrong) and not found.unknown
    assert there or "create it or correct the contract" in found.wrong["web"]
    server.down()
    found = wrong_here([plain], host)
    assert not found.wrong and "no connection" in found.unknown["web"]
    server.up()


def test_an_action_is_proven(host: LocalHost, engine: Made) -> None:
    """C08 an engine that says it restarted a container of which the same life stands has not."""
    told = {"Id": "f" * 64, "Name": "/web", "State": {"Status": "running", "Pid": 0, "StartedAt": "2026-11-22T02:00:00Z"}}
    server = engine(lambda connection, line: connection.sendall(answer(None, 204) if line.startswith("POST") else answer(told)))
    actuator = ContainerActuator("web", ContainerEngine(server.address))
    outcome = finish(host, actuator.restart())
    assert ("bad", Reason.ACTION_FAILED) == (outcome.status, outcome.reason) and "same instance" in outcome.detail
    assert ["POST /containers/%s/restart HTTP/1.1" % ("f" * 64)] == [line for line in server.asked if line.startswith("POST")]
