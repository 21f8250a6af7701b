# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints' HTTP server over real sockets: answers, limits, and clients that mean harm."""

from __future__ import annotations

import random
import socket
import threading
import time
from typing import Any, Callable, Iterator, List, Tuple

import pytest

from selfheal._host import Handle, Machine, Outcome, Step
from selfheal._probes.engine import LocalHost
from selfheal.daemon import http
from selfheal.daemon.http import Refused, Request, Response, Server, parse, render


class Beat(Step):
    """Ends at its deadline; its lateness shows what the server costs everybody else."""

    def begin(self, now: float) -> Machine:
        return _Beating()


class _Beating(Machine):
    def advance(self, now: float) -> None:
        raise AssertionError("it has no descriptor")

    def expire(self, now: float) -> None:
        self.outcome = Outcome("ok")


class Driver:
    """Turns the loop in a thread of its own, as the daemon does, and keeps the time of a beat every 20 ms."""

    def __init__(self, answer: Callable[[Request], Response]) -> None:
        self.host = LocalHost()
        self.server = Server(self.host, ("127.0.0.1", 0), answer)
        self.late: List[float] = []
        self.problems: List[BaseException] = []
        self._stop = False
        self._beat: Any = None
        self._thread = threading.Thread(target=self._turn)
        self._thread.start()

    @property
    def address(self) -> Tuple[str, int]:
        return self.server.address

    def close(self) -> None:
        self._stop = True
        self._thread.join(10)
        self.server.close()
        self.host.close()

    def _turn(self) -> None:
        while not self._stop:
            try:
                self._once()
            except BaseException as error:
                self.problems.append(error)

    def _once(self) -> None:
        now = self.host.monotonic()
        if self._beat is None:
            self._beat = self.host.start(Beat(), now + 0.02, self)
        for handle in self.host.poll(now + 0.1):
            handle.owner.ended(handle)

    def ended(self, handle: Handle) -> None:
        self.late.append((handle.ended or 0.0) - handle.deadline)
        self._beat = None


@pytest.fixture
def driver() -> Iterator[Driver]:
    made = Driver(lambda request: Response(200, ("%s %s" % (request.method, request.path)).encode()))
    yield made
    made.close()
    assert made.problems == []


def ask(address: Tuple[str, int], data: bytes, hang_up: bool = False) -> bytes:
    with socket.create_connection(address, 5) as client:
        client.sendall(data)
        if hang_up:
            client.shutdown(socket.SHUT_WR)
        parts = []
        while True:
            part = client.recv(65536)
            if not part:
                return b"".join(parts)
            parts.append(part)


