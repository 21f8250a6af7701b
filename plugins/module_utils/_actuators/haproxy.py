# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves the traffic of an HAProxy backend between two of its servers, and reads back what became of it.

Away means `maint`, not `drain`: a drained server goes on serving clients that stick to it by cookie or table, and a server under
suspicion shall get nobody. Requests that it has already are finished either way. After each change the states of all servers go to the file
that HAProxy reads when it is started or reloaded (`server-state-file`): it would forget them otherwise, and serve from the primary again.
Every command changes nothing where that state stands already, so any of this can be done again.
"""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass
from typing import Callable, Dict, Optional, Union

from .._core.errors import RecordError
from .._core.reasons import Reason
from .._host import Outcome
from .._proc import Pause
from .._records.files import replace_file
from .base import Timed, Work
from .haproxy_socket import LONG, Ask

ANSWERS_WITHIN = 1.0
"""Seconds for one question; HAProxy takes 0.01 to 0.4 ms when it is well."""
STATE_FILE = "/var/lib/haproxy/server-state"
"""Where Debian's and Red Hat's packages have HAProxy's own directory; the role failover_proxy has it read from there."""
LOOK_EVERY = 0.1

_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
_SERVERS_ONLY = "4 -1"


@dataclass(frozen=True)
class Server:
    """A server as `show stat` has it. status: UP, UP 1/3, DOWN, MAINT, DRAIN (agent), no check, ... · sessions: under way now."""

    name: str
    status: str
    weight: int
    sessions: int
    backup: bool = False

    @property
    def away(self) -> bool:
        """Has somebody taken it out of the traffic?"""
        return self.status.startswith("MAINT")

    @property
    def drained(self) -> bool:
        return self.status.startswith("DRAIN")

    @property
    def up(self) -> bool:
        """Proven by a health check, and open for traffic."""
        return self.status.startswith("UP") and self.weight > 0

    def __str__(self) -> str:
        return "%s is %s%s" % (self.name, self.status, "" if self.weight else " with weight 0")


Servers = Dict[str, Server]


def read_servers(text: str, backend: str) -> Union[Servers, str]:
    """The servers of `show stat`, or what is wrong. Source: HAProxy Management Guide, "Statistics and monitoring", CSV format."""
    lines = text.strip().splitlines()
    if not lines or not lines[0].startswith("# pxname,svname,"):
        said = lines[0] if lines else "nothing"
        hint = "; is there a backend %s in its configuration?" % backend if said.startswith("No such proxy") else ""
        return "HAProxy said %.200r%s" % (said, hint)
    found: Servers = {}
    for row in csv.DictReader([lines[0][2:]] + lines[1:]):
        name = row["svname"]
        if row["pxname"] != backend or name in ("FRONTEND", "BACKEND"):
            continue
        try:
            found[name] = Server(name, row["status"], int(row["weight"] or 0), int(row["scur"] or 0), row.get("bck") == "1")
        except (KeyError, TypeError, ValueError) as error:
            return "the statistics of %.60r cannot be understood: %s: %s" % (name, type(error).__name__, error)
    return found


