# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small read-only HTTP/1.1 server on the loop that probes: no thread, no waiting, everything bounded.

A connection is a step like any other, with one hard deadline for all it does. One request a connection, then it is closed. When too
many are open the oldest that has its answer, or has not yet asked anything, makes room: clients that never finish shut nobody out.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple
from urllib.parse import unquote_to_bytes

from .._core.errors import SelfhealError
from .._host import Handle, Machine, Outcome, Step
from .._probes.engine import READ, WRITE, LocalHost

MOST_REQUEST = 8192
MOST_CONNECTIONS = 64
DEADLINE = 5.0
"""Seconds for all of a connection: request, answer and goodbye."""
_ACCEPT_AT_ONCE = 16
_MOST_DRAINED = 65536

PHRASES = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


class Request(NamedTuple):
    """`path` is decoded and begins with a slash; `query` holds the last value of each key; header names are in lower case.

    host: whom the client wanted to ask, as it wrote it, without a port; None where it did not say (HTTP/1.0).
    """

    method: str
    path: str
    query: Dict[str, str]
    headers: Dict[str, str]
    host: Optional[str] = None


class Response(NamedTuple):
    status: int
    body: bytes
    type: str = "application/json; charset=utf-8"
    headers: Tuple[Tuple[str, str], ...] = ()
    allows: str = ""
    """What a browser may use besides the page itself, as directives of a Content-Security-Policy."""


class Refused(Exception):
    """A request that is answered with an error before anybody looks at what it asks for."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class PortTaken(SelfhealError):
    """The address cannot be listened on; says which, why and what to do."""


def plain(status: int, text: str, headers: Tuple[Tuple[str, str], ...] = ()) -> Response:
    return Response(status, (text + "\n").encode("utf-8", "backslashreplace"), "text/plain; charset=utf-8", headers)


def parse(head: bytes) -> Request:
    """A request from the bytes before its empty line. Raises Refused."""
    lines = head.replace(b"\r\n", b"\n").split(b"\n")
    words = lines[0].split(b" ")
    if len(words) != 3 or not words[0].isalpha() or not words[2].startswith(b"HTTP/"):
        raise Refused(400, "the first line is no HTTP request")
    if words[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise Refused(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    headers: Dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise Refused(400, "a header line is malformed")
        known = name.decode("latin-1").lower()
        if known == "host" and known in headers:
            raise Refused(400, "there must be one Host header")
        headers[known] = value.strip().decode("latin-1")
    if words[0] not in (b"GET", b"HEAD"):
        raise Refused(405, "this is read-only: GET and HEAD; change things with the selfheal command")
    target, asked = words[1], headers.get("host")
    if target[:7].lower() == b"http://":
        authority, _slash, rest = target[7:].partition(b"/")
        target, asked = b"/" + rest, authority.decode("latin-1")
    if not target.startswith(b"/"):
        raise Refused(400, "the request target must begin with a slash")
    path, _mark, query = target.partition(b"#")[0].partition(b"?")
    return Request(words[0].decode("ascii"), _text(path), _query(query), headers, None if asked is None else _hostname(asked))


def _hostname(authority: str) -> str:
    """``[::1]:9877`` → ``::1``, ``LOCALHOST.:80`` → ``localhost``."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.partition(":")[0].rstrip(".").lower()


def _query(raw: bytes) -> Dict[str, str]:
    pairs = [part.partition(b"=") for part in raw.split(b"&") if part]
    return {_text(key.replace(b"+", b" ")): _text(value.replace(b"+", b" ")) for key, _mark, value in pairs}


def _text(raw: bytes) -> str:
    return unquote_to_bytes(raw).decode("utf-8", "replace")


def render(response: Response, body: bool) -> bytes:
    """The bytes of an answer; without the body itself for HEAD."""
    head = [
        "HTTP/1.1 %d %s" % (response.status, PHRASES[response.status]),
        "Content-Type: %s" % response.type,
        "Content-Length: %d" % len(response.body),
        "Connection: close",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "X-Frame-Options: DENY",
        "Referrer-Policy: no-referrer",
        "Cross-Origin-Resource-Policy: same-origin",
        "Content-Security-Policy: default-src 'none'; %sframe-ancestors 'none'; base-uri 'none'; form-action 'none'" % response.allows,
    ]
    head += ["%s: %s" % pair for pair in response.headers]
    return ("\r\n".join(head) + "\r\n\r\n").encode("ascii") + (response.body if body else b"")