REQUESTS = [
    (b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n", Request("GET", "/health/live", {}, {"host": "x"}, "x")),
    (b"HEAD / HTTP/1.0\n\n", Request("HEAD", "/", {}, {})),
    (b"GET /artifacts?limit=5&type=a%20b+c&limit=6 HTTP/1.1\r\n\r\n", Request("GET", "/artifacts", {"limit": "6", "type": "a b c"}, {})),
    (b"GET http://h:1/services?x HTTP/1.1\r\n\r\n", Request("GET", "/services", {"x": ""}, {}, "h")),
    (b"GET /%2e%2e/%ff HTTP/1.1\r\nA: b:c \r\n\r\n", Request("GET", "/../\ufffd", {}, {"a": "b:c"})),
]


@pytest.mark.parametrize(("raw", "expected"), REQUESTS)
def test_requests_are_read_as_written(raw: bytes, expected: Request) -> None:
    """A request's method, path, query and headers are what the client meant."""
    head = raw[: raw.index(b"\n\n") if b"\n\n" in raw else raw.index(b"\r\n\r\n")]
    assert expected == parse(head)


REFUSED = [
    (b"", 400),
    (b"GET", 400),
    (b"GET / HTTP/1.1 x", 400),
    (b"GET  / HTTP/1.1", 400),
    (b"GET /", 400),
    (b"GET * HTTP/1.1", 400),
    (b"GET / HTTP/2", 505),
    (b"POST / HTTP/1.1", 405),
    (b"DELETE /services/web HTTP/1.1", 405),
    (b"GET / HTTP/1.1\r\nbroken", 400),
    (b"GET / HTTP/1.1\r\n folded: x", 400),
    (b"GET / HTTP/1.1\r\n: x", 400),
    (b"\x00\xff\x00 / HTTP/1.1", 400),
]


@pytest.mark.parametrize(("head", "status"), REFUSED)
def test_what_is_no_request_is_refused_by_status(head: bytes, status: int) -> None:
    """Every malformed or changing request gets the status that says what is wrong with it; nothing can be changed over HTTP."""
    with pytest.raises(Refused) as refusal:
        parse(head)
    assert status == refusal.value.status


def test_head_has_the_length_but_no_body() -> None:
    """HEAD answers like GET, without the body."""
    response = Response(200, b"four")
    assert render(response, True) == render(response, False) + b"four"
    assert b"Content-Length: 4\r\n" in render(response, False)


def test_it_answers_and_closes(driver: Driver) -> None:
    """A request is answered and the connection closed; what a client pipelines behind it is not looked at."""
    answer = ask(driver.address, b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"GET /a")


def test_a_post_with_a_body_gets_its_answer(driver: Driver) -> None:
    """C41: a wrong method is told so, with what is allowed, though its body was never read."""
    answer = ask(driver.address, b"POST / HTTP/1.1\r\nContent-Length: 20000\r\n\r\n" + b"x" * 20000)
    assert answer.startswith(b"HTTP/1.1 405 ") and b"Allow: GET, HEAD" in answer


def test_a_page_that_breaks_costs_only_its_own_answer() -> None:
    """A fault in one page is a 500 with its name, and the next request is answered."""

    def answer(request: Request) -> Response:
        if request.path == "/broken":
            raise RuntimeError("out of ideas")
        return Response(200, b"fine")

    driver = Driver(answer)
    try:
        assert b"500 Internal Server Error" in ask(driver.address, b"GET /broken HTTP/1.1\r\n\r\n")
        assert ask(driver.address, b"GET / HTTP/1.1\r\n\r\n").endswith(b"fine")
    finally:
        driver.close()
    assert driver.problems == []


def test_a_long_answer_to_a_slow_reader_arrives_whole() -> None:
    """An answer larger than every buffer is sent as the client takes it."""
    driver = Driver(lambda request: Response(200, b"y" * 3000000))
    try:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(driver.address)
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            size = 0
            while True:
                part = client.recv(100000)
                if not part:
                    break
                size += len(part)
    finally:
        driver.close()
    assert size > 3000000


def test_too_large_a_request_is_refused_at_the_limit(driver: Driver) -> None:
    """Headers without end are cut off at 8 KiB with 431."""
    answer = ask(driver.address, b"GET / HTTP/1.1\r\n" + b"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 1000)
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_a_slow_client_is_cut_off_at_the_deadline(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then does not keep a connection open beyond its deadline."""
    monkeypatch.setattr(http, "DEADLINE", 0.3)
    began = time.monotonic()
    with socket.create_connection(driver.address, 5) as client:
        client.settimeout(0.02)
        while time.monotonic() < began + 3:
            try:
                client.sendall(b"G")
                if client.recv(1) == b"":
                    break
            except socket.timeout:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
    assert 0.25 < time.monotonic() - began < 1.5


def test_many_that_never_ask_do_not_shut_out_one_that_does(driver: Driver) -> None:
    """With every place taken by silent clients, a real question is still answered at once: the oldest silent one makes room."""
    silent = [socket.create_connection(driver.address, 5) for _each in range(3 * http.MOST_CONNECTIONS)]
    began = time.monotonic()
    try:
        for _each in range(5):
            assert b"200 OK" in ask(driver.address, b"GET / HTTP/1.1\r\n\r\n")
        assert time.monotonic() - began < 1.0
        assert len(driver.server._open) <= http.MOST_CONNECTIONS
    finally:
        for client in silent:
            client.close()


def test_random_bytes_never_crash_it_nor_delay_a_probe(driver: Driver) -> None:
    """Two seconds of rubbish from four clients: every step that is due meanwhile ends in time, and the next question is answered."""
    until = time.monotonic() + 2.0

    def rubbish(seed: int) -> None:
        dice = random.Random(seed)
        pieces = [b"GET ", b"HEAD ", b"/", b" HTTP/1.1", b"\r\n", b"\n", b"\r\n\r\n", b":", b"\x00", b"\xff\xfe", b"%", b"%zz", b"?a=&&="]
        pieces.append(b"A" * 9000)
        while time.monotonic() < until:
            try:
                with socket.create_connection(driver.address, 2) as client:
                    client.settimeout(0.2)
                    for _each in range(dice.randrange(1, 8)):
                        client.sendall(dice.choice(pieces) if dice.random() < 0.7 else dice.randbytes(dice.randrange(1, 300)))
                    if dice.random() < 0.5:
                        client.shutdown(socket.SHUT_WR)
                        client.recv(100)
            except OSError:
                continue

    clients = [threading.Thread(target=rubbish, args=(seed,)) for seed in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert b"200 OK" in ask(driver.address, b"GET / HTTP/1.1\r\n\r\n")
    late = sorted(driver.late)
    # The clients share one interpreter with the server here; half of that is theirs.
    assert len(late) > 20 and late[int(len(late) * 0.95)] < 0.15


def test_a_taken_port_is_named() -> None:
    """The message names the port and what to do."""
    with socket.socket() as other, LocalHost() as host:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(http.PortTaken, match="port %d" % port):
            Server(host, ("127.0.0.1", port), lambda request: Response(200, b""))
