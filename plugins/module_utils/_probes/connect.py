# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a name and a port to a connected socket: the part that HTTP and TCP probes share.

Every address of the name is tried in the resolver's order, all within the probe's one deadline. A refusal moves on at once;
an address that does not answer is left after a second if there is another one (the kernel keeps that time: TCP_USER_TIMEOUT).
"""

from __future__ import annotations

import abc
import errno
import os
import socket
from typing import Any, Callable, List, Optional, Tuple

from .._core.reasons import Reason
from .._host import Machine, Outcome
from . import lookup
from .engine import EXHAUSTED, LONGEST_DETAIL, READ, WRITE

NEXT_ADDRESS_MS = 1000

_STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", 18)
_UNDER_WAY = (0, errno.EINPROGRESS)
_REASONS = {
    errno.ECONNREFUSED: Reason.CONNECTION_REFUSED,
    errno.ECONNRESET: Reason.CONNECTION_RESET,
    errno.ECONNABORTED: Reason.CONNECTION_RESET,
    errno.EPIPE: Reason.CONNECTION_RESET,
    errno.ETIMEDOUT: Reason.TIMEOUT,
}


def outcome_of(error_number: int, detail: str) -> Outcome:
    """What a socket's error says: about the target (bad), or about this host (unknown)."""
    line = ("%s: %s" % (detail, os.strerror(error_number)))[:LONGEST_DETAIL]
    if error_number in EXHAUSTED:
        return Outcome("unknown", Reason.RESOURCE_LIMIT, line)
    if error_number in (errno.EACCES, errno.EPERM):
        return Outcome("unknown", Reason.NO_PERMISSION, line)
    return Outcome("bad", _REASONS.get(error_number, Reason.UNREACHABLE), line)


def show_address(host: str, port: int) -> str:
    return "[%s]:%d" % (host, port) if ":" in host else "%s:%d" % (host, port)


class Endpoint:
    """A host as it is written in the contract, and a port. What can be known beforehand is worked out once."""

    __slots__ = ("host", "port", "literal")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        address = lookup.literal(host)
        self.literal: Tuple[lookup.Address, ...] = () if address is None else (address,)

    def __str__(self) -> str:
        return show_address(self.host, self.port)


class Connecting(Machine):
    """A machine that begins by connecting. `_connected` is called, with a socket that is at least under way, to go on from there."""

    __slots__ = ("fd", "events", "outcome", "began", "sock", "_step", "_endpoint", "_addresses", "_next", "_waiter", "_failures", "_spent")

    def __init__(self, endpoint: Endpoint, now: float) -> None:
        self.fd: Optional[int] = None
        self.events = 0
        self.outcome: Optional[Outcome] = None
        self.began = now
        self.sock: Any = None
        # A function of the class, not a bound method: no reference cycle per probe.
        self._step: Callable[[Any, float], None] = Connecting._looked_up
        self._endpoint = endpoint
        self._addresses = endpoint.literal
        self._next = 0
        self._waiter: Optional[lookup.Waiter] = None
        self._failures: Optional[List[str]] = None
        self._spent: Any = None  # a socket that the loop may still watch: see engine.py on descriptors

    def advance(self, now: float) -> None:
        self._step(self, now)

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        if self._spent is not None:
            self._spent.close()
            self._spent = None
        if self._waiter is not None:
            self._waiter.close()
            self._waiter = None

    @abc.abstractmethod
    def _connected(self, now: float) -> None:
        """The connection is under way, and on this host often complete: use it, or wait for `WRITE` if that blocks."""

    def _say(self) -> str:
        """What this machine does, to begin a detail with."""
        return "connect to %s" % self._endpoint

    def _bad(self, reason: Reason, finding: str) -> None:
        self.outcome = Outcome("bad", reason, ("%s: %s" % (self._say(), finding))[:LONGEST_DETAIL])

    def _begin(self, now: float) -> None:
        if not self._addresses:
            self._addresses = lookup.at_once(self._endpoint.host, now)
        if self._addresses:
            self._dial(now)
            return
        try:
            self._waiter = lookup.ask(self._endpoint.host, now)
        except OSError as error:
            self.outcome = outcome_of(error.errno or errno.EMFILE, "%s: looking the name up" % self._say())
            return
        self.fd, self.events = self._waiter.fd, READ

    def _looked_up(self, now: float) -> None:
        waiter = self._waiter
        answer = waiter.answer if waiter is not None else None
        if waiter is None or answer is None:
            return
        if not answer.addresses:
            self.outcome = self._no_name("the name %s was not found: %s" % (self._endpoint.host, answer.problem))
            return
        self._addresses = answer.addresses
        self._dial(now)

    def _no_name(self, finding: str, reason: Reason = Reason.NAME_LOOKUP_FAILED) -> Outcome:
        return Outcome("unknown", reason, ("%s: %s" % (self._say(), finding))[:LONGEST_DETAIL])

    def _dial(self, now: float) -> None:
        """Try the next address, and those after it that refuse at once."""
        if self._spent is not None:
            self._spent.close()
        self._spent, self.sock = self.sock, None
        while self.outcome is None:
            address = self._addresses[self._next]
            self._next += 1
            try:
                sock = socket.SocketType(address.family, _STREAM)
            except OSError as error:
                self._refused(error.errno or 0)
                continue
            self.sock = sock
            if self._next < len(self._addresses):
                sock.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, NEXT_ADDRESS_MS)
            error_number = sock.connect_ex(address.at(self._endpoint.port))
            if error_number in _UNDER_WAY:
                self.fd = sock.fileno()
                self.events = WRITE
                self._step = Connecting._settled
                self._connected(now)
                return
            self._refused(error_number)
            if self.outcome is None:
                sock.close()

    def _settled(self, now: float) -> None:
        error_number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error_number:
            self._failed(error_number, now)
        else:
            self._connected(now)

    def _failed(self, error_number: int, now: float) -> None:
        """The connection could not be made."""
        self._refused(error_number)
        if self.outcome is None:
            self._dial(now)

    def _refused(self, error_number: int) -> None:
        """Note why an address failed; the last one's reason is the outcome's, and all are told."""
        where = show_address(self._addresses[self._next - 1].host, self._endpoint.port)
        outcome = outcome_of(error_number, "%s: connecting to %s" % (self._say(), where))
        if outcome.status == "unknown" or self._next >= len(self._addresses):
            if self._failures:
                told = "; ".join([outcome.detail] + self._failures)
                outcome = Outcome(outcome.status, outcome.reason, told[:LONGEST_DETAIL])
            self.outcome = outcome
        else:
            self._failures = (self._failures or []) + ["%s before: %s" % (where, os.strerror(error_number))]

    def _expired(self, now: float, finding: str) -> None:
        """The deadline has passed before or while `finding`."""
        waiter = self._waiter
        seconds = "within %.3g s" % (now - self.began)
        if waiter is not None and not self._addresses:
            if waiter.queued:
                self.outcome = self._no_name(
                    "the name was not even asked for %s: all %d workers are stuck with other names" % (seconds, lookup.WORKERS),
                    Reason.TOO_MANY_STUCK,
                )
            else:
                self.outcome = self._no_name("the resolver gave no answer for %s %s" % (self._endpoint.host, seconds))
        else:
            self._bad(Reason.TIMEOUT, "%s %s" % (finding, seconds))


__all__ = ["Connecting", "Endpoint", "NEXT_ADDRESS_MS", "outcome_of", "show_address"]
