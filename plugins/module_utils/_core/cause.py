# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What probably caused a failure, from what was found when it was looked at. A help for people: no decision rests on it.

What is certain comes before what is likely, and what explains a failure before what it led to: a start limit that was hit is the
cause only when nothing says why the starts failed. Of a log only the lines since shortly before the failure are given here.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import Callable, FrozenSet, Mapping, NamedTuple, Optional, Tuple


class Probable(str, enum.Enum):
    """Values are what users see; never rename one that was released."""

    OOM_KILLED = "oom_killed"
    PORT_TAKEN = "port_taken"
    INODES_FULL = "inodes_full"
    DISK_FULL = "disk_full"
    DESCRIPTORS_SPENT = "descriptors_spent"
    PERMISSION = "permission"
    PROGRAM_MISSING = "program_missing"
    OUT_OF_MEMORY = "out_of_memory"
    START_LIMIT = "start_limit"
    DEPENDENCY_DOWN = "dependency_down"
    BAD_RELEASE = "bad_release"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value


class Cause(NamedTuple):
    """`detail` is one sentence for people, without a full stop."""

    cause: Probable
    detail: str


class Disk(NamedTuple):
    """One file system; free is what an unprivileged process can still have. inodes None where it has no fixed number of them."""

    mount: str
    free_bytes: int
    free_inodes: Optional[int] = None


@dataclass(frozen=True)
class Findings:
    """What is known. alive: does the main process still run? ended: what was last seen of it, in words.

    result: systemd's Result; exit_status: of the main process, None when it was killed or is not known. pids: main processes of the
    service; unit: its control group's name. log, kernel: lines since shortly before the failure, the newest last. oom_kills: what its
    control group counted. descriptors: open and allowed, of the main process. ports: those its probes ask on this host; listeners:
    who listened on a port before the failure already, and is none of the service's. deployed: seconds from its release becoming
    active to the failure.
    """

    alive: bool = False
    ended: str = ""
    result: str = ""
    exit_status: Optional[int] = None
    pids: FrozenSet[int] = frozenset()
    unit: str = ""
    log: Tuple[str, ...] = ()
    kernel: Tuple[str, ...] = ()
    oom_kills: int = 0
    descriptors: Optional[Tuple[int, int]] = None
    disks: Tuple[Disk, ...] = ()
    ports: Tuple[int, ...] = ()
    listeners: Mapping[int, str] = field(default_factory=dict)
    dependency: Optional[str] = None
    deployed: Optional[float] = None
    release: str = ""


NEXT_TO_NOTHING = 65536
"""A file system with less than so many bytes is full: one block more or less makes no difference."""
YOUNG_RELEASE = 3600.0
"""A failure within so many seconds of a release becoming active is probably its fault."""
_QUOTED = 160

_KILLED = re.compile(r"[Kk]ill(?:ed)? process (\d+)|oom-kill:.*\bpid=(\d+)")
_TAKEN = re.compile(r"address already in use|EADDRINUSE|bind\(\).{0,80}\(98", re.IGNORECASE)
_PORT = re.compile(r"(?:\d\.\d{1,3}|[]*:a-z\s]):(\d{2,5})(?!\d)|port[ =:]+(\d{2,5})(?!\d)", re.IGNORECASE)
_NO_SPACE = re.compile(r"no space left on device|\bENOSPC\b|disk quota exceeded|\bEDQUOT\b", re.IGNORECASE)
_NO_DESCRIPTOR = re.compile(r"too many open files|\bEMFILE\b|\bENFILE\b", re.IGNORECASE)
_NO_PERMISSION = re.compile(r"permission denied|operation not permitted|\bEACCES\b|\bEPERM\b", re.IGNORECASE)
_NO_MEMORY = re.compile(r"cannot allocate memory|\bENOMEM\b|OutOfMemoryError|\bMemoryError\b|out of memory", re.IGNORECASE)
# What systemd exits with for a program that never ran (systemd.exec(5)), and a shell for what it cannot find or execute.
_EXEC, _NOT_FOUND, _NOT_EXECUTABLE = 203, 127, 126
_NOT_ALLOWED = {200: "its working directory", 216: "its group", 217: "its user", 226: "its name spaces", 238: "its state directory"}


def probable(found: Findings) -> Cause:
    """The first cause that fits, in the order of `_CAUSES`."""
    for look in _CAUSES:
        cause = look(found)
        if cause is not None:
            return cause
    return Cause(
        Probable.UNKNOWN, found.ended or ("it runs, and does not answer" if found.alive else "nothing that was looked at tells why")
    )


def _newest(lines: Tuple[str, ...], pattern: "re.Pattern[str]") -> Optional[str]:
    return next((line for line in reversed(lines) if pattern.search(line)), None)


def _said(line: str) -> str:
    line = " ".join(line.split())
    return "it said: %s" % (line if len(line) <= _QUOTED else line[: _QUOTED - 1] + "…")


