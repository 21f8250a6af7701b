# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probe kind ``http``: one GET (or another request) over HTTP/1.1 or TLS, as a state machine under one total deadline.

connect → (TLS handshake) → send → headers → body → verdict, and again from the top for a redirect on the same host. The body is
read to its end or to the limit even if nothing is asserted about it: a service that stalls in the middle of its answer
does not work, and one whose answer is read leaves no broken pipe in its log. What is wrong already ends the probe at once.
"""

from __future__ import annotations

import time
from typing import Dict, Optional

from .._core.reasons import Reason
from .._core.redact import redact_text
from .._core.target import HttpTarget
from .._host import Machine, Outcome, Step
from .engine import LONGEST_DETAIL
from .exchange import Exchange
from .http_answer import CHUNKED, UNTIL_CLOSE, Bad, Buffer, Chunks, Head, check_start, head_end, parse_head, printable
from .http_body import BodyCheck
from .http_request import HARMLESS, SHORTEST_SECRET, Request, first_request

_LONGEST_SNIPPET = 100
_REDIRECTS = (301, 302, 303, 307, 308)


class HttpProbe(Step):
    """One target, ready to be asked any number of times. Raises ValueError or re.error for what the contract's parser refuses."""

    __slots__ = ("target", "request", "check", "secrets", "_fine")

    def __init__(self, target: HttpTarget) -> None:
        self.target = target
        self.request = first_request(target)
        self.check = BodyCheck(target)
        self.secrets = tuple(value for name, value in target.headers if len(value) >= SHORTEST_SECRET and name.lower() not in HARMLESS)
        self._fine: Dict[int, Outcome] = {}
        if self.request.scheme == "https":
            self._prepare_tls()

    def _prepare_tls(self) -> None:
        """Load TLS and the CAs now: it takes 50 ms, which would be missing while other probes' deadlines run."""
        import ssl

        from . import tls

        try:
            tls.context(self.target.tls_verify, self.target.tls_ca)
        except (OSError, ssl.SSLError):
            return  # each probe tries again and tells

    def begin(self, now: float) -> Machine:
        machine = _HttpMachine(self, now)
        machine._begin(now)
        return machine

    def accepts(self, status: int) -> bool:
        for first, last in self.target.status:
            if first <= status <= last:
                return True
        return False

    def fine(self, status: int) -> Outcome:
        """The outcome of an accepted answer, made once for each status."""
        found = self._fine.get(status)
        if found is None:
            found = self._fine[status] = Outcome("ok", None, "HTTP %d" % status, {"http_status": status})
        return found

    def veil(self, text: str) -> str:
        """`text` without the values of the target's own headers: a server may echo them."""
        for value in self.secrets:
            text = text.replace(value, "***")
            for length in range(min(len(value) - 1, _LONGEST_SNIPPET), 3, -1):  # one that a snippet cuts off
                text = text.replace(value[:length] + '"…', '***"…')
        return text


