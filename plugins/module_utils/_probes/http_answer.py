# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an HTTP/1 server sent, taken apart: pure functions over bytes, for a peer that may be broken or hostile.

The usual answer (one Content-Length, chunked, or neither) is read with three expressions. Whatever else decides about the framing
(another Transfer-Encoding, a second Content-Length, a Location) is given to the standard library's own parser.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Optional, Tuple, Union

from .._core.reasons import Reason

HEAD_LIMIT = 65536
UNTIL_CLOSE = -1
CHUNKED = -2

Buffer = Union[bytes, bytearray]

_STATUS = re.compile(rb"HTTP/[0-9](?:\.[0-9])? ([1-9][0-9][0-9])(?:[ \t][^\r\n]*)?\r?\n")
_HEADER_LINES = re.compile(rb"(?:[^\s:][^:\r\n]*:[^\n]*\n|[ \t][^\n]*\n)*")
_FRAMING = re.compile(rb"\n(content-length|transfer-encoding)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_LENGTH_NAME = len("content-length")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_CHUNK_LINE_LIMIT = 4096
_PREFIX = b"HTTP/"


class Bad(Exception):
    """The peer broke the protocol."""

    def __init__(self, reason: Reason, finding: str) -> None:
        super().__init__(finding)
        self.reason = reason
        self.finding = finding


class Head(NamedTuple):
    """length: bytes of body, or UNTIL_CLOSE or CHUNKED. `location` only of redirects."""

    status: int
    length: int
    location: Optional[str]
    end: int


def printable(data: Buffer, most: int = 80) -> str:
    """The first bytes of something untrusted, on one line and safe on any terminal."""
    text = bytes(data[:most]).decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return '"%s"%s' % (shown, "…" if len(data) > most else "")


def head_end(data: Buffer, start: int = 0) -> int:
    """Where the body begins, or -1 while the headers go on. Bare line feeds are accepted, as http.client does."""
    at = max(0, start - 3)
    end = data.find(b"\r\n\r\n", at)
    bare = data.find(b"\n\n", at, end + 1 if end >= 0 else len(data))
    if bare >= 0:
        return bare + 2
    if end >= 0:
        return end + 4
    mixed = data.find(b"\n\r\n", at)
    return mixed + 3 if mixed >= 0 else -1


def check_start(data: Buffer) -> None:
    """Refuse early what can never become an answer, so that garbage is not waited on. Raises Bad."""
    if data[:5] != _PREFIX[: len(data)]:
        raise Bad(Reason.BAD_STATUS_LINE, "expected an HTTP status line, found %s" % printable(data))
    if len(data) > HEAD_LIMIT:
        raise Bad(Reason.HEADER_TOO_LARGE, "the headers did not end within %d bytes" % HEAD_LIMIT)


def parse_head(data: Buffer, end: int, method: str) -> Head:
    """The status line and what of the headers decides how the body is read. Raises Bad."""
    match = _STATUS.match(data)
    if match is None:
        raise Bad(Reason.BAD_STATUS_LINE, "expected an HTTP status line, found %s" % printable(data))
    if end > HEAD_LIMIT:
        raise Bad(Reason.HEADER_TOO_LARGE, "the headers are %d bytes long; at most %d are read" % (end, HEAD_LIMIT))
    status = int(match.group(1))
    lines = _HEADER_LINES.match(data, match.end(), end)
    stop = match.end() if lines is None else lines.end()
    if bytes(data[stop:end]).strip(b"\r\n"):
        raise Bad(Reason.BAD_HEADER, "expected a header line, found %s" % printable(data[stop : min(end, stop + 81)]))
    framing = _FRAMING.findall(data, match.end() - 1, end)
    redirect = 300 <= status < 400
    length, location = UNTIL_CLOSE, None
    if not redirect and len(framing) == 1 and len(framing[0][0]) == _LENGTH_NAME and framing[0][1].isdigit():
        length = int(framing[0][1][:20])
    elif not redirect and len(framing) == 1 and framing[0][1].lower() == b"chunked":
        length = CHUNKED
    elif redirect or framing:
        length, location = _by_library(bytes(data[match.end() : end]))
    if method == "HEAD" or status in (204, 304) or status < 200:
        length = 0
    return Head(status, length, location if redirect else None, end)


def _by_library(lines: bytes) -> Tuple[int, Optional[str]]:
    import http.client
    import io

    try:
        headers = http.client.parse_headers(io.BytesIO(lines))
    except http.client.HTTPException as error:
        raise Bad(Reason.BAD_HEADER, "the headers cannot be read: %s" % error) from error
    location = headers.get("Location")
    codings = ",".join(headers.get_all("Transfer-Encoding") or ()).lower()
    if codings:
        if codings.rpartition(",")[2].strip() != "chunked":
            return UNTIL_CLOSE, location
        return CHUNKED, location
    lengths = {value.strip() for value in headers.get_all("Content-Length") or ()}
    if not lengths:
        return UNTIL_CLOSE, location
    if len(lengths) > 1 or not re.fullmatch("[0-9]{1,18}", min(lengths)):
        raise Bad(Reason.BAD_HEADER, "Content-Length is %s" % printable(" and ".join(sorted(lengths)).encode("utf-8", "replace")))
    return int(min(lengths)), location


class Chunks:
    """A decoder for chunked bodies. `body` grows with `feed`; `done` once the last chunk was seen."""

    __slots__ = ("body", "done", "_raw", "_left")

    def __init__(self) -> None:
        self.body = bytearray()
        self.done = False
        self._raw = bytearray()
        self._left = 0  # of this chunk with its line end: 0 means that a size line comes next

    def feed(self, data: Buffer, limit: int) -> None:
        """Take more bytes and decode until `limit` bytes of body or the end. Raises Bad."""
        raw = self._raw
        raw += data
        at = 0
        while not self.done and len(self.body) <= limit:
            if self._left > 2:
                piece = raw[at : at + self._left - 2]
                if not piece:
                    break
                self.body += piece
                self._left -= len(piece)
                at += len(piece)
            elif self._left:
                if len(raw) - at < 2:
                    break
                if raw[at : at + 2] != b"\r\n":
                    raise Bad(Reason.BAD_BODY, "a chunk does not end where its size says, but with %s" % printable(raw[at : at + 20]))
                at += 2
                self._left = 0
            else:
                match = _CHUNK_SIZE.match(raw, at)
                if match is None:
                    if b"\n" in raw[at:] or len(raw) - at > _CHUNK_LINE_LIMIT:
                        raise Bad(Reason.BAD_BODY, "expected the size of a chunk, found %s" % printable(raw[at : at + 41], 40))
                    break
                at = match.end()
                size = int(match.group(1), 16)
                self.done = size == 0
                self._left = size + 2
        del raw[:at]


__all__ = ["Bad", "CHUNKED", "Chunks", "HEAD_LIMIT", "Head", "UNTIL_CLOSE", "check_start", "head_end", "parse_head", "printable"]
