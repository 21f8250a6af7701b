# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel shows of this moment: a process, all processes, who listens, and the host as a whole. Read from /proc and /sys only.

Whatever grows with the number of processes is a generator that pauses every few milliseconds, so that the loop which drives it goes on.
A process that ends meanwhile is left out.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from typing import Any, Callable, Dict, Generator, List, NamedTuple, Optional, Set

from .. import _proc
from .._proc import TICKS

SLICE = 0.004
"""Seconds of work between two pauses."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATUS = ("State", "PPid", "Uid", "Threads", "VmPeak", "VmRSS", "VmSwap", "SigBlk", "voluntary_ctxt_switches", "Seccomp")
_MEMORY = ("MemTotal", "MemFree", "MemAvailable", "SwapTotal", "SwapFree", "Dirty", "Slab")
_LISTEN = "0A"
_OWNER = re.compile(r"users:\(\(\"[^\"]*\",pid=(\d+)")
_LIMIT = 65536

Slices = Generator[None, None, Any]


class Listener(NamedTuple):
    """Who listens on a TCP port; pid 0 where that cannot be seen."""

    address: str
    port: int
    pid: int = 0
    name: str = ""
    start_time: int = 0

    def __str__(self) -> str:
        return "%s (pid %d)" % (self.name, self.pid) if self.pid else "a process that cannot be seen"


def text(path: str) -> Optional[str]:
    """What a file of the kernel says; None where it does not exist or may not be read."""
    try:
        with open(path, "rb") as file:
            return file.read(_LIMIT).decode("utf-8", "replace")
    except OSError:
        return None


def _lines(path: str) -> List[str]:
    return (text(path) or "").splitlines()


def _pairs(path: str, wanted: Any) -> Dict[str, str]:
    told = (line.partition(":") for line in _lines(path))
    return {name: " ".join(value.split()) for name, _colon, value in told if name in wanted}


def host() -> Dict[str, Any]:
    """The whole host: load, memory, pressure, open files."""
    pressure = {name: _lines("/proc/pressure/%s" % name) for name in ("cpu", "memory", "io")}
    return {
        "load": " ".join((text("/proc/loadavg") or "").split()),
        "uptime": (text("/proc/uptime") or "").partition(" ")[0],
        "memory": _pairs("/proc/meminfo", _MEMORY),
        "pressure": {name: told for name, told in pressure.items() if told},
        "open_files": " ".join((text("/proc/sys/fs/file-nr") or "").split()),
    }


def process(pid: int) -> Dict[str, Any]:
    """One process: its state, limits, open files, where it waits. Empty when it is gone. Its environment is never read."""
    about: Dict[str, Any] = _pairs("/proc/%d/status" % pid, _STATUS)
    if not about:
        return {}
    about["command"] = [word for word in (text("/proc/%d/cmdline" % pid) or "").split("\0") if word]
    about["waits_in"] = text("/proc/%d/wchan" % pid)
    about["limits"] = [" ".join(line.split()) for line in _lines("/proc/%d/limits" % pid)[1:]]
    descriptors = open_descriptors(pid)
    if descriptors is not None:
        about["open_files"] = descriptors
    return about


def open_descriptors(pid: int) -> Optional[int]:
    try:
        return len(os.listdir("/proc/%d/fd" % pid))
    except OSError:
        return None


def descriptor_limit(pid: int) -> Optional[int]:
    """How many files the process may have open; None when that is unlimited or cannot be seen."""
    for line in _lines("/proc/%d/limits" % pid):
        if line.startswith("Max open files"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() else None
    return None


def control_group(pid: int) -> Dict[str, Any]:
    """Memory and processes of the control group (version 2) of a process."""
    path = next((line[3:] for line in _lines("/proc/%d/cgroup" % pid) if line.startswith("0::")), None)
    return {} if path is None else group_at(path)


def group_at(path: str) -> Dict[str, Any]:
    """The same by the group's path below the root; empty where there is none."""
    folder = "/sys/fs/cgroup" + path
    found: Dict[str, Any] = {"path": path}
    for name in ("memory.current", "memory.max", "pids.current", "pids.max"):
        told = text(os.path.join(folder, name))
        if told is not None:
            found[name] = told.strip()
    events = dict(line.split(" ", 1) for line in _lines(os.path.join(folder, "memory.events")) if " " in line)
    if events:
        found["memory.events"] = events
    return found if len(found) > 1 else {}


