# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets a container finish what it has before it is stopped: until nobody is connected and nobody comes any more, or time is over.

What is looked at are the tables of its own network, by its main process: connections to ports that it listens on, and how many it has ever
taken. Both, since a request of five milliseconds is seldom seen under way. Sources: proc(5), /proc/PID/net/tcp and /proc/PID/net/snmp.
"""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Set, Tuple

from .._actuators.container_state import Told, of
from .._host import Host
from .image_engine import pause

QUIET = 2.0
"""So long nobody may have come: a balancer that was told to reload goes on for a moment with what it had."""
LOOK_EVERY = 0.05
_ESTABLISHED, _LISTEN = "01", "0A"


class Drained(NamedTuple):
    """seconds: it took so long. left: connections that are still there, None where nobody can tell."""

    seconds: float
    left: Optional[int]


class Seen(NamedTuple):
    """open: connections under way to what it listens on. taken: how many it has ever taken."""

    open: int
    taken: int


def drain(host: Host, told: Told, limit: float) -> Drained:
    """Wait until it has finished, at most `limit` seconds; all of them where its tables cannot be read."""
    began = quiet_since = host.monotonic()
    before: Optional[Seen] = None
    while True:
        now, seen = host.monotonic(), look(told)
        if seen is None or seen.open or before is None or seen.taken != before.taken:
            quiet_since = now
        before = seen
        if seen is not None and now - quiet_since >= QUIET or now - began >= limit:
            return Drained(round(now - began, 3), None if seen is None else seen.open)
        pause(host, min(LOOK_EVERY, max(0.001, began + limit - now)))


def idle(told: Told) -> Optional[bool]:
    """Is nobody connected at this instant? None where nobody can tell."""
    seen = look(told)
    return None if seen is None else seen.open == 0


def look(told: Told) -> Optional[Seen]:
    """What its tables say now; None where it does not run, or its processes are not this host's."""
    pid = int(of(told, "State", "Pid") or 0)
    if not pid:
        return None
    try:
        with open("/proc/%d/cgroup" % pid, encoding="ascii", errors="replace") as file:
            if str(told["Id"]) not in file.read():
                return None
        lines: List[List[str]] = []
        for name in ("tcp", "tcp6"):
            with open("/proc/%d/net/%s" % (pid, name), encoding="ascii") as file:
                lines += [line.split() for line in file.readlines()[1:]]
        with open("/proc/%d/net/snmp" % pid, encoding="ascii") as file:
            taken = passive_opens(file.read())
    except (OSError, ValueError):
        return None
    return Seen(open_connections([(line[1], line[3]) for line in lines]), taken)


def open_connections(rows: List[Tuple[str, str]]) -> int:
    """rows: local address and state of each socket, as in the tables."""
    listening: Set[str] = {local.rpartition(":")[2] for local, state in rows if state == _LISTEN}
    return sum(state == _ESTABLISHED and local.rpartition(":")[2] in listening for local, state in rows)


def passive_opens(text: str) -> int:
    """How many connections were ever taken. Raises ValueError."""
    names, values = [line.split() for line in text.splitlines() if line.startswith("Tcp:")][:2]
    return int(values[names.index("PassiveOpens")])


__all__ = ["Drained", "Seen", "drain", "idle", "look", "open_connections", "passive_opens"]
