# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Agent checks over real sockets: what balancers are told, who is told `ready`, and clients that mean harm."""

from __future__ import annotations

import pathlib
import socket
import threading
import time
from typing import Callable, Iterator, List, Optional

import pytest

from selfheal._core.contract import parse_services
from selfheal._core.errors import RecordError
from selfheal._engine.agent import DRAIN, UP, AgentWord
from selfheal._probes.engine import LocalHost
from selfheal.daemon import agent
from selfheal.daemon.agent import MOST_CONNECTIONS, MOST_PEERS, READY_FOR, AgentChecks, Greeting


def services(*ports: int, dependency: Optional[int] = None) -> tuple:
    made = []
    for port in ports:
        one = {
            "name": "s%d" % port,
            "resource": {"process": {"argv": ["/bin/true"]}},
            "probes": [{"role": "liveness", "tcp": {"host": "127.0.0.1", "port": 1}}],
            "fallback": {"agent_check": {"port": port}},
        }
        if dependency is not None:
            probe = {"tcp": {"host": "127.0.0.1", "port": 2}}
            one["dependencies"] = [{"name": "db", "probe": probe, "fallback": {"agent_check": {"port": dependency}}}]
        made.append(one)
    return parse_services(made)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Driver:
    """Turns the loop in a thread of its own, as the daemon does."""

    def __init__(self, folder: pathlib.Path, listen_on: str = "127.0.0.1") -> None:
        self.folder = folder
        self.port = free_port()
        self.host = LocalHost()
        self.problems: List[str] = []
        self.checks = AgentChecks(self.host, listen_on, str(folder / "state"), str(folder / "run"), self.problems.append)
        self._do: List[Callable[[], None]] = []
        self._stop = False
        self._thread = threading.Thread(target=self._turn)
        self._thread.start()

    @property
    def word(self) -> AgentWord:
        return AgentWord(str(self.folder / "state"), str(self.folder / "run"), self.port)

    def want(self, *ports: int, dependency: Optional[int] = None) -> None:
        done = threading.Event()
        wanted = services(*ports, dependency=dependency)
        self._do.append(lambda: (self.checks.want(wanted), done.set())[1])
        assert done.wait(5)

    def _turn(self) -> None:
        while not self._stop:
            for handle in self.host.poll(self.host.monotonic() + 0.02):
                if handle.owner is not None:
                    handle.owner.ended(handle)
            while self._do:
                self._do.pop(0)()
            self.checks.turn(self.host.monotonic())

    def close(self) -> None:
        self._stop = True
        self._thread.join(10)
        self.checks.close()
        self.host.close()


@pytest.fixture
def driver(tmp_path: pathlib.Path) -> Iterator[Driver]:
    made = Driver(tmp_path)
    yield made
    made.close()


def ask(port: int, host: str = "127.0.0.1", send: bytes = b"") -> bytes:
    with socket.create_connection((host, port), timeout=5) as sock:
        if send:
            sock.sendall(send)
        data = b""
        while True:
            part = sock.recv(100)
            if not part:
                return data
            data += part


def heard(driver: Driver, word: str) -> None:
    """It is noted right after the answer has left."""
    end = time.monotonic() + 5
    while driver.word.told() != (word,):
        assert time.monotonic() < end, driver.word.told()
        time.sleep(0.005)


# -- words ----------------------------------------------------------------------------------------------------------------------------


def test_ready_ends_a_drain_and_then_leaves_the_balancer_to_its_people() -> None:
    """C56 `ready` also ends what somebody set at the balancer, so it is said for a minute after a drain, and `up` from then on."""
    greeting = Greeting()
    assert [b"up ready\n", b"up ready\n", b"up\n"] == [greeting.line(UP, "lb1", at) for at in (0.0, READY_FOR - 1, READY_FOR)]
    assert [b"drain\n"] * 2 == [greeting.line(DRAIN, peer, 100.0) for peer in ("lb1", "lb2")]
    assert b"up ready\n" == greeting.line(UP, "lb1", 200.0)
    assert b"up\n" == greeting.line(UP, "lb1", 300.0)
    assert b"up ready\n" == greeting.line(UP, "lb2", 9999.0), "a balancer that was away meanwhile still stands at drain"


def test_strangers_cannot_make_it_forget_a_balancer() -> None:
    """However many ask, what is remembered is bounded, and nobody is pushed out of it."""
    greeting = Greeting()
    greeting.line(UP, "lb1", 0.0)
    for stranger in range(2 * MOST_PEERS):
        greeting.line(UP, "10.0.%d.%d" % divmod(stranger, 256), 1.0)
    assert b"up\n" == greeting.line(UP, "lb1", 100.0)
    assert b"up ready\n" == greeting.line(UP, "10.0.1.255", 100.0)