class Pacer:
    """Says when a slice of work is over. `clock` as time.monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = clock() + SLICE

    def over(self) -> bool:
        return self._clock() >= self._until

    def again(self) -> None:
        self._until = self._clock() + SLICE


def processes() -> Slices:
    """CPU ticks used and resident bytes of every process: ``{pid: (ticks, bytes, name)}``."""
    found: Dict[int, Any] = {}
    pacer = Pacer()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        told = text("/proc/%s/stat" % name)
        if told:
            head, _bracket, tail = told.rpartition(")")
            fields = tail.split()
            if len(fields) > 21:
                found[int(name)] = int(fields[11]) + int(fields[12]), int(fields[21]) * _PAGE, head.partition("(")[2]
        if pacer.over():
            yield
            pacer.again()
    return found


def busiest(before: Dict[int, Any], after: Dict[int, Any], seconds: float, most: int = 10) -> Dict[str, List[Dict[str, Any]]]:
    """The processes with most memory, and those that used most CPU between two looks, in percent of one core."""

    def row(pid: int) -> Dict[str, Any]:
        ticks, size, name = after[pid]
        used = ticks - before[pid][0] if pid in before else ticks
        return {
            "pid": pid,
            "name": name,
            "memory_bytes": size,
            "cpu_percent": round(100.0 * max(0, used) / TICKS / max(seconds, 0.01), 1),
            "cpu_seconds": round(ticks / TICKS, 2),
        }

    rows = [row(pid) for pid in after]
    by_memory = sorted(rows, key=lambda each: -each["memory_bytes"])[:most]
    by_cpu = sorted(rows, key=lambda each: (-each["cpu_percent"], -each["cpu_seconds"]))[:most]
    return {"by_memory": by_memory, "by_cpu": [each for each in by_cpu if each["cpu_seconds"] > 0]}


def listeners() -> Slices:
    """Every TCP socket that listens in this network name space, and whose it is: a list of `Listener`."""
    sockets: Dict[str, Listener] = {}
    for path, length in (("/proc/net/tcp", 4), ("/proc/net/tcp6", 16)):
        for line in _lines(path)[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN:
                address, _colon, port = fields[1].partition(":")
                sockets["socket:[%s]" % fields[9]] = Listener(_address(address, length), int(port, 16))
    found: Dict[str, Listener] = dict(sockets)
    wanted: Set[str] = set(sockets)
    pacer = Pacer()
    for name in os.listdir("/proc") if wanted else ():
        if not name.isdigit():
            continue
        for link in _sockets_of(name) & wanted:
            stat = _proc.stat(int(name))
            if stat is not None:
                found[link] = owned(found[link], stat.pid)
                wanted.discard(link)
        if not wanted:
            break
        if pacer.over():
            yield
            pacer.again()
    return sorted(found.values(), key=lambda each: (each.port, each.address))


def owners(told: str) -> Dict[int, int]:
    """Who listens on which port, as ``ss -Hltnp`` tells it: ``{port: pid}``."""
    found: Dict[int, int] = {}
    for line in told.splitlines():
        fields, match = line.split(), _OWNER.search(line)
        port = fields[3].rpartition(":")[2] if len(fields) > 4 else ""
        if match is not None and port.isdigit():
            found.setdefault(int(port), int(match.group(1)))
    return found


def owned(listener: Listener, pid: Optional[int]) -> Listener:
    """The listener with its owner, while that runs."""
    stat = _proc.stat(pid) if pid is not None else None
    if stat is None:
        return listener
    comm = (text("/proc/%d/comm" % stat.pid) or "").strip()
    return listener._replace(pid=stat.pid, name=comm, start_time=stat.start_time)


def _sockets_of(pid: str) -> Set[str]:
    folder = "/proc/%s/fd" % pid
    found: Set[str] = set()
    try:
        names = os.listdir(folder)
    except OSError:
        return found  # it is gone, or not ours to see
    for name in names:
        try:
            link = os.readlink("%s/%s" % (folder, name))
        except OSError:
            continue  # closed meanwhile
        if link.startswith("socket:"):
            found.add(link)
    return found


def _address(hexadecimal: str, length: int) -> str:
    """The kernel prints addresses as 32-bit words of its own byte order."""
    packed = b"".join(struct.pack("=I", int(hexadecimal[at : at + 8], 16)) for at in range(0, length * 2, 8))
    return socket.inet_ntop(socket.AF_INET if length == 4 else socket.AF_INET6, packed)


__all__ = [
    "Listener",
    "Pacer",
    "busiest",
    "control_group",
    "descriptor_limit",
    "group_at",
    "host",
    "listeners",
    "open_descriptors",
    "owned",
    "owners",
    "process",
    "processes",
    "text",
]