def _oom_killed(found: Findings) -> Optional[Cause]:
    for line in reversed(found.kernel):
        match = _KILLED.search(line)
        if match is None:
            continue
        pid = int(match.group(1) or match.group(2))
        if pid in found.pids or (found.unit and "/%s," % found.unit in line):
            return Cause(Probable.OOM_KILLED, "the kernel killed process %d of it for want of memory" % pid)
    if found.result == "oom-kill":
        return Cause(Probable.OOM_KILLED, "systemd says that the kernel killed it for want of memory")
    if found.oom_kills > 0:
        return Cause(Probable.OOM_KILLED, "its control group counts %d processes killed for want of memory" % found.oom_kills)
    return None


def _port_taken(found: Findings) -> Optional[Cause]:
    line = None if found.alive else _newest(found.log, _TAKEN)
    if line is not None:
        match = _PORT.search(line)
        port = (
            int(match.group(1) or match.group(2))
            if match is not None
            else next((each for each in found.ports if each in found.listeners), 0)
        )
        who = found.listeners.get(port)
        where = "port %d is" % port if port else "an address it needs is"
        return Cause(Probable.PORT_TAKEN, "%s taken%s; %s" % (where, " by %s" % who if who else "", _said(line)))
    taken = None if found.alive else next((port for port in found.ports if port in found.listeners), None)
    if taken is not None:
        return Cause(Probable.PORT_TAKEN, "port %d is taken by %s" % (taken, found.listeners[taken]))
    return None


def _disk_full(found: Findings) -> Optional[Cause]:
    line = _newest(found.log, _NO_SPACE)
    words = "; %s" % _said(line) if line is not None else ""
    for disk in found.disks:
        if disk.free_inodes == 0:
            return Cause(Probable.INODES_FULL, "%s has no inode left%s" % (disk.mount, words))
    for disk in found.disks:
        if disk.free_bytes < NEXT_TO_NOTHING:
            return Cause(Probable.DISK_FULL, "%s is full%s" % (disk.mount, words))
    return Cause(Probable.DISK_FULL, "a disk is full or a quota spent%s" % words) if line is not None else None


def _descriptors_spent(found: Findings) -> Optional[Cause]:
    if found.descriptors is not None and found.descriptors[0] >= found.descriptors[1] > 0:
        return Cause(Probable.DESCRIPTORS_SPENT, "it has %d of %d allowed files open" % found.descriptors)
    line = _newest(found.log, _NO_DESCRIPTOR)
    return Cause(Probable.DESCRIPTORS_SPENT, _said(line)) if line is not None else None


def _permission(found: Findings) -> Optional[Cause]:
    if found.alive:
        return None
    line = _newest(found.log, _NO_PERMISSION)
    if line is not None:
        return Cause(Probable.PERMISSION, _said(line))
    if found.exit_status in _NOT_ALLOWED:
        return Cause(
            Probable.PERMISSION, "systemd could not give it %s (exit status %d)" % (_NOT_ALLOWED[found.exit_status], found.exit_status)
        )
    if found.exit_status == _NOT_EXECUTABLE:
        return Cause(Probable.PERMISSION, "its program may not be executed (exit status %d)" % _NOT_EXECUTABLE)
    return None


def _program_missing(found: Findings) -> Optional[Cause]:
    if not found.alive and found.exit_status in (_EXEC, _NOT_FOUND):
        return Cause(Probable.PROGRAM_MISSING, "its program, or one it calls, is not there (exit status %d)" % found.exit_status)
    return None


def _out_of_memory(found: Findings) -> Optional[Cause]:
    line = _newest(found.log, _NO_MEMORY)
    return Cause(Probable.OUT_OF_MEMORY, _said(line)) if line is not None else None


def _start_limit(found: Findings) -> Optional[Cause]:
    if found.result == "start-limit-hit":
        return Cause(Probable.START_LIMIT, "it was started more often than its unit allows; systemd gave up")
    return None


def _dependency_down(found: Findings) -> Optional[Cause]:
    return Cause(Probable.DEPENDENCY_DOWN, found.dependency) if found.dependency is not None else None


def _bad_release(found: Findings) -> Optional[Cause]:
    if found.deployed is None or not 0 <= found.deployed <= YOUNG_RELEASE:
        return None
    return Cause(Probable.BAD_RELEASE, "it failed %.0f s after release %s became active" % (found.deployed, found.release or "of it"))


_CAUSES: Tuple[Callable[[Findings], Optional[Cause]], ...] = (
    _oom_killed,
    _port_taken,
    _disk_full,
    _descriptors_spent,
    _permission,
    _program_missing,
    _out_of_memory,
    _start_limit,
    _dependency_down,
    _bad_release,
)


__all__ = ["Cause", "Disk", "Findings", "Probable", "probable"]
