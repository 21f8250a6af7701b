# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each path answers. Read-only; the paths and their answers are documented in ``docs/endpoints.md``."""

from __future__ import annotations

import json
import os
import stat
from typing import Any, Callable, Dict, Optional

from .._core.errors import RecordError, SelfhealError
from .._core.times import format_time
from . import metrics, page
from .board import Board
from .config import loopback
from .http import Request, Response, plain

MOST_EVENTS = 1000
SHOWN = 10
"""Incidents on the status page."""
SOONEST = 2
"""Seconds after which the status page is loaded again at the soonest."""
_SHORTEST_TOKEN = 16


class BadToken(SelfhealError):
    """The token file cannot be used; says why and what to do."""


class Endpoints:
    """`token`: None on loopback, where nothing is asked of whoever is on this host already."""

    def __init__(self, board: Board, token: Optional[str] = None) -> None:
        self._board = board
        self.token = token
        self._pages: Dict[str, Callable[[Request], Response]] = {
            "/": self._page,
            "/health": self._health,
            "/health/live": self._live,
            "/health/ready": self._ready,
            "/health/startup": self._startup,
            "/services": self._services,
            "/artifacts": self._artifacts,
            "/metrics": self._metrics,
        }

    def answer(self, request: Request) -> Response:
        """The answer to one request."""
        path = request.path.rstrip("/") or "/"
        parts = path.split("/")
        one = len(parts) in (3, 4) and parts[1] == "services" and parts[2] and parts[3:] in ([], ["ready"])
        is_open = path == "/health/live" or (one and len(parts) == 4)
        if not self._meant(request):
            return plain(421, "this is the watchdog of %s, asked as %.80s; ask for localhost" % (self._board.config.host, request.host))
        if not is_open and not self._known(request):
            return plain(401, "a token is needed: Authorization: Bearer ...", (("WWW-Authenticate", 'Bearer realm="selfheal"'),))
        if one:
            return self._service_ready(parts[2]) if len(parts) == 4 else self._service(parts[2])
        found = self._pages.get(path)
        return found(request) if found is not None else plain(404, "there is nothing here; see / for what is")

    def _known(self, request: Request) -> bool:
        if self.token is None:
            return True
        scheme, _space, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and _same(given.strip(), self.token)

    def _meant(self, request: Request) -> bool:
        """Did whoever asks mean this host? A page elsewhere whose name was made to point here (DNS rebinding) gives itself away.

        On loopback only this host's own names are answered; elsewhere the token keeps such a page out.
        """
        listen = self._board.config.listen[0].lower()
        return request.host is None or not loopback(listen) or loopback(request.host) or request.host == listen

    def _page(self, request: Request) -> Response:
        raw, board = request.query.get("refresh", ""), self._board
        refresh = max(SOONEST, int(raw)) if raw.isascii() and raw.isdigit() and len(raw) < 5 else None
        text = page.render(board.summary(), board.services(), board.incidents(SHOWN), refresh)
        return Response(200, text, "text/html; charset=utf-8", allows=page.ALLOWS)

    def _health(self, request: Request) -> Response:
        return _json(self._board.summary())

    def _live(self, request: Request) -> Response:
        return _json({"live": True, "pid": os.getpid(), "running_for_seconds": round(self._board.running_for, 3)})

    def _startup(self, request: Request) -> Response:
        board = self._board
        data = {"started": board.started, "contracts_loaded": board.loaded, "first_cycle_done": board.cycles > 0}
        return _json(data, 200 if board.started else 503)

    def _ready(self, request: Request) -> Response:
        board = self._board
        data: Dict[str, Any] = {"ready": board.ready, "contracts_loaded": board.loaded, "first_cycle_done": board.cycles > 0}
        data["not_watched"] = board.not_watched()
        if board.cycles:
            data["last_cycle"] = format_time(board.last_cycle)
        return _json(data, 200 if board.ready else 503)

    def _services(self, request: Request) -> Response:
        return _json({"host": self._board.config.host, "services": self._board.services()})

    def _service(self, name: str) -> Response:
        found = self._board.service(name)
        return _json(found) if found is not None else _no_service(name)

    def _service_ready(self, name: str) -> Response:
        found = self._board.readiness(name)
        if found is None:
            return _no_service(name)
        ready, state = found
        return _json({"service": name, "ready": ready, "state": state}, 200 if ready else 503)

    def _artifacts(self, request: Request) -> Response:
        unknown = sorted(set(request.query) - {"limit", "type", "service"})
        if unknown:
            return plain(400, "unknown parameters: %s; known are limit, type and service" % ", ".join(unknown))
        raw = request.query.get("limit", "100")
        if not (raw.isascii() and raw.isdigit() and len(raw) < 5 and 1 <= int(raw) <= MOST_EVENTS):
            return plain(400, "limit must be a number from 1 to %d" % MOST_EVENTS)
        try:
            events = self._board.events(int(raw), request.query.get("type"), request.query.get("service"))
        except RecordError as error:
            return plain(503, str(error))
        return _json({"host": self._board.config.host, "events": events})

    def _metrics(self, request: Request) -> Response:
        return Response(200, metrics.render(self._board), metrics.TYPE)


def _json(data: Any, status: int = 200) -> Response:
    return Response(status, (json.dumps(data, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))


def _no_service(name: str) -> Response:
    return plain(404, "there is no service %.80s in this host's contracts" % name)


def _same(given: str, wanted: str) -> bool:
    # What hmac.compare_digest is on an interpreter without OpenSSL, whose 4 MB this process does without.
    from _operator import _compare_digest

    return bool(_compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode("utf-8", "surrogateescape")))


def read_token(path: str) -> str:
    """The token in a file. Raises BadToken."""
    try:
        with open(path, "rb") as source:
            if os.fstat(source.fileno()).st_mode & (stat.S_IROTH | stat.S_IWOTH):
                raise BadToken("token_file %s can be read or written by everybody; chmod 0600 it" % path)
            token = source.read(4097).decode("utf-8", "surrogateescape").strip()
    except OSError as error:
        raise BadToken("reading token_file %s: %s" % (path, error.strerror or error)) from error
    if not _SHORTEST_TOKEN <= len(token) <= 4096:
        message = "token_file %s holds %d characters; expected %d to 4096, such as `openssl rand -hex 32` gives"
        raise BadToken(message % (path, len(token), _SHORTEST_TOKEN))
    return token


__all__ = ["BadToken", "Endpoints", "MOST_EVENTS", "read_token"]
