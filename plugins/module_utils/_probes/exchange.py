# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carrying a request there and bytes back, plain or over TLS, without blocking. `http.py` reads what the bytes say.

On this host a connection is complete when `connect` returns, so sending is tried at once: most probes register their socket once.
"""

from __future__ import annotations

import abc
import errno
from typing import Any, Optional

from .._core.reasons import Reason
from .._core.target import HttpTarget
from .._host import Outcome
from .connect import Connecting, outcome_of
from .engine import READ, WRITE
from .http_request import Request

_RECEIVE = 16384


class Exchange(Connecting):
    """A connection that sends `_request` and gives every piece that comes back to `_take`; an empty piece is the end.

    The socket may be replaced by `_take` (a redirect). `_progress` and `_line` word what went wrong.
    """

    __slots__ = ("_target", "_request", "_tls", "_rest", "_expires")

    def __init__(self, target: HttpTarget, request: Request, now: float) -> None:
        Connecting.__init__(self, request.endpoint, now)
        self._target = target
        self._request = request
        self._expires: Any = None  # notAfter of the peer's certificate
        self._tls: Any = None  # the ssl module, once the handshake is done
        self._rest: Optional[memoryview] = None

    @abc.abstractmethod
    def _take(self, data: bytes, now: float) -> None:
        """What came back; empty at the end."""

    def _progress(self) -> str:
        """How far it came, for failures that can strike anywhere."""
        if self._step in (Exchange._read, Exchange._read_tls):
            return "connected and asked, but no answer came"
        if self._step is Exchange._handshake:
            return "the TLS handshake did not end"
        if self._step is Exchange._send:
            return "the request could not be sent completely"
        return "no connection was made"

    @abc.abstractmethod
    def _line(self, finding: str) -> str:
        """A finding in words that name what was asked."""

    def _again(self, following: Request, now: float) -> None:
        """Send another request, on a new connection to the addresses that are known already."""
        self._request = following
        self._endpoint = following.endpoint
        self._next = 0
        self._failures = None
        self._tls = self._rest = None
        self._dial(now)

    def expire(self, now: float) -> None:
        self._expired(now, self._progress())

    def _connected(self, now: float) -> None:
        if self._request.scheme == "https":
            self._begin_tls(now)
        else:
            self._send(now)

    def _begin_tls(self, now: float) -> None:
        import socket
        import ssl

        from . import tls

        try:
            self.sock.getpeername()
        except OSError:
            return  # still under way, or failed: the next event tells
        target = self._target
        try:
            context = tls.context(target.tls_verify, target.tls_ca)
        except (OSError, ssl.SSLError) as error:
            reason = Reason.NO_PERMISSION if isinstance(error, PermissionError) else Reason.TLS_FAILED
            self.outcome = Outcome("unknown", reason, self._line("the CA file %s cannot be used: %s" % (target.tls_ca, error)))
            return
        try:
            whole = socket.socket(fileno=self.sock.detach())
            whole.setblocking(False)  # the descriptor is, but this object must know it
            self.sock = whole
            self.sock = context.wrap_socket(whole, do_handshake_on_connect=False, server_hostname=self._request.server_name)
        except (OSError, ValueError) as error:
            self._bad(Reason.TLS_FAILED, "TLS could not begin: %s" % error)
            return
        self._step = Exchange._handshake
        self._handshake(now)

    def _handshake(self, now: float) -> None:
        import ssl

        from . import tls

        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            self.events = READ
            return
        except ssl.SSLWantWriteError:
            self.events = WRITE
            return
        except ssl.SSLError as error:
            why = getattr(error, "verify_message", None) or error.reason or str(error)
            self._bad(Reason.TLS_FAILED, "the TLS handshake failed: %s" % why)
            return
        except OSError as error:
            self._bad(Reason.TLS_FAILED, "the connection broke in the TLS handshake: %s" % (error.strerror or "closed by the peer"))
            return
        self._tls = ssl
        self._expires = tls.expiry(self.sock.getpeercert(True))
        self._send(now)

    def _send(self, now: float) -> None:
        rest = self._rest
        try:
            while True:
                if rest is None:
                    sent = self.sock.send(self._request.wire)
                    if sent == len(self._request.wire):
                        break
                    rest = memoryview(self._request.wire)[sent:]
                else:
                    rest = rest[self.sock.send(rest) :]
                    if not rest:
                        break
        except BlockingIOError:
            self._wait_to_send(rest, WRITE)
            return
        except OSError as error:
            if self._tls is not None and isinstance(error, (self._tls.SSLWantReadError, self._tls.SSLWantWriteError)):
                self._wait_to_send(rest, READ if isinstance(error, self._tls.SSLWantReadError) else WRITE)
            elif rest is None and self._tls is None:
                self._not_sent(error.errno or 0, now)
            else:
                # What it answered before it stopped listening is in the receive buffer.
                self._await()
            return
        self._rest = None
        self._await()
        if self._tls is not None:
            self._read_tls(now)

    def _not_sent(self, error_number: int, now: float) -> None:
        if error_number in (errno.ENOTCONN, errno.EAGAIN):
            self.events = WRITE
        elif error_number in (errno.EPIPE, errno.ECONNRESET):
            self._await()  # the peer closed without listening: reading tells how
        else:
            self._failed(error_number, now)

    def _wait_to_send(self, rest: Optional[memoryview], events: int) -> None:
        self._rest = rest
        self.events = events
        if rest is not None or self._tls is not None:
            self._step = Exchange._send

    def _await(self) -> None:
        self.events = READ
        self._step = Exchange._read if self._tls is None else Exchange._read_tls

    def _read(self, now: float) -> None:
        try:
            data = self.sock.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError as error:
            self._broken(error)
            return
        self._take(data, now)

    def _read_tls(self, now: float) -> None:
        """What was decrypted at once is not reported by the socket again: read until it would block."""
        step = self._step
        while self.outcome is None and self._step is step:
            try:
                data = self.sock.recv(_RECEIVE)
            except self._tls.SSLWantReadError:
                self.events = READ
                return
            except self._tls.SSLWantWriteError:
                self.events = WRITE
                return
            except self._tls.SSLError as error:
                self._bad(Reason.TLS_FAILED, "TLS broke: %s" % (error.reason or error))
                return
            except OSError as error:
                self._broken(error)
                return
            sock = self.sock
            self._take(data, now)
            if self.sock is not sock:
                return  # a redirect has made a new connection

    def _broken(self, error: OSError) -> None:
        self.outcome = outcome_of(error.errno or 0, self._line(self._progress()))


__all__ = ["Exchange"]