class Backend:
    """One backend at one socket. Raises ValueError for a name that HAProxy could not have.

    Every work returns an Outcome: ok, read back; bad; unknown (HAProxy could not be asked from here). `data` of an ok one has
    ``before`` and ``after`` (see `shown`) and ``unsaved`` (why the states could not be saved, or None).
    """

    def __init__(self, socket: str, backend: str, state_file: Optional[str] = None) -> None:
        self.socket = socket
        self.name = _checked(backend)
        self.state_file = state_file or STATE_FILE

    def servers(self) -> Work[Union[Servers, Outcome]]:
        """Every server, or why they cannot be had."""
        outcome = yield Timed(Ask(self.socket, "show stat %s %s" % (self.name, _SERVERS_ONLY)), ANSWERS_WITHIN)
        if outcome.status != "ok":
            return outcome
        found = read_servers(outcome.data["text"], self.name)
        return Outcome("bad", Reason.ACTION_FAILED, "backend %s: %s" % (self.name, found)) if isinstance(found, str) else found

    def named(self, *names: str) -> Work[Union[Servers, Outcome]]:
        """As `servers`, but bad where one of these names is missing."""
        found = yield from self.servers()
        if isinstance(found, Outcome):
            return found
        missing = [name for name in names if name not in found]
        if missing:
            return self._bad("there is no server %s; known: %s" % (" or ".join(missing), ", ".join(sorted(found)) or "none"))
        return found

    def able(self, primary: str, backup: str) -> Work[Outcome]:
        """Could traffic go to the backup? bad with reason no_backup unless it is read back as up."""
        found = yield from self.named(primary, backup)
        return found if isinstance(found, Outcome) else self._able(found, primary, backup)

    def _able(self, found: Servers, primary: str, backup: str) -> Outcome:
        if found[backup].up:
            return Outcome("ok", None, "%s, %s" % (found[primary], found[backup]))
        hint = "; give it `check`" if found[backup].status == "no check" else ""
        detail = "backend %s: the backup %s, so nothing is moved to it%s" % (self.name, found[backup], hint)
        return Outcome("bad", Reason.NO_BACKUP, detail)

    def to_backup(self, primary: str, backup: str) -> Work[Outcome]:
        """Take the primary out of the traffic, if the backup is up."""
        before = yield from self.named(primary, backup)
        if isinstance(before, Outcome):
            return before
        able = self._able(before, primary, backup)
        if able.status != "ok":
            return able
        return (yield from self._changed(before, primary, "state maint", lambda now: now[primary].away and now[backup].up))

    def to_primary(self, primary: str, weight: Optional[int] = None) -> Work[Outcome]:
        """Let the primary take traffic again. Whether it gets any is then for HAProxy's own health check to say.

        weight: the share of its configured weight that it gets, in percent; None leaves it as it is.
        """
        before = yield from self.named(primary)
        if isinstance(before, Outcome):
            return before
        if weight is not None:
            outcome = yield from self._changed(
                before, primary, "weight %d%%" % weight, lambda now: (now[primary].weight > 0) is (weight > 0)
            )
            if outcome.status != "ok":
                return outcome
        return (yield from self._changed(before, primary, "state ready", lambda now: not now[primary].away and not now[primary].drained))

    def drain(self, server: str) -> Work[Outcome]:
        """Give the server no new clients; those it has, and those that stick to it, are served on."""
        before = yield from self.named(server)
        if isinstance(before, Outcome):
            return before
        return (yield from self._changed(before, server, "state drain", lambda now: now[server].drained or not now[server].up))

    def awaited(self, server: str, within: float, done: Callable[[Server], bool], what: str) -> Work[Outcome]:
        """Wait until `done` is true of the server; bad, reason timeout, after about `within` seconds."""
        looks = max(1, int(within / LOOK_EVERY))
        while True:
            found = yield from self.named(server)
            if isinstance(found, Outcome):
                return found
            now = found[server]
            if done(now):
                return Outcome("ok", None, "backend %s: %s" % (self.name, now), {"after": shown(found)})
            looks -= 1
            if looks <= 0:
                detail = "backend %s: %s with %d sessions; not %s within %g s" % (self.name, now, now.sessions, what, within)
                return Outcome("bad", Reason.TIMEOUT, detail, {"after": shown(found)})
            yield Timed(Pause(), LOOK_EVERY)

    def save(self) -> Work[Optional[str]]:
        """Write the states of all servers where HAProxy reads them when it is started. Returns why that failed, or None."""
        outcome = yield Timed(Ask(self.socket, "show servers state", LONG), ANSWERS_WITHIN)
        if outcome.status != "ok":
            return outcome.detail
        text = outcome.data["text"]
        if not text.startswith("1\n#"):
            return "asking HAProxy at %s for its servers' states: it said %.200r" % (self.socket, text)
        folder = os.path.dirname(self.state_file)
        if not os.path.isdir(folder):
            return "there is no directory %s to keep the servers' states in; give state_file" % folder
        try:
            replace_file(self.state_file, text.strip("\n").encode("utf-8") + b"\n", 0o644)
        except RecordError as error:
            return str(error)
        return None

    def _changed(self, before: Servers, server: str, change: str, done: Callable[[Servers], bool]) -> Work[Outcome]:
        """Set it, read it back, save it. Nothing is set where it stands already, but it is saved."""
        now = before
        if not (change.startswith("state") and done(before)):
            said = yield Timed(Ask(self.socket, "set server %s/%s %s" % (self.name, _checked(server), change)), ANSWERS_WITHIN)
            # Success has no words; whether it is one is for the reading back to say.
            if said.status != "ok" and said.reason is not Reason.EMPTY_REPLY:
                return said
            found = yield from self.named(server)
            if isinstance(found, Outcome):
                return found
            now = found
            if not done(now):
                text = str(said.data.get("text", "")).strip()
                return self._bad("set server %s/%s %s: HAProxy said %.200r, and %s" % (self.name, server, change, text, now[server]))
        unsaved = yield from self.save()
        words = ", ".join(str(now[name]) for name in sorted(now))
        return Outcome(
            "ok", None, "backend %s: %s" % (self.name, words), {"before": shown(before), "after": shown(now), "unsaved": unsaved}
        )

    def _bad(self, finding: str) -> Outcome:
        return Outcome("bad", Reason.ACTION_FAILED, "backend %s at %s: %s" % (self.name, self.socket, finding))


def shown(servers: Servers) -> Dict[str, Dict[str, Union[str, int]]]:
    """As plain data: ``{server: {status, weight, sessions}}``."""
    return {name: {"status": one.status, "weight": one.weight, "sessions": one.sessions} for name, one in sorted(servers.items())}


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("%.100r is no name HAProxy could have: only letters, digits and _ . : - are allowed" % name)
    return name


__all__ = ["Backend", "STATE_FILE", "Server", "Servers", "read_servers", "shown"]
