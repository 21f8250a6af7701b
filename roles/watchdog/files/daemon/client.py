# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the watchdog on this host over its own endpoint. One hard deadline, no proxy, and nothing is kept."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any, List, Optional, Tuple

from .._core.errors import SelfhealError
from .._core.model import WatchdogConfig
from .config import loopback
from .endpoints import read_token

DEADLINE = 3.0
_MOST = 64 << 20


class NoAnswer(SelfhealError):
    """The watchdog did not answer; says how it was asked and what came of it."""


def ask(config: WatchdogConfig, path: str) -> Any:
    """The JSON a path answers with; None where it answers 404. Raises NoAnswer, BadToken."""
    status, body = _get(config, path)
    if status == 404:
        return None
    if status not in (200, 503):
        raise NoAnswer("asking the watchdog for %s: it answered %d: %s" % (path, status, body[:200].decode("utf-8", "replace").strip()))
    try:
        return json.loads(body)
    except ValueError as error:
        raise NoAnswer("asking the watchdog for %s: what answers on its port is something else (%s)" % (path, error)) from error


def _get(config: WatchdogConfig, path: str) -> Tuple[int, bytes]:
    host, port = config.listen
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    lines = ["GET %s HTTP/1.1" % path, "Host: localhost", "Connection: close"]
    if config.token_file is not None and not loopback(host):
        lines.append("Authorization: Bearer %s" % read_token(config.token_file))
    deadline = time.monotonic() + DEADLINE
    try:
        with socket.create_connection((target, port), DEADLINE) as connection:
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape"))
            answer = _all(connection, deadline)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise NoAnswer("asking the watchdog on %s port %d: %s" % (target, port, why)) from error
    head, _empty, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 3 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise NoAnswer("asking the watchdog on %s port %d: what answers there is no watchdog" % (target, port))
    return int(words[1]), body


def _all(connection: socket.socket, deadline: float) -> bytes:
    parts: List[bytes] = []
    size = 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or size > _MOST:
            raise OSError("it did not finish its answer within %g s" % DEADLINE)
        connection.settimeout(left)
        part: Optional[bytes] = connection.recv(65536)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)


__all__ = ["DEADLINE", "NoAnswer", "ask"]