def test_the_word_outlives_the_watchdog(driver: Driver) -> None:
    """C37 a watchdog that comes back goes on with what the one before it said."""
    driver.want(driver.port)
    assert b"up ready\n" == ask(driver.port)
    driver.word.set(DRAIN)
    driver.want()
    driver.want(driver.port)
    assert b"drain\n" == ask(driver.port)
    heard(driver, DRAIN)


def test_what_was_told_is_known_to_others(driver: Driver) -> None:
    """Nobody listens, somebody listens, a balancer has heard it: three different things."""
    assert driver.word.told() is None
    driver.want(driver.port)
    assert (None,) == driver.word.told()
    ask(driver.port)
    heard(driver, UP)
    driver.word.set(DRAIN)
    assert (UP,) == driver.word.told()
    ask(driver.port)
    heard(driver, DRAIN)
    driver.want()
    assert driver.word.told() is None


@pytest.mark.parametrize("content", [b"", b"drained", b"\xff" * 10, b"x" * 10000])
def test_a_garbled_word_drains_nobody(tmp_path: pathlib.Path, content: bytes) -> None:
    """C04 what cannot be read is no reason to act: the balancer's own health check goes on."""
    word = AgentWord(str(tmp_path), str(tmp_path), 9878)
    (tmp_path / "agent").mkdir()
    pathlib.Path(word.path).write_bytes(content)
    assert UP == word.get()
    word.set(DRAIN)
    assert DRAIN == word.get()


def test_a_word_that_cannot_be_written_is_an_error(tmp_path: pathlib.Path) -> None:
    """Nothing is pretended."""
    (tmp_path / "agent").write_text("in the way")
    with pytest.raises(RecordError):
        AgentWord(str(tmp_path), str(tmp_path), 9878).set(DRAIN)


# -- ports ----------------------------------------------------------------------------------------------------------------------------


def test_ports_come_and_go_with_the_contracts(driver: Driver) -> None:
    """Those of services and of dependencies are listened on, and no others."""
    other = free_port()
    driver.want(driver.port, dependency=other)
    assert [b"up ready\n"] * 2 == [ask(driver.port), ask(other)]
    driver.want(driver.port)
    with pytest.raises(ConnectionRefusedError):
        ask(other)
    assert b"up ready\n" == ask(driver.port)
    assert driver.problems == []


def test_a_port_that_is_taken_is_told_once_and_had_later(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch goes on without it; as soon as it is free it is answered."""
    monkeypatch.setattr(agent, "LISTEN_AGAIN", 0.1)
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", driver.port))
        taken.listen(1)
        driver.want(driver.port)
        time.sleep(0.4)
        assert 1 == len(driver.problems) and str(driver.port) in driver.problems[0] and "in use" in driver.problems[0]
        assert driver.word.told() is None
    end = time.monotonic() + 5
    while driver.word.told() is None and time.monotonic() < end:
        time.sleep(0.02)
    assert b"up ready\n" == ask(driver.port)


def test_a_distant_balancer_reaches_it_though_the_endpoints_are_on_loopback(driver: Driver) -> None:
    """All addresses of both families, unless the endpoints were given one that others reach."""
    driver.want(driver.port)
    assert b"up ready\n" == ask(driver.port, "127.0.0.2")
    if socket.has_ipv6:
        try:
            assert b"up ready\n" == ask(driver.port, "::1")
        except OSError as error:
            pytest.skip("no IPv6 here: %s" % error)


def test_one_address_when_the_endpoints_have_one(tmp_path: pathlib.Path) -> None:
    """Whoever says where the watchdog listens has said it for this, too."""
    assert "10.1.2.3" == AgentChecks(LocalHost(), "10.1.2.3", str(tmp_path), str(tmp_path), print)._address
    listener = agent.listen("127.0.0.1", free_port())
    assert "127.0.0.1" == listener.getsockname()[0]
    listener.close()


# -- clients that mean harm -----------------------------------------------------------------------------------------------------------


def test_clients_that_never_hang_up_keep_nobody_waiting(driver: Driver) -> None:
    """C58 connections are bounded and end by themselves; a balancer among hundreds of strangers has its answer at once."""
    driver.want(driver.port)
    strangers = [socket.create_connection(("127.0.0.1", driver.port), timeout=5) for _each in range(3 * MOST_CONNECTIONS)]
    began = time.monotonic()
    assert b"up ready\n" == ask(driver.port)
    assert time.monotonic() - began < 0.5
    for stranger in strangers:
        assert b"up ready\n" == stranger.recv(100)
        assert b"" == stranger.recv(100)
        stranger.close()


def test_whatever_is_sent_the_answer_is_the_same(driver: Driver) -> None:
    """It reveals one word and takes no orders."""
    driver.want(driver.port)
    for sent in (b"GET / HTTP/1.1\r\n\r\n", b"drain\n", b"\x00" * 1000):
        assert b"up ready\n" == ask(driver.port, send=sent)
    with socket.create_connection(("127.0.0.1", driver.port), timeout=5) as rude:
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    assert b"up ready\n" == ask(driver.port)
    assert UP == driver.word.get()
