# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a host's name to its addresses, without ever waiting for a resolver.

Literal addresses and the names in ``/etc/hosts`` are answered at once. Every other name is asked of the system's resolver
in a worker thread; whoever waits gets a pipe that becomes readable when the answer is there, and stops waiting at its own
deadline. A resolver that hangs costs one of `WORKERS` threads per name, however many ask for it, and nothing else.
"""

from __future__ import annotations

import os
import socket
import time
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

WORKERS = 16
FRESH = 2.0
"""Seconds for which an answer is given again, so that a hundred checks of one host ask once."""

_HOSTS_FILE = "/etc/hosts"
_HOSTS_LOOK_AGAIN = 1.0


class Address(NamedTuple):
    """family: AF_INET or AF_INET6; host: the literal address, with ``%zone`` if it has one."""

    family: int
    host: str
    scope: int = 0

    def at(self, port: int) -> Tuple[Any, ...]:
        """What `connect` takes."""
        return (self.host, port, 0, self.scope) if self.family == socket.AF_INET6 else (self.host, port)


class Answer(NamedTuple):
    """`addresses` in the resolver's order, else `problem` for people."""

    addresses: Tuple[Address, ...]
    problem: str = ""


def literal(host: str) -> Optional[Address]:
    """The address itself, if `host` is one."""
    try:
        if ":" not in host:
            socket.inet_pton(socket.AF_INET, host)
            return Address(socket.AF_INET, host)
        plain, _percent, zone = host.partition("%")
        socket.inet_pton(socket.AF_INET6, plain)
        scope = 0 if not zone else int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
        return Address(socket.AF_INET6, plain, scope)
    except OSError:
        return None


class HostsFile:
    """``/etc/hosts``, read again when it has changed, and looked at no more than once a second."""

    def __init__(self, path: str = _HOSTS_FILE) -> None:
        self._path = path
        self._looked = -_HOSTS_LOOK_AGAIN
        self._stamp: Optional[Tuple[int, int, int]] = None
        self._names: Dict[str, Tuple[Address, ...]] = {}

    def find(self, name: str, now: float) -> Tuple[Address, ...]:
        """The addresses of `name`, in the order of the file; localhost is known without being written there."""
        if now - self._looked >= _HOSTS_LOOK_AGAIN:
            self._looked = now
            self._refresh()
        found = self._names.get(name.lower(), ())
        if not found and name.lower() == "localhost":
            return (Address(socket.AF_INET, "127.0.0.1"), Address(socket.AF_INET6, "::1"))
        return found

    def _refresh(self) -> None:
        try:
            status = os.stat(self._path)
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                with open(self._path, encoding="utf-8", errors="replace") as lines:
                    self._names = self._parse(lines.read(1 << 20))
                self._stamp = stamp
        except OSError:
            self._names, self._stamp = {}, None  # no hosts file: every name goes to the resolver

    @staticmethod
    def _parse(content: str) -> Dict[str, Tuple[Address, ...]]:
        names: Dict[str, Tuple[Address, ...]] = {}
        for line in content.splitlines():
            words = line.partition("#")[0].split()
            address = literal(words[0]) if len(words) > 1 else None
            if address is not None:
                for name in words[1:]:
                    if address not in names.get(name.lower(), ()):
                        names[name.lower()] = names.get(name.lower(), ()) + (address,)
        return names


class _Question:
    """One name under way, and the write ends of those who wait for it."""

    __slots__ = ("name", "asked", "started", "answered", "answer", "waiting")

    def __init__(self, name: str, asked: float) -> None:
        self.name = name
        self.asked = asked
        self.started = False
        self.answered: Optional[float] = None
        self.answer: Optional[Answer] = None
        self.waiting: List[int] = []


