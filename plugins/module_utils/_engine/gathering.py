# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collects what stands there when a service has failed. Never waits: what takes time is a child with a deadline of its own.

Cheap things come first, so that little time yields the most; what could not be had is named with its reason under ``problems``. Only what
reads no disk is read by this process: a dead mount must cost a child, not the loop.
"""

from __future__ import annotations

import re
import time
from typing import Any, Dict, FrozenSet, List, Optional, Tuple
from urllib.parse import urlsplit

from .. import _proc
from .._actuators.base import Timed, Work
from .._core.cause import Cause, Disk, Findings, probable
from .._core.model import HttpTarget, Service, TcpTarget
from .._core.times import format_time
from .._host import Host
from .._proc import Pause
from .._spawn import Run
from .._transient import OperatorCommand, systemd_runs
from . import snapshot
from .network import on_this_host
from .subject import Subject

LINES = 200
"""Lines of the service's log, and of the kernel's, that are kept."""
BEFORE = 60.0
"""A line that is older than so many seconds before the failure tells nothing of its cause."""
_WITHIN = {"listening": 0.8, "unit": 0.8, "log": 0.8, "kernel": 0.6, "disks": 0.5, "release": 0.3}
_TOO_LATE = 0.02
_LOG_BYTES = 65536
# Blanks in /proc/self/mounts.
_OCTAL = re.compile(r"\\([0-7]{3})")
# File systems that are always full, or are no place to write to.
_READ_ONLY = frozenset(("squashfs", "iso9660", "erofs", "cramfs", "udf"))
_BOOTED = re.compile(r"\[ *(\d+\.\d+)\] (.*)")


class Report(Dict[str, Any]):
    """The bundle as plain data, and `cause`."""

    cause: Cause


class Gathering:
    """One run. `until`: monotonic seconds at which it ends with what it has."""

    def __init__(self, subject: Subject, host: Host, until: float) -> None:
        self._subject = subject
        self._host = host
        self._until = until
        # Nobody waits for what is looked into beside a start.
        self._patience = 1.0 if subject.alive else 4.0
        self._began = host.monotonic()
        self.sections: Dict[str, Any] = {}
        self.problems: Dict[str, str] = {}
        self._listeners: List[snapshot.Listener] = []
        self._disks: List[Disk] = []
        self._deployed: Tuple[Optional[float], str] = (None, "")

    def work(self) -> Work[Report]:
        """Everything, in order of worth."""
        subject, before = self._subject, self._host.monotonic()
        self._at_once()
        first = yield from self._sliced(snapshot.processes())
        self._listeners = yield from self._sliced(snapshot.listeners())
        yield from self._unseen_listeners()
        self.sections["listening"] = [
            {"address": each.address, "port": each.port, "pid": each.pid or None, "name": each.name} for each in self._listeners
        ]
        yield from self._unit()
        for name, argv in subject.evidence.commands:
            self._keep_lines(name, (yield from self._ask(name, argv, 0.8, merged=True)))
        yield from self._log()
        yield from self._kernel()
        yield from self._disks_and_release()
        second = yield from self._sliced(snapshot.processes())
        self.sections["processes"] = snapshot.busiest(first, second, self._host.monotonic() - before)
        return self._report()

    def _at_once(self) -> None:
        subject = self._subject
        self.sections["resource"] = {"ended": subject.ended, **dict(subject.evidence.told)}
        self.sections["probes"] = [dict(each) for each in subject.probes]
        self.sections["host"] = snapshot.host()
        if subject.alive and subject.pid:
            self.sections["process"] = snapshot.process(subject.pid)
            group = snapshot.control_group(subject.pid)
            if group:
                self.sections["control_group"] = group

    def _sliced(self, slices: snapshot.Slices) -> Work[Any]:
        """Work that pauses now and then; others have their turn meanwhile."""
        while True:
            try:
                next(slices)
            except StopIteration as ended:
                return ended.value
            yield Timed(Pause(), 0.0)

    def _ask(self, section: str, argv: Tuple[str, ...], within: float, merged: bool = False) -> Work[str]:
        """What a program says on stdout (merged: and stderr); why it said nothing stands under ``problems``."""
        left = min(within * self._patience, self._until - self._host.monotonic())
        if left < _TOO_LATE:
            self.problems[section] = "left out: there was no time left for %s" % argv[0]
            return ""
        outcome = yield Timed(Run(argv, output_limit=_LOG_BYTES, merge=merged), left)
        if outcome.status != "ok":
            self.problems[section] = "%s: %s" % (argv[0], outcome.detail or outcome.reason)
        return str(outcome.data.get("stdout", ""))

    def _unseen_listeners(self) -> Work[None]:
        """A watchdog that may do little does not see whose sockets others have; a program with all rights, in a unit of its own, does."""
        if not systemd_runs() or all(each.pid for each in self._listeners):
            return
        limit = min(_WITHIN["listening"] * self._patience, self._until - self._host.monotonic())
        if limit < _TOO_LATE:
            self.problems["listening"] = "whose sockets they are: there was no time left for ss"
            return
        outcome = yield Timed(OperatorCommand(("ss", "-Hltnp"), limit), limit)
        if outcome.status != "ok":
            self.problems["listening"] = "ss: %s" % (outcome.detail or outcome.reason)
        owners = snapshot.owners(str(outcome.data.get("stdout", "")))
        self._listeners = [each if each.pid else snapshot.owned(each, owners.get(each.port)) for each in self._listeners]

    def _unit(self) -> Work[None]:
        """The unit as systemd has it now. Of one that is started again beside us only what was known before tells of its end."""
        unit = self._subject.evidence.unit
        if unit is None or not self._subject.alive or not systemd_runs():
            return
        told = yield from self._ask(
            "unit", ("systemctl", "show", "--no-pager", "--property=" + ",".join(_UNIT), "--", unit), _WITHIN["unit"]
        )
        pairs = (line.partition("=") for line in told.splitlines())
        self.sections["unit"] = {name: value for name, equals, value in pairs if equals and value not in ("", "[not set]")}

    def _log(self) -> Work[None]:
        evidence = self._subject.evidence
        if evidence.log is not None:
            argv: Tuple[str, ...] = ("tail", "--lines=%d" % LINES, "--", evidence.log)
        elif evidence.unit is not None and systemd_runs():
            argv = ("journalctl", "--quiet", "--no-pager", "--output=short-unix", "--lines=%d" % LINES, "--unit=" + evidence.unit)
        else:
            return
        self._keep_lines("log", (yield from self._ask("log", argv, _WITHIN["log"])))

    def _kernel(self) -> Work[None]:
        if systemd_runs():
            argv: Tuple[str, ...] = ("journalctl", "--quiet", "--no-pager", "--dmesg", "--output=short-unix", "--lines=%d" % LINES)
        else:
            argv = ("dmesg",)
        self._keep_lines("kernel", (yield from self._ask("kernel", argv, _WITHIN["kernel"])))

    def _disks_and_release(self) -> Work[None]:
        argv = ("df", "--local", "--block-size=1", "--output=fstype,avail,iavail,itotal,pcent,ipcent,target")
        told = yield from self._ask("disks", argv, _WITHIN["disks"])
        rows = [line.split(None, 6) for line in told.splitlines()[1:]]
        rows = [row for row in rows if len(row) == 7 and row[0] not in _READ_ONLY]
        self.sections["disks"] = [
            {
                "mount": row[6],
                "type": row[0],
                "free_bytes": _number(row[1]),
                "used": row[4],
                "free_inodes": _number(row[2]),
                "inodes_used": row[5],
            }
            for row in rows
        ]
        # What nobody can write to is full for nobody.
        fixed = _mounted_read_only()
        self._disks = [
            Disk(row[6], _number(row[1]) or 0, _number(row[2]) if _number(row[3]) else None) for row in rows if row[6] not in fixed
        ]
        release = self._subject.service.release
        if release is None:
            return
        current = "%s/%s/current" % (release.root, release.project)
        told = yield from self._ask("release", ("stat", "--format=%Y %N", "--", current), _WITHIN["release"])
        changed, _space, link = told.strip().partition(" ")
        if changed.isdigit():
            name = link.rpartition("/")[2].strip("'\"")
            self._deployed = self._subject.failure_time - int(changed), name
            self.sections["release"] = {"current": name, "since": format_time(float(changed))}

    def _keep_lines(self, section: str, told: str) -> None:
        if told:
            self.sections[section] = [_dated(line)[1] for line in told.splitlines()[-LINES:]]

    # -- what it amounts to ----------------------------------------------------------------------------------------------

    def _report(self) -> Report:
        subject = self._subject
        cause = probable(self._findings())
        report = Report(
            service=subject.service.name,
            incident=subject.incident,
            failure_time=format_time(subject.failure_time),
            gathered=format_time(self._host.wall()),
            took_ms=round((self._host.monotonic() - self._began) * 1000),
            alive=subject.alive,
            probable_cause=str(cause.cause),
            probable_detail=cause.detail,
            problems=self.problems,
            sections=self.sections,
        )
        report.cause = cause
        return report

    def _findings(self) -> Findings:
        subject = self._subject
        told = subject.evidence.told
        unit = self.sections.get("unit") or {}
        status = told.get("ExecMainStatus") if told.get("ExecMainCode") == "1" else told.get("exit_status")
        group = self.sections.get("control_group") or {}
        return Findings(
            alive=subject.alive,
            ended=subject.ended,
            result=str(unit.get("Result") or told.get("Result") or ""),
            exit_status=int(status) if status is not None and str(status).isdigit() else None,
            pids=frozenset(pid for pid in (subject.pid, _pid(told.get("MainPID")), _pid(told.get("ExecMainPID"))) if pid),
            unit=subject.evidence.unit or "",
            log=self._recent("log"),
            kernel=self._recent("kernel"),
            oom_kills=int((group.get("memory.events") or {}).get("oom_kill", 0)),
            descriptors=self._descriptors(),
            disks=tuple(self._disks),
            ports=_ports(subject.service),
            listeners=self._before_the_failure(),
            dependency=subject.dependency,
            deployed=self._deployed[0],
            release=self._deployed[1],
        )

    def _recent(self, section: str) -> Tuple[str, ...]:
        """The lines since shortly before the failure; of those without a time the newest."""
        lines: List[str] = self.sections.get(section, [])
        since = format_time(self._subject.failure_time - BEFORE)
        dated = [line for line in lines if line[:4].isdigit() and line[10:11] == "T"]
        return tuple(line for line in dated if line[:24] >= since) if dated else tuple(lines[-40:])

    def _descriptors(self) -> Optional[Tuple[int, int]]:
        if not self._subject.alive or not self._subject.pid:
            return None
        used, allowed = snapshot.open_descriptors(self._subject.pid), snapshot.descriptor_limit(self._subject.pid)
        return (used, allowed) if used is not None and allowed is not None else None

    def _before_the_failure(self) -> Dict[int, str]:
        """Who listened before the failure: what was started since is the service itself, come back."""
        at = self._subject.failure_time
        return {
            each.port: str(each)
            for each in self._listeners
            if each.pid and each.pid != self._subject.pid and _proc.started_wall(each.start_time) < at
        }


_UNIT = (
    "Id,ActiveState,SubState,Result,LoadState,MainPID,ExecMainPID,ExecMainCode,ExecMainStatus,ExecMainStartTimestamp,ExecMainExitTimestamp,"
    "NRestarts,StatusText,StatusErrno,TasksCurrent,TasksMax,MemoryCurrent,MemoryMax,MemoryPeak,LimitNOFILE,LimitNPROC,StartLimitBurst,"
    "StartLimitIntervalUSec,ControlGroup,Restart,RestartUSec,FragmentPath,DropInPaths,User"
).split(",")


def _ports(service: Service) -> Tuple[int, ...]:
    """The ports of this host at which the service is asked."""
    found = []
    for probe in service.probes:
        target = probe.target
        if isinstance(target, TcpTarget) and on_this_host(target):
            found.append(target.port)
        elif isinstance(target, HttpTarget) and on_this_host(target):
            parts = urlsplit(target.url)
            found.append(parts.port or (443 if parts.scheme == "https" else 80))
    return tuple(dict.fromkeys(found))


def _dated(line: str) -> Tuple[Optional[float], str]:
    """A line of journalctl's short-unix or of dmesg with its time as people read it; others as they are."""
    first, _space, rest = line.partition(" ")
    if first.replace(".", "", 1).isdigit() and "." in first:
        return float(first), "%s %s" % (format_time(float(first)), rest)
    booted = _BOOTED.match(line)
    if booted is not None:
        at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + float(booted.group(1))
        return at, "%s %s" % (format_time(at), booted.group(2))
    return None, line


def _mounted_read_only() -> FrozenSet[str]:
    """The mount points that are mounted read-only, as /proc tells; none where it does not."""
    found: Dict[str, bool] = {}
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                fields = line.split(" ")
                place = _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), fields[1])
                found[place] = "ro" in fields[3].split(",")  # what is mounted last over a place is what is seen there
    except (OSError, IndexError):
        return frozenset()
    return frozenset(place for place, fixed in found.items() if fixed)


def _number(word: str) -> Optional[int]:
    return int(word) if word.isdigit() else None


def _pid(word: Any) -> int:
    return int(word) if str(word or "").isdigit() else 0


__all__ = ["BEFORE", "Gathering", "LINES", "Report"]
