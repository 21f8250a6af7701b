# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probable cause: which finding leads to which, what comes before what, and when nothing is claimed."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from selfheal._core.cause import NEXT_TO_NOTHING, YOUNG_RELEASE, Disk, Findings, Probable, probable

FULL = {"disks": (Disk("/", 10**9, 5000), Disk("/var", NEXT_TO_NOTHING - 1, 77))}
NO_INODE = {"disks": (Disk("/", 10**9, 5000), Disk("/srv", 10**9, 0))}


class Row(NamedTuple):
    cause: Probable
    found: dict[str, Any]
    says: str = ""


ROWS = [
    Row(Probable.UNKNOWN, {}, "nothing that was looked at tells why"),
    Row(Probable.UNKNOWN, {"alive": True}, "it runs, and does not answer"),
    Row(Probable.UNKNOWN, {"ended": "pid 7: it ended with exit status 3"}, "exit status 3"),
    # The kernel killed it.
    Row(Probable.OOM_KILLED, {"pids": frozenset([41, 42]), "kernel": ("Out of memory: Killed process 42 (web)",)}, "process 42"),
    Row(Probable.OOM_KILLED, {"pids": frozenset([42]), "kernel": ("Memory cgroup out of memory: Kill process 42 (web) score 9",)}, "42"),
    Row(
        Probable.OOM_KILLED,
        {
            "unit": "web.service",
            "kernel": ("oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/system.slice/web.service,task=w,pid=99,uid=0",),
        },
        "99",
    ),
    Row(Probable.UNKNOWN, {"pids": frozenset([42]), "kernel": ("Out of memory: Killed process 43 (other)",)}),
    Row(Probable.UNKNOWN, {"unit": "web.service", "kernel": ("oom-kill:task_memcg=/system.slice/other-web.service,task=w,pid=99,uid=0",)}),
    Row(Probable.OOM_KILLED, {"result": "oom-kill"}),
    Row(Probable.OOM_KILLED, {"alive": True, "oom_kills": 2}, "2 processes"),
    # Its port.
    Row(
        Probable.PORT_TAKEN,
        {"log": ("OSError: [Errno 98] Address already in use",), "ports": (8080,), "listeners": {8080: "nginx (pid 7)"}},
        "port 8080 is taken by nginx (pid 7)",
    ),
    Row(
        Probable.PORT_TAKEN,
        {"log": ("listen tcp :9000: bind: address already in use",), "listeners": {9000: "old (pid 5)"}},
        "9000 is taken by old",
    ),
    Row(Probable.PORT_TAKEN, {"log": ("bind() to 0.0.0.0:80 failed (98: Address already in use)",)}, "port 80 is taken;"),
    Row(Probable.PORT_TAKEN, {"log": ("Error: listen EADDRINUSE",)}, "an address it needs is taken"),
    Row(Probable.PORT_TAKEN, {"ports": (8080,), "listeners": {8080: "nginx (pid 7)"}}, "port 8080 is taken by nginx (pid 7)"),
    Row(Probable.UNKNOWN, {"alive": True, "ports": (8080,), "listeners": {8080: "a worker of it (pid 7)"}}),
    Row(Probable.UNKNOWN, {"ports": (8080,), "listeners": {8081: "nginx (pid 7)"}}),
    # Disks.
    Row(Probable.DISK_FULL, FULL, "/var is full"),
    Row(Probable.DISK_FULL, {**FULL, "alive": True, "log": ("write: No space left on device",)}, "/var is full; it said: write: No space"),
    Row(Probable.DISK_FULL, {"log": ("Disk quota exceeded",)}, "quota"),
    Row(Probable.INODES_FULL, {**NO_INODE, "log": ("open: No space left on device",)}, "/srv has no inode left; it said"),
    Row(Probable.UNKNOWN, {"disks": (Disk("/", NEXT_TO_NOTHING, 1), Disk("/boot/efi", 10**6, None))}),
    # Files, rights, programs, memory.
    Row(Probable.DESCRIPTORS_SPENT, {"alive": True, "descriptors": (1024, 1024)}, "1024 of 1024"),
    Row(Probable.UNKNOWN, {"alive": True, "descriptors": (1023, 1024)}),
    Row(Probable.DESCRIPTORS_SPENT, {"log": ("accept4: too many open files",)}),
    Row(Probable.PERMISSION, {"log": ("open /etc/web/key.pem: Permission denied",)}, "key.pem"),
    Row(Probable.PERMISSION, {"exit_status": 217}, "its user (exit status 217)"),
    Row(Probable.PERMISSION, {"exit_status": 126}, "may not be executed"),
    Row(Probable.UNKNOWN, {"alive": True, "log": ("a client got: Permission denied",)}),
    Row(Probable.PROGRAM_MISSING, {"exit_status": 203}),
    Row(Probable.PROGRAM_MISSING, {"exit_status": 127}),
    Row(Probable.OUT_OF_MEMORY, {"alive": True, "log": ("java.lang.OutOfMemoryError: Java heap space",)}, "heap"),
    # What others did to it.
    Row(Probable.START_LIMIT, {"result": "start-limit-hit"}),
    Row(Probable.DEPENDENCY_DOWN, {"dependency": "the breaker of payments is open"}, "payments"),
    Row(Probable.BAD_RELEASE, {"deployed": 42.4, "release": "20261121"}, "42 s after release 20261121"),
    Row(Probable.BAD_RELEASE, {"deployed": YOUNG_RELEASE}),
    Row(Probable.UNKNOWN, {"deployed": YOUNG_RELEASE + 1}),
    Row(Probable.UNKNOWN, {"deployed": -5.0}),
    # What explains comes before what it led to, what is certain before what is likely.
    Row(Probable.OOM_KILLED, {"result": "oom-kill", **FULL, "deployed": 3.0}),
    Row(Probable.PORT_TAKEN, {"result": "start-limit-hit", "log": ("EADDRINUSE :::8080",)}, "port 8080"),
    Row(Probable.PERMISSION, {"result": "start-limit-hit", "exit_status": 200}),
    Row(Probable.DEPENDENCY_DOWN, {"dependency": "db failed when asked", "deployed": 60.0}),
    Row(Probable.BAD_RELEASE, {"deployed": 60.0, "ended": "exit status 1"}),
]


@pytest.mark.parametrize("row", ROWS, ids=["%02d %s" % (n, row.cause) for n, row in enumerate(ROWS)])
def test_what_was_found_leads_to_its_cause(row: Row) -> None:
    """Each finding alone, near misses, and several at once."""
    cause = probable(Findings(**row.found))
    assert cause.cause is row.cause and row.says in cause.detail and cause.detail


def test_every_cause_has_a_row() -> None:
    """A cause that is new needs a finding that leads to it."""
    assert {row.cause for row in ROWS} == set(Probable)


def test_the_newest_line_is_quoted_short_and_on_one_line() -> None:
    """What a service says may be long and strange; the sentence stays a sentence."""
    cause = probable(Findings(log=("first: Permission denied", "second:\tPermission denied  " + "x" * 500)))
    assert cause.detail.startswith("it said: second: Permission denied xxx") and len(cause.detail) < 200