class Waiter:
    """One who waits for a name: `fd` becomes readable when `answer` is there. Must be closed."""

    __slots__ = ("fd", "_write", "_question", "_resolver")

    def __init__(self, resolver: Resolver, question: _Question, fd: int, write: int) -> None:
        self.fd = fd
        self._write = write
        self._question = question
        self._resolver = resolver

    @property
    def answer(self) -> Optional[Answer]:
        return self._question.answer

    @property
    def queued(self) -> bool:
        """Nobody has begun to ask, because every worker is stuck with another name."""
        return not self._question.started

    def close(self) -> None:
        self._resolver._leave(self._question, self._write)
        os.close(self.fd)


class Resolver:
    """The workers and what they are asked. Threads are made when a name needs one, and kept."""

    def __init__(self, workers: int = WORKERS) -> None:
        import _thread

        self._lock = _thread.allocate_lock()
        self._start_thread = _thread.start_new_thread
        self._workers = workers
        self._threads = 0
        self._pending = 0
        self._queue: Any = None
        self._questions: Dict[str, _Question] = {}

    def ask(self, name: str, now: float) -> Waiter:
        """Begin to look `name` up, or join those who already wait. Raises OSError when the process is out of descriptors."""
        read, write = os.pipe()
        with self._lock:
            question = self._questions.get(name)
            if question is not None and question.answered is not None and now - question.answered > FRESH:
                question = None
            if question is None:
                question = self._questions[name] = _Question(name, now)
                self._submit(question)
            if question.answered is not None:
                os.close(write)
            else:
                question.waiting.append(write)
            self._prune(now)
        return Waiter(self, question, read, write)

    def _submit(self, question: _Question) -> None:
        if self._queue is None:
            import queue

            self._queue = queue.SimpleQueue()
        self._queue.put(question)
        self._pending += 1
        if self._threads < min(self._pending, self._workers):
            self._threads += 1
            self._start_thread(self._work, ())

    def _prune(self, now: float) -> None:
        if len(self._questions) > 1024:
            kept = {name: known for name, known in self._questions.items() if known.answered is None or now - known.answered <= FRESH}
            self._questions = kept

    def _leave(self, question: _Question, write: int) -> None:
        with self._lock:
            if write in question.waiting:
                question.waiting.remove(write)
                os.close(write)

    def _work(self) -> None:
        while True:
            question = self._queue.get()
            with self._lock:
                question.started = True
                wanted = bool(question.waiting)
                if not wanted:
                    self._done(question, None)
            if wanted:
                answer = resolve(question.name)
                with self._lock:
                    self._done(question, answer)

    def _done(self, question: _Question, answer: Optional[Answer]) -> None:
        """None: nobody waited any more. Failures are forgotten at once, addresses after `FRESH` seconds."""
        self._pending -= 1
        question.answer = answer
        question.answered = time.monotonic()
        if (answer is None or not answer.addresses) and self._questions.get(question.name) is question:
            del self._questions[question.name]
        for write in question.waiting:
            os.close(write)
        question.waiting.clear()


def resolve(name: str) -> Answer:
    """Ask the system's resolver. Blocks: only ever called in a worker."""
    try:
        found = socket.getaddrinfo(name, None, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Answer((), getattr(error, "strerror", None) or str(error))
    addresses: List[Address] = []
    for family, _type, _protocol, _canonical, where in found:
        if family in (socket.AF_INET, socket.AF_INET6):
            address = Address(family, str(where[0]).partition("%")[0], int(where[3]) if len(where) == 4 else 0)
            if address not in addresses:
                addresses.append(address)
    return Answer(tuple(addresses), "" if addresses else "it has no IPv4 or IPv6 address")


_hosts_file = HostsFile()
_resolvers: List[Resolver] = []


def at_once(name: str, now: float) -> Tuple[Address, ...]:
    """The addresses that are known without asking anybody; empty if the resolver must be asked."""
    return _hosts_file.find(name, now)


def ask(name: str, now: float) -> Waiter:
    """Ask the one resolver of this process."""
    if not _resolvers:
        _resolvers.append(Resolver())
    return _resolvers[0].ask(name, now)


__all__ = ["Address", "Answer", "FRESH", "HostsFile", "Resolver", "WORKERS", "Waiter", "ask", "at_once", "literal", "resolve"]
