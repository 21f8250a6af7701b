# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking a container engine (Docker, or Podman by the same interface): requests as steps, each under one total deadline, and its events.

The machines of the HTTP probes carry the bytes, so an engine that hangs, drips or never ends costs its caller the deadline and nothing
else. Why not the Docker SDK: docs/decisions/0018. Source of the interface: Docker Engine API v1.40 and later, asked without a version.
"""

from __future__ import annotations

import abc
import errno
import json
import os
import re
import socket
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union
from urllib.parse import quote, urlencode

from .._core.errors import SelfhealError
from .._core.reasons import Reason
from .._core.target import HttpTarget
from .._host import Machine, Outcome, Step
from .._probes.connect import Connecting, Endpoint, outcome_of
from .._probes.engine import LONGEST_DETAIL, READ
from .._probes.exchange import Exchange
from .._probes.http_answer import CHUNKED, UNTIL_CLOSE, Bad, Buffer, Chunks, Head, check_start, head_end, parse_head, printable

SOCKETS = ("/var/run/docker.sock", "/run/podman/podman.sock")
"""Where an engine listens when nobody says otherwise: the first that is there, else the first."""
ANSWER_LIMIT = 32 * 1024 * 1024
_LINE_LIMIT = 1024 * 1024
_NOT_USED = HttpTarget("http://engine/")
_LIBPOD = re.compile(rb"\r\nlibpod-api-version: *([0-9.]+)", re.IGNORECASE)
_PROXYS = (502, 503, 504)
"""What a proxy says whose engine is down or hangs."""


class BadAddress(SelfhealError):
    """What is given as the address of an engine is none that can be spoken to."""


class _Socket(NamedTuple):
    """A Unix socket in the place of an `Endpoint`."""

    host: str
    port: int = 0
    literal: Tuple[Any, ...] = ()

    def __str__(self) -> str:
        return self.host


Place = Union[_Socket, Endpoint]


def address_of(environment: Mapping[str, str], sockets: Tuple[str, ...] = SOCKETS) -> str:
    """Where the engine of this host is: what ``DOCKER_HOST`` says, else the first socket that is there."""
    given = environment.get("DOCKER_HOST", "")
    return given or "unix://" + next((path for path in sockets if os.path.exists(path)), sockets[0])


def place_of(address: str) -> Place:
    """The place behind ``unix:///path`` or ``tcp://host:port``. Raises BadAddress."""
    scheme, mark, rest = address.partition("://")
    if scheme == "unix" and rest.startswith("/"):
        return _Socket(rest)
    host, _colon, port = rest.rstrip("/").rpartition(":")
    if mark and scheme in ("tcp", "http") and host and port.isdigit() and 0 < int(port) < 65536:
        return Endpoint(host.strip("[]"), int(port))
    raise BadAddress(
        "%r is no address of a container engine that is spoken to here: expected unix:///path/to/socket, or tcp://HOST:PORT of a filtering "
        "proxy; for an engine behind TLS or SSH run the task on its own host" % address
    )


class _Request(NamedTuple):
    """What `Exchange` needs to know of a request."""

    endpoint: Place
    wire: bytes
    method: str
    shown: str
    scheme: str = "http"


@dataclass(frozen=True)
class Call(Step):
    """One request. ok: the engine did it; data ``status`` and ``body`` (JSON, None where there is none). 304 is ok: it was so already.

    bad: it refused; data ``status``, and its own words in `detail`. unknown: it could not be asked or gave no whole answer
    (engine_down, no_permission), also at the deadline: what was asked for may happen all the same.
    """

    place: Place
    method: str
    path: str
    query: Tuple[Tuple[str, str], ...] = ()
    body: Optional[Mapping[str, Any]] = None

    @property
    def shown(self) -> str:
        return "%s %s" % (self.method, self.path)

    def begin(self, now: float) -> Machine:
        machine = _Asking(request_of(self), now)
        machine.start(now)
        return machine