class Connection(Machine):
    """One client: read a request, write the answer, say goodbye."""

    def __init__(self, client: socket.socket, answer: Callable[[Request], Response]) -> None:
        self.fd = client.fileno()
        self.events = READ
        self.answered = False
        self._client = client
        self._answer = answer
        self._read = b""
        self._left = memoryview(b"")
        self._drained = 0

    @property
    def loss(self) -> int:
        """What is lost by closing it now: 0 nothing, it has its answer; 1 it has not asked yet; 2 half an answer."""
        if self._left:
            return 2
        return 0 if self.answered else 1

    def advance(self, now: float) -> None:
        try:
            if self.events == WRITE:
                self._send()
            elif self.answered:
                self._drain()
            else:
                self._receive()
        except (BlockingIOError, InterruptedError):
            return  # not ready after all: asked again when it is
        except OSError as error:
            self.outcome = Outcome("bad", detail="the client went away: %s" % error)

    def expire(self, now: float) -> None:
        self.outcome = Outcome("bad", detail="the client was too slow")

    def close(self) -> None:
        self._client.close()

    def _receive(self) -> None:
        data = self._client.recv(MOST_REQUEST)
        self._read += data
        end = _end(self._read)
        if end is not None:
            self._reply(self._read[:end])
        elif not data:
            self.outcome = Outcome("bad", detail="the client hung up before it had asked")
        elif len(self._read) >= MOST_REQUEST:
            self._write(plain(431, "a request may have at most %d bytes" % MOST_REQUEST), True)

    def _reply(self, head: bytes) -> None:
        body = not head.startswith(b"HEAD ")
        try:
            response = self._answer(parse(head))
        except Refused as refusal:
            allow = (("Allow", "GET, HEAD"),) if refusal.status == 405 else ()
            response = plain(refusal.status, str(refusal), allow)
        except Exception as error:  # a fault in one page must not cost the others, or a probe
            response = plain(500, "a fault of selfheal itself: %s: %s" % (type(error).__name__, error))
        self._write(response, body)

    def _write(self, response: Response, body: bool) -> None:
        self.answered = True
        self._read = b""
        self._left = memoryview(render(response, body))
        self.events = WRITE
        self._send()

    def _send(self) -> None:
        while self._left:
            self._left = self._left[self._client.send(self._left) :]
        # Closing with unread bytes resets the connection, and the answer may be lost with it: read on until the client has hung up.
        self._client.shutdown(socket.SHUT_WR)
        self.events = READ

    def _drain(self) -> None:
        data = self._client.recv(MOST_REQUEST)
        self._drained += len(data)
        if not data or self._drained > _MOST_DRAINED:
            self.outcome = Outcome("ok")


def _end(data: bytes) -> Optional[int]:
    found = [at for at in (data.find(b"\r\n\r\n"), data.find(b"\n\n")) if at >= 0]
    return min(found) if found else None


class _Serve(Step):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, now: float) -> Machine:
        return self._connection


class _Rest(Step):
    """Nothing, until the deadline."""

    def begin(self, now: float) -> Machine:
        return _Resting()


class _Resting(Machine):
    def advance(self, now: float) -> None:
        return

    def expire(self, now: float) -> None:
        self.outcome = Outcome("ok")


class Server:
    """Listens on `address` and serves with `answer`, which must not wait. It is the owner of its own steps."""

    wake = 0.0

    def __init__(self, host: LocalHost, address: Tuple[str, int], answer: Callable[[Request], Response]) -> None:
        self._host = host
        self._answer = answer
        self._open: List[Tuple[Handle, Connection]] = []
        self._resting: Optional[Handle] = None
        self._listener = _listen(address)
        self._host.register(self._listener.fileno(), READ, self._accept)

    @property
    def healer(self) -> Server:
        return self

    @property
    def address(self) -> Tuple[str, int]:
        """Where it really listens."""
        name = self._listener.getsockname()
        return name[0], name[1]

    def ended(self, handle: Handle) -> None:
        """A connection is over, or it is time to accept again."""
        if handle is self._resting:
            self._resting = None
            self._host.register(self._listener.fileno(), READ, self._accept)
            return
        self._open = [pair for pair in self._open if pair[0] is not handle]

    def close(self) -> None:
        if self._resting is not None:
            self._host.cancel(self._resting)
        else:
            self._host.unregister(self._listener.fileno())
        for handle, _connection in self._open:
            self._host.cancel(handle)
        self._open.clear()
        self._listener.close()

    def _accept(self, _ready: int) -> None:
        for _each in range(_ACCEPT_AT_ONCE):
            try:
                client, _peer = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    # The queue stays full, so the loop would turn without end: look again in a second.
                    self._host.unregister(self._listener.fileno())
                    self._resting = self._host.start(_Rest(), self._host.monotonic() + 1.0, self)
                    return
                raise
            client.setblocking(False)
            self._make_room()
            connection = Connection(client, self._answer)
            handle = self._host.start(_Serve(connection), self._host.monotonic() + DEADLINE, self)
            self._open.append((handle, connection))

    def _make_room(self) -> None:
        if len(self._open) < MOST_CONNECTIONS:
            return
        # Whoever has the whole answer misses least, then whoever has waited longest without asking.
        victim = min(self._open, key=lambda pair: pair[1].loss)
        self._host.cancel(victim[0])
        self._open.remove(victim)


def _listen(address: Tuple[str, int]) -> socket.socket:
    host, port = address
    where = "[%s]:%d" % (host, port) if ":" in host else "%s:%d" % (host, port)
    try:
        family, _kind, _protocol, _name, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise PortTaken("listening on %s: %s; correct listen in watchdog.json" % (where, error)) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(found)
        listener.listen(128)
    except OSError as error:
        listener.close()
        why = os.strerror(error.errno) if error.errno else str(error)
        hint = "correct listen in watchdog.json"
        if error.errno == errno.EADDRINUSE:
            hint = "another program has port %d; stop it, or give another listen in watchdog.json" % port
        raise PortTaken("listening on %s: %s; %s" % (where, why, hint)) from error
    return listener


__all__ = [
    "Connection",
    "DEADLINE",
    "MOST_CONNECTIONS",
    "MOST_REQUEST",
    "PHRASES",
    "PortTaken",
    "Refused",
    "Request",
    "Response",
    "Server",
    "parse",
    "plain",
    "render",
]
