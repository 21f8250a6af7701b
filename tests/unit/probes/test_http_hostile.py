# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP probes against servers that are broken or hostile: the exact reason, and a deadline that holds (C14, C28).

The fixture `run` fails any probe that takes longer than its timeout plus 0.2 s.
"""

from __future__ import annotations

import pytest

from selfheal._core.reasons import Reason

OK = b"HTTP/1.1 200 OK\r\n"


def silence(peer):
    peer.request()
    peer.silence()


def deaf(peer):
    peer.silence()


def header_drip(peer):
    peer.request()
    peer.drip(OK + b"X-Slow: " + b"a" * 10000)


def status_drip(peer):
    peer.request()
    peer.drip(b"HTTP/1.1 200 " + b"O" * 10000)


def body_drip(peer):
    peer.request()
    peer.send(OK + b"Content-Length: 10000\r\n\r\n")
    peer.drip(b"x" * 10000)


def chunk_drip(peer):
    peer.request()
    peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    peer.drip(b"1\r\nx\r\n" * 1000)


def unframed_stall(peer):
    peer.request()
    peer.send(OK + b"\r\nsome")
    peer.silence()


def interim_drip(peer):
    peer.request()
    peer.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, every=0.001)


@pytest.mark.parametrize(
    ("handler", "where"),
    [
        (silence, "connected and asked, but no answer came within 0.3"),
        (deaf, "connected and asked, but no answer came within 0.3"),
        (header_drip, "the headers did not end"),
        (status_drip, "the headers did not end"),
        (body_drip, "HTTP 200, but the body did not end"),
        (chunk_drip, "HTTP 200, but the body did not end"),
        (unframed_stall, "HTTP 200, but the body did not end: 4 bytes came"),
        (interim_drip, "GET"),
    ],
)
def test_deadline_holds(ask, handler, where):
    """C14 C28: a peer that stalls or drips is a failure at the deadline, and the detail says how far it came."""
    outcome = ask(handler)
    assert (outcome.status, outcome.reason) == ("bad", Reason.TIMEOUT)
    assert where in outcome.detail


def send_and_close(data):
    def handler(peer):
        peer.request()
        peer.send(data)

    return handler


def send_and_reset(data):
    def handler(peer):
        peer.request()
        peer.send(data)
        peer.reset()

    return handler


def endless_header(peer):
    peer.request()
    peer.send(OK)
    peer.flood(b"X-More: " + b"y" * 1000 + b"\r\n")


def endless_status_line(peer):
    peer.request()
    peer.send(b"HTTP/1.1 200 ")
    peer.flood(b"z" * 4096)


def endless_interim(peer):
    peer.request()
    peer.flood(b"HTTP/1.1 102 Processing\r\nX-A: b\r\n\r\n" * 100)


def unread_reset(peer):
    peer.reset()


@pytest.mark.parametrize(
    ("handler", "reason", "finding"),
    [
        (send_and_close(b""), Reason.EMPTY_REPLY, "without a byte"),
        (send_and_reset(b""), Reason.CONNECTION_RESET, "reset"),
        (unread_reset, Reason.CONNECTION_RESET, "reset"),
        (send_and_close(b"<html>hello</html>"), Reason.BAD_STATUS_LINE, '"<html>hello</html>"'),
        (send_and_close(b"\x16\x03\x01\x1b[2Jgarbage\r\n\r\n"), Reason.BAD_STATUS_LINE, "\\x1b[2J"),
        (send_and_close(b"SSH-2.0-OpenSSH_9.2\r\n"), Reason.BAD_STATUS_LINE, "SSH-2.0-OpenSSH_9.2"),
        (send_and_close(b"HTTP/1.1 abc\r\n\r\n"), Reason.BAD_STATUS_LINE, "HTTP/1.1 abc"),
        (send_and_close(b"HTTP/1.1 2000 OK\r\n\r\n"), Reason.BAD_STATUS_LINE, "2000"),
        (send_and_close(b"HTTP/1.1 2"), Reason.BAD_STATUS_LINE, "in the status line"),
        (send_and_close(OK), Reason.BAD_HEADER, "in the headers"),
        (send_and_close(OK + b"no colon here\r\n\r\n"), Reason.BAD_HEADER, "no colon here"),
        (send_and_close(OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), Reason.BAD_HEADER, "5 and 6"),
        (send_and_close(OK + b"Content-Length: -5\r\n\r\nhello"), Reason.BAD_HEADER, "-5"),
        (send_and_close(OK + b"Content-Length: 50\r\n\r\nhello"), Reason.BAD_BODY, "before all 50 bytes of body: 5 came"),
        (send_and_close(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel"), Reason.BAD_BODY, "before the last chunk: 3 came"),
        (send_and_close(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello"), Reason.BAD_BODY, "expected the size of a chunk"),
        (send_and_close(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n"), Reason.BAD_BODY, "does not end where its size says"),
        (endless_header, Reason.HEADER_TOO_LARGE, "65536"),
        (endless_status_line, Reason.HEADER_TOO_LARGE, "65536"),
        (endless_interim, Reason.HEADER_TOO_LARGE, "interim"),
        (send_and_close(b"HTTP/1.1 503 Down\r\nContent-Length: 7\r\n\r\nstartin"), Reason.BAD_STATUS, '503 Down with "startin"'),
        (send_and_close(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), Reason.BAD_STATUS, "101"),
    ],
)
def test_broken_answer(ask, handler, reason, finding):
    """A broken answer is a failure with a precise reason, told at once and printed safely."""
    outcome = ask(handler, timeout=5)
    assert (outcome.status, outcome.reason) == ("bad", reason), outcome
    assert finding in outcome.detail
    assert outcome.detail.isprintable()
    assert len(outcome.detail) <= 500


def test_reset_in_the_body(ask):
    """A connection reset after good headers is a failure: the answer is not whole."""
    outcome = ask(send_and_reset(OK + b"Content-Length: 50\r\n\r\nhello"), timeout=5)
    assert outcome.status == "bad"
    assert outcome.reason is Reason.CONNECTION_RESET


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Content-Length: 2\r\n\r\nok",
        OK + b"Content-Length: 2\r\n\r\nok and more than was promised",
        OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        OK + b"\r\nok",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;ext=1\r\nk\r\n0\r\nTrailer: x\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 999\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\nServer: old\n\nok",
        b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
        OK + b"X-Folded: a\r\n b\r\nX-\xff: \xe9\r\ncontent-length:2\r\n\r\nok",
    ],
)
@pytest.mark.parametrize("dripped", [False, True])
def test_odd_but_right_answer(ask, data, dripped):
    """C57: what is unusual but right is healthy, in one piece and byte by byte alike."""

    def handler(peer):
        peer.request()
        if dripped:
            peer.drip(data, every=0.0005)
        else:
            peer.send(data)

    outcome = ask(handler, timeout=5, body_text="ok")
    assert (outcome.status, outcome.reason) == ("ok", None), outcome


def test_answer_that_is_complete_is_not_waited_on(ask):
    """A server that keeps the connection open after a whole answer costs no time."""

    def handler(peer):
        peer.request()
        peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        peer.silence()

    assert ask(handler, timeout=0.3).status == "ok"


def test_huge_body_is_read_to_the_limit_only(ask):
    """A body longer than the limit is no failure, and is not read further."""

    def handler(peer):
        peer.request()
        peer.send(OK + b"Content-Length: 1000000000\r\n\r\n")
        peer.flood(b"x" * 65536)

    assert ask(handler, timeout=5).status == "ok"


def test_endless_unframed_body(ask):
    """A body without an end counts once the limit is read."""

    def handler(peer):
        peer.request()
        peer.send(OK + b"\r\n")
        peer.flood(b"x" * 65536)

    assert ask(handler, timeout=5).status == "ok"


def test_server_that_closes_without_reading_a_large_request(ask):
    """An early refusal is read even if the request could not be sent whole."""

    def handler(peer):
        peer.connection.recv(10)
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        while peer.connection.recv(65536):
            pass

    outcome = ask(handler, timeout=5, method="POST", body="x" * 900000)
    assert (outcome.status, outcome.reason) == ("bad", Reason.BAD_STATUS), outcome