def request_of(call: Call) -> _Request:
    """The bytes of a call."""
    query = "?" + urlencode(call.query) if call.query else ""
    body = b"" if call.body is None else json.dumps(call.body).encode("ascii")
    lines = ["%s %s%s HTTP/1.1" % (call.method, quote(call.path, safe="/:@"), query), "Host: engine", "User-Agent: faultline-selfheal"]
    if body:
        lines.append("Content-Type: application/json")
    if body or call.method in ("POST", "PUT"):
        lines.append("Content-Length: %d" % len(body))
    lines.append("Connection: close")
    return _Request(call.place, "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body, call.method, call.shown)


class _Speaking(Exchange):
    """An exchange with an engine, by its socket or over TCP."""

    def __init__(self, request: _Request, now: float) -> None:
        Exchange.__init__(self, _NOT_USED, request, now)  # type: ignore[arg-type]
        self._place = request.endpoint
        self._data: Buffer = b""
        self._scanned = 0
        self._podman = ""

    def start(self, now: float) -> None:
        if isinstance(self._place, _Socket):
            self._dial(now)
        else:
            self._begin(now)

    def _dial(self, now: float) -> None:
        if not isinstance(self._place, _Socket):
            Connecting._dial(self, now)
            return
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            self.sock.connect(self._place.host)
        except OSError as error:
            # EAGAIN: its queue of connections is full, since it does not take any; a Unix socket has no connection under way.
            self._refuse(error.errno or 0)
            return
        self.fd = self.sock.fileno()
        self._step = Connecting._settled
        self._connected(now)

    def _refuse(self, number: int) -> None:
        said = "it takes no connections any more" if number == errno.EAGAIN else os.strerror(number)
        reason = Reason.NO_PERMISSION if number in (errno.EACCES, errno.EPERM) else Reason.ENGINE_DOWN
        self.outcome = Outcome("unknown", reason, self._line("no connection: %s" % said))

    def _refused(self, error_number: int) -> None:
        if isinstance(self._place, _Socket):
            self._refuse(error_number)
            return
        Connecting._refused(self, error_number)
        if self.outcome is not None and self.outcome.status == "bad":
            self.outcome = Outcome("unknown", Reason.ENGINE_DOWN, self.outcome.detail)

    def _failed(self, error_number: int, now: float) -> None:
        if isinstance(self._place, _Socket):
            self._refuse(error_number)
        else:
            Connecting._failed(self, error_number, now)

    def expire(self, now: float) -> None:
        self._lost("%s within %.3g s" % (self._progress(), now - self.began))

    def _broken(self, error: OSError) -> None:
        self._lost(outcome_of(error.errno or 0, self._progress()).detail)

    def _bad(self, reason: Reason, finding: str) -> None:
        self._lost(finding)

    def _lost(self, finding: str) -> None:
        self.outcome = Outcome("unknown", Reason.ENGINE_DOWN, self._line(finding))

    def _say(self) -> str:
        return "%s at %s" % (self._request.shown, self._place)

    def _line(self, finding: str) -> str:
        line = "%s: %s" % (self._say(), finding)
        return (line if line.isprintable() else ascii(line)[1:-1])[:LONGEST_DETAIL]

    def _take(self, data: bytes, now: float) -> None:
        try:
            self._piece(data)
        except Bad as bad:
            self._lost(bad.finding)

    @abc.abstractmethod
    def _piece(self, data: bytes) -> None:
        """What came back; empty at the end. Raises Bad."""

    def _head_of(self, data: bytes) -> Optional[Tuple[Head, Buffer]]:
        """The head once it is whole, and what came after it. Raises Bad."""
        if not data:
            raise Bad(Reason.EMPTY_REPLY, "it closed the connection before an answer")
        buffer = self._data = bytes(self._data) + data
        end = head_end(buffer, self._scanned)
        if end < 0:
            self._scanned = len(buffer)
            check_start(buffer)
            return None
        found = _LIBPOD.search(buffer[:end])
        self._podman = found.group(1).decode() if found is not None else ""
        return parse_head(buffer, end, self._request.method), buffer[end:]


class _Asking(_Speaking):
    """A call under way."""

    def __init__(self, request: _Request, now: float) -> None:
        _Speaking.__init__(self, request, now)
        self._head: Optional[Head] = None
        self._chunks: Optional[Chunks] = None
        self._body = bytearray()

    def _piece(self, data: bytes) -> None:
        rest: Buffer = data
        if self._head is None:
            found = self._head_of(data)
            if found is None:
                return
            self._head, rest = found
            self._chunks = Chunks() if self._head.length == CHUNKED else None
            ended = False
        else:
            ended = not data
        head, chunks = self._head, self._chunks
        if chunks is not None:
            chunks.feed(rest, ANSWER_LIMIT)
            body, whole = chunks.body, chunks.done
        else:
            self._body += rest
            body, whole = self._body, head.length != UNTIL_CLOSE and len(self._body) >= head.length
        if len(body) > ANSWER_LIMIT:
            raise Bad(Reason.BODY_TOO_LARGE, "its answer is longer than %d bytes" % ANSWER_LIMIT)
        if ended and not whole and head.length != UNTIL_CLOSE:
            raise Bad(Reason.BAD_BODY, "it closed the connection in the middle of its answer")
        if whole or ended:
            self.outcome = answered(self._say(), head.status, bytes(body), self._podman)


def answered(said: str, status: int, body: bytes, podman: str = "") -> Outcome:
    """What an engine's whole answer amounts to; data ``podman``, its version, where it says that it is Podman."""
    try:
        told = json.loads(body) if body.strip() else None
    except ValueError:
        told = None if status >= 400 else body.decode("utf-8", "replace")
    if status < 300 or status == 304:
        return Outcome("ok", None, "", {"status": status, "body": told, **({"podman": podman} if podman else {})})
    words = told.get("message") or told.get("cause") if isinstance(told, dict) else None
    detail = "%s: %s (HTTP %d)" % (said, str(words) if words else printable(body, 200), status)
    detail = " ".join(detail.split())[:LONGEST_DETAIL]
    if status == 403:
        return Outcome("unknown", Reason.NO_PERMISSION, "%s; a proxy in front of the engine forbids it" % detail, {"status": status})
    if status in _PROXYS:
        return Outcome("unknown", Reason.ENGINE_DOWN, detail)
    return Outcome("bad", Reason.NO_SUCH_CONTAINER if status == 404 else Reason.ACTION_FAILED, detail, {"status": status})


# -- events


@dataclass(frozen=True)
class OpenStream(Step):
    """Begin to hear the engine's events. ok: data ``stream``, an `EventStream` that the caller closes. Otherwise as `Call`."""

    place: Place
    query: Tuple[Tuple[str, str], ...] = ()

    def begin(self, now: float) -> Machine:
        machine = _Opening(request_of(Call(self.place, "GET", "/events", self.query)), now)
        machine.start(now)
        return machine


class _Opening(_Speaking):
    def _piece(self, data: bytes) -> None:
        found = self._head_of(data)
        if found is None:
            return
        head, rest = found
        if head.status != 200:
            self.outcome = answered(self._say(), head.status, bytes(rest))
            return
        self.outcome = Outcome("ok", None, "", {"stream": EventStream(self.sock, head.length == CHUNKED, bytes(rest))})
        self.sock = None  # it is the stream's now


class EventStream:
    """A connection on which events come for as long as the engine lives."""

    def __init__(self, sock: Any, chunked: bool, rest: bytes) -> None:
        self._sock = sock
        self._chunks = Chunks() if chunked else None
        self._raw = bytearray()
        self._rest = rest

    def listen(self) -> Step:
        """A step that ends with the next events: ok, data ``events``; unknown when the stream is over. One at a time."""
        return _Listen(self)

    def fileno(self) -> int:
        return int(self._sock.fileno())

    def close(self) -> None:
        self._sock.close()

    def read(self) -> Optional[List[Dict[str, Any]]]:
        """What has come: events, or None at the end. Raises OSError, Bad, ValueError."""
        if self._rest:
            data, self._rest = self._rest, b""
        else:
            try:
                data = self._sock.recv(65536)
            except BlockingIOError:
                return []
            if not data:
                return None
        if self._chunks is None:
            self._raw += data
        else:
            self._chunks.feed(data, _LINE_LIMIT)
            self._raw += self._chunks.body
            self._chunks.body.clear()
            if self._chunks.done:
                return None
        return self._events()

    def _events(self) -> List[Dict[str, Any]]:
        end = self._raw.rfind(b"\n")
        if end < 0 and len(self._raw) > _LINE_LIMIT:
            raise ValueError("an event of more than %d bytes" % _LINE_LIMIT)
        lines = bytes(self._raw[: end + 1]).splitlines() if end >= 0 else []
        del self._raw[: end + 1]
        found = [json.loads(line) for line in lines if line.strip()]
        return [event for event in found if isinstance(event, dict)]


@dataclass(frozen=True)
class _Listen(Step):
    stream: EventStream

    def begin(self, now: float) -> Machine:
        return _Listening(self.stream)


class _Listening(Machine):
    events = READ

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        self.fd = stream.fileno()
        if stream._rest:
            self.advance(0.0)

    def advance(self, now: float) -> None:
        try:
            found = self._stream.read()
        except (OSError, ValueError, Bad) as error:
            self.outcome = Outcome("unknown", Reason.ENGINE_DOWN, ("the stream of events broke: %s" % error)[:LONGEST_DETAIL])
            return
        if found is None:
            self.outcome = Outcome("unknown", Reason.ENGINE_DOWN, "the engine ended its stream of events")
        elif found:
            self.outcome = Outcome("ok", None, "", {"events": found})

    def expire(self, now: float) -> None:
        self.outcome = Outcome("ok", None, "", {"events": []})


__all__ = ["ANSWER_LIMIT", "BadAddress", "Call", "EventStream", "OpenStream", "Place", "SOCKETS", "address_of", "answered", "place_of"]
