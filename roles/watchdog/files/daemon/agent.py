# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers the agent checks of load balancers: one short line to whoever connects, and nothing else.

Source: HAProxy Configuration Manual, "agent-check". `drain` makes a server's administrative state DRAIN, which `up` does not end; `ready`
does, and would end what a person has set at the balancer as well. So `ready` is said only to a balancer that has not asked since the
last drain, for a minute, and `up` after that: somebody's `set server ... state maint` stands.
A balancer that gets no answer leaves things as they are, so a watchdog that is away drains nobody and gives nothing back.
"""

from __future__ import annotations

import errno
import math
import os
import socket
from typing import Callable, Dict, Iterable, List, Optional, Set, Tuple

from .._core.errors import RecordError
from .._core.model import Service
from .._engine.agent import DRAIN, AgentWord
from .._host import Handle, Machine, Outcome, Step
from .._probes.engine import READ, LocalHost
from .._proc import Pause
from .config import loopback

DEADLINE = 0.5
"""Seconds for one connection; the answer is on its way at once, the rest is waiting for the other side to hang up."""
MOST_CONNECTIONS = 64
MOST_PEERS = 256
"""So many balancers are told apart; any more are told `ready` always, like new ones."""
READY_FOR = 60.0
LISTEN_AGAIN = 10.0
_ACCEPT_AT_ONCE = 16
_MOST_READ = 4096
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Greeting:
    """Which words go to whom. Pure: `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._until: Dict[str, float] = {}

    def line(self, word: str, peer: str, now: float) -> bytes:
        if word == DRAIN:
            self._until.clear()
            return b"drain\n"
        if peer not in self._until:
            if len(self._until) >= MOST_PEERS:
                return b"up ready\n"
            self._until[peer] = now + READY_FOR
        return b"up ready\n" if now < self._until[peer] else b"up\n"


class _Goodbye(Machine, Step):
    """The answer is sent; closing with unread bytes would take it back, so read until the other side has hung up."""

    events = READ

    def __init__(self, client: socket.socket) -> None:
        self.fd = client.fileno()
        self._client = client
        self._read = 0

    def begin(self, now: float) -> Machine:
        return self

    def advance(self, now: float) -> None:
        try:
            data = self._client.recv(_MOST_READ)
        except BlockingIOError:
            return  # not ready after all: asked again when it is
        except OSError as error:
            self.outcome = Outcome("bad", detail=str(error))
            return
        self._read += len(data)
        if not data or self._read > _MOST_READ:
            self.outcome = Outcome("ok")

    def expire(self, now: float) -> None:
        self.outcome = Outcome("ok")

    def close(self) -> None:
        self._client.close()


class AgentPort:
    """Listens on one port. It is the owner of its own steps. Raises OSError, RecordError."""

    wake = 0.0

    def __init__(self, host: LocalHost, address: Optional[str], word: AgentWord, problem: Callable[[str], None]) -> None:
        self._host = host
        self._word = word
        self._problem = problem
        self._greeting = Greeting()
        self._told: Optional[str] = None
        self._open: List[Handle] = []
        self._resting: Optional[Handle] = None
        self._listener = listen(address, word.port)
        try:
            word.tell(None)
        except RecordError:
            self._listener.close()
            raise
        self._host.register(self._listener.fileno(), READ, self._accept)

    @property
    def healer(self) -> AgentPort:
        return self

    def ended(self, handle: Handle) -> None:
        """A connection is over, or it is time to accept again."""
        if handle is self._resting:
            self._resting = None
            self._host.register(self._listener.fileno(), READ, self._accept)
            return
        self._open.remove(handle)

    def close(self) -> None:
        if self._resting is not None:
            self._host.cancel(self._resting)
        else:
            self._host.unregister(self._listener.fileno())
        for handle in self._open:
            self._host.cancel(handle)
        self._open.clear()
        self._listener.close()
        self._word.silent()

    def _accept(self, _ready: int) -> None:
        for _each in range(_ACCEPT_AT_ONCE):
            try:
                client, peer = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                # The queue stays full, so the loop would turn without end: look again in a second.
                self._host.unregister(self._listener.fileno())
                self._resting = self._host.start(Pause(), self._host.monotonic() + 1.0, self)
                return
            self._answer(client, str(peer[0]))

    def _answer(self, client: socket.socket, peer: str) -> None:
        now = self._host.monotonic()
        word = self._word.get()
        try:
            client.setblocking(False)
            # A few bytes into an empty buffer: never in part, never in want of waiting.
            client.sendall(self._greeting.line(word, peer, now))
            client.shutdown(socket.SHUT_WR)
        except OSError:
            client.close()  # it has gone already; it will ask again
            return
        if len(self._open) >= MOST_CONNECTIONS:
            self._host.cancel(self._open.pop(0))
        self._open.append(self._host.start(_Goodbye(client), now + DEADLINE, self))
        if word != self._told:
            self._remember(word)

    def _remember(self, word: str) -> None:
        try:
            self._word.tell(word)
            self._told = word
        except RecordError as error:
            self._problem("that a load balancer was told %s could not be noted: %s" % (word, error))


class AgentChecks:
    """The ports of all contracts; rides on the loop as a companion. `problem(text)` is told what could not be had, once a time."""

    def __init__(self, host: LocalHost, listen_on: str, state_dir: str, run_dir: str, problem: Callable[[str], None]) -> None:
        self.wake = math.inf
        self._host = host
        self._address = None if loopback(listen_on) or listen_on in ("0.0.0.0", "::") else listen_on
        self._places = state_dir, run_dir
        self._problem = problem
        self._ports: Dict[int, AgentPort] = {}
        self._missing: Set[int] = set()
        self._told = ""

    def want(self, services: Iterable[Service]) -> None:
        """Listen where these contracts say, and nowhere else."""
        ports = set(wanted_ports(services))
        for port in [port for port in self._ports if port not in ports]:
            self._leave(port)
        self._missing = ports - set(self._ports)
        self.turn(math.inf)

    def turn(self, now: float) -> None:
        if not self._missing or now < self.wake:
            return
        self.wake = math.inf
        for port in sorted(self._missing):
            try:
                self._ports[port] = AgentPort(self._host, self._address, AgentWord(*self._places, port), self._say)
                self._missing.discard(port)
            except (OSError, RecordError) as error:
                self.wake = self._host.monotonic() + LISTEN_AGAIN
                why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
                self._say("agent checks on port %d cannot be answered: %s; traffic is not drained until they are" % (port, why))

    def close(self) -> None:
        for port in list(self._ports):
            self._leave(port)

    def _leave(self, port: int) -> None:
        try:
            self._ports.pop(port).close()
        except RecordError as error:
            self._say(str(error))

    def _say(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._problem(text)


def wanted_ports(services: Iterable[Service]) -> Iterable[int]:
    """The ports of all fallbacks of kind agent_check."""
    for service in services:
        for fallback in (service.fallback, *(each.fallback for each in service.dependencies)):
            if fallback is not None and fallback.kind == "agent_check":
                yield int(fallback.options["port"])


def listen(address: Optional[str], port: int) -> socket.socket:
    """A listening socket; on all addresses of both families, or of the one there is, without `address`. Raises OSError."""
    first: Optional[OSError] = None
    for family, host in _candidates(address):
        try:
            listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:
            first = first or error
            continue
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address is None else 1)
            listener.bind((host, port))
            listener.listen(MOST_CONNECTIONS)
            return listener
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                raise  # the other family alone would be half an answer
            first = first or error
    raise first or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))


def _candidates(address: Optional[str]) -> Tuple[Tuple[int, str], ...]:
    if address is None:
        return (socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")
    return ((socket.AF_INET6 if ":" in address else socket.AF_INET, address),)


__all__ = ["AgentChecks", "AgentPort", "DEADLINE", "Greeting", "MOST_CONNECTIONS", "READY_FOR", "listen", "wanted_ports"]