class _HttpMachine(Exchange):
    __slots__ = ("_probe", "_data", "_head", "_chunks", "_hops", "_scanned", "_interim")

    def __init__(self, probe: HttpProbe, now: float) -> None:
        Exchange.__init__(self, probe.target, probe.request, now)
        self._probe = probe
        self._hops = 0
        self._reset()

    def _reset(self) -> None:
        self._data: Buffer = b""
        self._head: Optional[Head] = None
        self._chunks: Optional[Chunks] = None
        self._scanned = 0
        self._interim = 0

    def _take(self, data: bytes, now: float) -> None:
        try:
            if self._head is not None:
                self._body(data, now)
            elif not data:
                self._ended_early()
            else:
                self._headers(data, now)
        except Bad as bad:
            self._bad(bad.reason, bad.finding)

    def _ended_early(self) -> None:
        if not self._data:
            self._bad(Reason.EMPTY_REPLY, "the peer closed the connection without a byte")
        elif b"\n" not in self._data:
            self._bad(Reason.BAD_STATUS_LINE, "the peer closed the connection in the status line %s" % printable(self._data))
        else:
            self._bad(Reason.BAD_HEADER, "the peer closed the connection in the headers, after %s" % printable(self._data))

    def _headers(self, data: bytes, now: float) -> None:
        buffer = self._data
        if buffer:
            if isinstance(buffer, bytes):
                buffer = bytearray(buffer)
            buffer += data
            self._data = buffer
        else:
            buffer = self._data = data
        while True:
            end = head_end(buffer, self._scanned)
            if end < 0:
                self._scanned = len(buffer)
                check_start(buffer)
                return
            head = parse_head(buffer, end, self._request.method)
            if not 100 <= head.status < 200 or head.status == 101:
                break
            # An interim answer (100, 102, 103): the real one follows, and all of them share one limit.
            self._interim += end
            if self._interim > 65536:
                raise Bad(Reason.HEADER_TOO_LARGE, "interim answers without an end: more than %d bytes" % 65536)
            buffer = self._data = buffer[end:]
            self._scanned = 0
            if not buffer:
                return
        self._head = head
        if not self._probe.accepts(head.status):
            self._refuse_status(head, buffer, now)
            return
        self._data = b""
        if head.length == CHUNKED:
            self._chunks = Chunks()
        self._body(buffer[end:] if end < len(buffer) else None, now)

    def _body(self, data: Optional[Buffer], now: float) -> None:
        """More of the body; empty at its end, None while nothing has come yet."""
        head, chunks = self._head, self._chunks
        if head is None:
            return
        limit = self._probe.target.body_limit
        if chunks is not None:
            if data:
                chunks.feed(data, limit)
            body: Buffer = chunks.body
            complete = chunks.done
        else:
            if data:
                self._data = self._joined(data)
            body = self._data
            complete = head.length != UNTIL_CLOSE and len(body) >= head.length
        if complete or len(body) > limit or (head.length > limit and len(body) >= limit):
            size = head.length if head.length >= 0 else len(body)
            self._verdict(head.status, body[: min(size, limit)], size > limit)
        elif data is not None and not data:
            if head.length != UNTIL_CLOSE:
                wanted = "the last chunk" if chunks is not None else "all %d bytes of body" % head.length
                raise Bad(Reason.BAD_BODY, "HTTP %d, but the connection was closed before %s: %d came" % (head.status, wanted, len(body)))
            self._verdict(head.status, body, False)

    def _joined(self, data: Buffer) -> Buffer:
        if not self._data:
            return data
        whole = self._data if isinstance(self._data, bytearray) else bytearray(self._data)
        whole += data
        return whole

    # Verdicts.

    def _verdict(self, status: int, body: Buffer, cut: bool) -> None:
        probe = self._probe
        if probe.check.needed:
            judged = probe.check.judge(body, cut)
            if judged.status != "ok":
                finding = self._line("HTTP %d, but %s" % (status, judged.finding))
                self.outcome = self._seen(Outcome(judged.status, judged.reason, finding, {"http_status": status}))
                return
        self.outcome = self._seen(probe.fine(status))

    def _refuse_status(self, head: Head, buffer: Buffer, now: float) -> None:
        """A status that does not count as healthy: follow it if it is a redirect on this host."""
        finding = "expected HTTP %s, got %s" % (
            ", ".join("%d" % first if first == last else "%d-%d" % (first, last) for first, last in self._probe.target.status),
            printable(buffer[: buffer.find(b"\n")].strip() if b"\n" in buffer else buffer)[1:-1],
        )
        if head.location is not None and head.status in _REDIRECTS and self._probe.target.redirects > 0:
            following, shown = self._request.after(head.status, head.location)
            if following is not None:
                if self._hops < self._probe.target.redirects:
                    self._follow(following, now)
                else:
                    self._bad(Reason.TOO_MANY_REDIRECTS, "more than %d redirects; the last leads to %s" % (self._hops, shown))
                return
            finding += ", a redirect to %s, which is not followed as it is not on this host" % shown
        elif head.location is not None:
            finding += ", a redirect to %s" % self._request.after(head.status, head.location)[1]
        if len(buffer) > head.end:
            finding += " with %s" % printable(buffer[head.end : head.end + 101], 100)
        self.outcome = self._seen(Outcome("bad", Reason.BAD_STATUS, self._line(finding), {"http_status": head.status}))

    def _follow(self, following: Request, now: float) -> None:
        self._hops += 1
        self._reset()
        self._again(following, now)

    def _seen(self, outcome: Outcome) -> Outcome:
        """The outcome with what TLS told: when the certificate expires."""
        if self._expires is None:
            return outcome
        days = (self._expires.timestamp() - time.time()) / 86400
        words = "expires in %d days" % days if days >= 0 else "expired %d days ago" % -days
        detail = "%s; the certificate %s (%s)" % (outcome.detail[: LONGEST_DETAIL - 80], words, self._expires.strftime("%Y-%m-%d"))
        data = dict(outcome.data, certificate_expires=self._expires.strftime("%Y-%m-%dT%H:%M:%SZ"))
        return Outcome(outcome.status, outcome.reason, detail, data)

    def _say(self) -> str:
        request = self._request
        if self._hops == 0:
            return request.shown
        return "%s (after %d redirect%s from %s)" % (request.shown, self._hops, "" if self._hops == 1 else "s", self._probe.request.shown)

    def _line(self, finding: str) -> str:
        line = self._probe.veil(redact_text("%s: %s" % (self._say(), finding)))
        return (line if line.isprintable() else ascii(line)[1:-1])[:LONGEST_DETAIL]

    def _bad(self, reason: Reason, finding: str) -> None:
        self.outcome = Outcome("bad", reason, self._line(finding))

    def _progress(self) -> str:
        """How far it came, for the failures that can strike anywhere."""
        head = self._head
        if head is not None:
            got = len(self._data) if self._chunks is None else len(self._chunks.body)
            wanted = "" if head.length < 0 else " of %d" % head.length
            return "HTTP %d, but the body did not end: %d%s bytes came" % (head.status, got, wanted)
        if self._data:
            return "the headers did not end: %d bytes came, from %s" % (len(self._data), printable(self._data, 40))
        return Exchange._progress(self)


__all__ = ["HttpProbe"]
