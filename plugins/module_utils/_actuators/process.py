# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service that is a plain process: found by pid and start time, stopped for certain, started outside ourselves.

With systemd and root it runs as the transient unit ``selfheal-<name>.service``; without, as the leader of a session of its own.
Stopping is that of systemd's KillMode=mixed: the stop signal (and CONT, or a stopped process would not see it) to the main process,
KILL to all that is left when it is gone or its time is over. Nothing is stopped before it is known that it could be started again,
and nothing is started before the old one is proven gone.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import Optional, Tuple, Union

from .. import _proc
from .._core.errors import RecordError
from .._core.model import ProcessResource
from .._core.reasons import Reason
from .._environment import CannotStart, find_account
from .._host import Outcome, Step
from .._probes.pidfile import PidfileRefused, read_pidfile
from .._proc import Gone, Pause, Stat
from .._spawn import Run
from .._transient import parse_show, service_argv, show_argv, stop_argv, systemd_runs, unit_name
from .base import Actuator, Evidence, Instance, Presence, State, Timed, Work
from .identity import Record, Registry
from .launch import Launch
from .stopping import leftovers, stop_leftovers, stop_process

# How long a service that goes into the background may take until its pidfile names it.
_DAEMONIZING = 10.0
_LAUNCH_WITHIN = 10.0
_SYSTEMD_WITHIN = 15.0
# After this long beyond its stop timeout, a process that somebody told to stop is told again rather than killed at once.
_TOLD_HOLDS = 30.0
_LOCK_TRIES, _LOCK_PAUSE = 20, 0.05


@dataclass(frozen=True)
class _Seen:
    """What stands there: the record, the main process if one lives, and a sentence why not. `starting`: its pidfile may still come."""

    record: Optional[Record]
    main: Optional[Stat]
    detail: str = ""
    starting: bool = False


class ProcessActuator(Actuator):
    """`run_dir` keeps the record, `log_dir` the output (None: /dev/null). `in_unit` None: where systemd runs and we are root."""

    def __init__(
        self,
        service: str,
        resource: ProcessResource,
        run_dir: str,
        boot_id: str,
        log_dir: Optional[str] = None,
        in_unit: Optional[bool] = None,
    ) -> None:
        self.key = "process:%s" % service
        self._service = service
        self._resource = resource
        self._registry = Registry(run_dir, service, boot_id)
        self._log = None if log_dir is None else os.path.join(log_dir, "%s.log" % service)
        self._in_unit = systemd_runs() if in_unit is None else in_unit

    # -- looking

    def look(self) -> Work[Presence]:
        try:
            seen = self._see()
            if seen.main is None and self._in_unit:
                state = yield from self._ask_unit()
                if state is not None:
                    return state
                seen = self._see()
            return self._presence(seen)
        except (OSError, RecordError) as error:
            return Presence(State.UNKNOWN, None, str(error)[:500])

    def _see(self) -> _Seen:
        """Raises RecordError, OSError."""
        _proc.reap_services()
        record = self._registry.read()
        own = None if record is None else _living(record.pid, record.start_time)
        if self._resource.pidfile is not None:
            named, why = self._named_by_pidfile(record)
            if named is not None:
                return _Seen(record, named)
            if own is None and record is not None:
                code = _proc.service_code(record.pid)
                young = time.monotonic() - _proc.since(record.start_time) < _DAEMONIZING
                return _Seen(record, None, why, starting=young and code in (None, 0))
            return _Seen(record, own, why)
        if record is None or own is not None:
            return _Seen(record, own)
        code = _proc.service_code(record.pid)
        ending = "it runs no more" if code is None else "it ended with %s" % _proc.ending(code)
        return _Seen(record, None, "pid %d: %s" % (record.pid, ending))

    def _named_by_pidfile(self, record: Optional[Record]) -> Tuple[Optional[Stat], str]:
        """The process that the pidfile names with proof, or why there is none. Raises OSError when that cannot be known."""
        path = str(self._resource.pidfile)
        try:
            found = read_pidfile(path)
        except PidfileRefused as refusal:
            if refusal.unreadable:
                raise PermissionError(str(refusal)) from refusal
            return None, str(refusal)
        if found is None:
            return None, "there is no pidfile %s" % path
        if record is not None and found.start_time < record.start_time:
            return None, "pidfile %s names pid %d, which is older than our start of it" % (path, found.pid)
        if self._resource.user is None:
            return found, ""
        uid = _proc.owner_of(found.pid)
        try:
            expected = find_account(self._resource.user).uid
        except CannotStart as refusal:
            raise PermissionError(refusal.outcome.detail) from refusal
        if uid != expected:
            return None, "pidfile %s names pid %d of uid %s, not of user %s" % (path, found.pid, uid, self._resource.user)
        return found, ""

    def _presence(self, seen: _Seen) -> Presence:
        if seen.main is not None:
            told = _told(seen.record, seen.main)
            under_way = told is not None and time.monotonic() - told < self._resource.stop_timeout
            return Presence(State.STOPPING if under_way else State.RUNNING, self._instance(seen.main), seen.detail)
        if seen.starting or self._registry.locked():
            return Presence(State.STARTING, None, seen.detail)
        return Presence(State.NEVER if seen.record is None else State.GONE, None, seen.detail)

    def _instance(self, process: Stat) -> Instance:
        identity = _proc.instance_id(self._registry.boot_id, process.pid, process.start_time)
        return Instance(identity, process.pid, _proc.since(process.start_time))

    def _ask_unit(self) -> Work[Optional[Presence]]:
        """systemd knows of a start that was not put on record, and of jobs under way. None: nothing more than the record says."""
        outcome = yield Timed(Run(show_argv(self._service)), _SYSTEMD_WITHIN)
        if outcome.status != "ok":
            return Presence(State.UNKNOWN, None, ("systemctl show: %s" % outcome.detail)[:500])
        try:
            state, pid = parse_show(str(outcome.data["stdout"]))
        except ValueError as error:
            return Presence(State.UNKNOWN, None, str(error)[:500])
        process = _proc.stat(pid) if pid else None
        if process is not None and not process.dead:
            job = State.STOPPING if state == "deactivating" else State.RUNNING
            return Presence(job, self._instance(process))
        pending = {"activating": State.STARTING, "deactivating": State.STOPPING}.get(state)
        return None if pending is None else Presence(pending)

    def watch(self, instance: Instance) -> Optional[Step]:
        return Gone(*_proc.parse_instance(instance.id)) if _proc.can_wait() else None

    def evidence(self) -> Evidence:
        record = self._registry.read()
        code = None if record is None else _proc.service_code(record.pid)
        told = {} if code is None else {"ended": _proc.ending(code), "exit_status" if code >= 0 else "signal": abs(code)}
        unit = unit_name(self._service) if self._in_unit else None
        return Evidence(told, unit, None if self._in_unit else self._log)

    # -- acting

    def start(self) -> Work[Outcome]:
        lock = yield from self._take_lock()
        if isinstance(lock, Outcome):
            return lock
        try:
            presence = yield from self._look_locked()
            if presence.state is not State.GONE and presence.state is not State.NEVER:
                return _stands(presence)
            return (yield from self._start())
        except (OSError, RecordError) as error:
            return _unknown(error)
        finally:
            os.close(lock)

    def restart(self) -> Work[Outcome]:
        rehearsal = yield Timed(self._launch(rehearse=True), _LAUNCH_WITHIN)
        if rehearsal.status != "ok":
            return replace(rehearsal, detail=("nothing was stopped, as it could not be started again: %s" % rehearsal.detail)[:500])
        lock = yield from self._take_lock()
        if isinstance(lock, Outcome):
            return lock
        try:
            refused = yield from self._stop()
            if refused is not None:
                return refused
            return (yield from self._start())
        except (OSError, RecordError) as error:
            return _unknown(error)
        finally:
            os.close(lock)

    def _take_lock(self) -> Work[Union[int, Outcome]]:
        """The lock's descriptor, or the outcome that says why not."""
        try:
            self._registry.prepare()
            for _attempt in range(_LOCK_TRIES):
                lock = self._registry.lock()
                if lock is not None:
                    return lock
                yield Timed(Pause(), _LOCK_PAUSE)
        except (OSError, RecordError) as error:
            return _unknown(error)
        return Outcome("unknown", Reason.LEASE_HELD, "somebody else is starting or stopping %s" % self.key)

    def _look_locked(self) -> Work[Presence]:
        """As `look`, while the lock is ours. Raises RecordError, OSError."""
        seen = self._see()
        if seen.main is None and self._in_unit:
            asked = yield from self._ask_unit()
            if asked is not None:
                return asked
        if seen.main is None and not seen.starting:
            return Presence(State.NEVER if seen.record is None else State.GONE, None, seen.detail)
        return self._presence(seen) if seen.main is not None else Presence(State.STARTING, None, seen.detail)

    def _start(self) -> Work[Outcome]:
        """With the lock held and nothing alive."""
        if self._in_unit:
            return (yield from self._start_unit())
        record = self._registry.read()
        if record is not None:
            refused = yield from stop_leftovers(leftovers(record), min(2.0, self._resource.stop_timeout))
            if refused is not None:
                return refused
        outcome = yield Timed(self._launch(), _LAUNCH_WITHIN)
        return outcome if outcome.status != "ok" else self._started(outcome.data["pid"])

    def _started(self, pid: int) -> Outcome:
        record = self._registry.read()
        if record is None or record.pid != pid:
            return Outcome("bad", Reason.ACTION_FAILED, "pid %d was started but %s does not name it" % (pid, self._registry.path))
        identity = _proc.instance_id(record.boot_id, record.pid, record.start_time)
        return Outcome("ok", None, "pid %d started" % pid, {"pid": pid, "instance": identity})

    def _launch(self, rehearse: bool = False) -> Launch:
        resource = self._resource
        return Launch(
            resource.argv,
            resource.user,
            resource.cwd,
            resource.environment_file,
            (("SELFHEAL_SERVICE", self._service),),
            self._log,
            None if rehearse else self._put_on_record,
            rehearse,
            resource.pidfile is not None,
        )

    def _put_on_record(self, pid: int) -> None:
        """In the child, before its exec; exec changes neither pid nor start time."""
        process = _proc.stat(pid)
        if process is None:
            raise RecordError("no start time of pid %d under /proc" % pid)
        self._registry.write(self._registry.made(pid, process.start_time))

    def _start_unit(self) -> Work[Outcome]:
        """What is left in the unit's control group goes first; a unit that does not exist is none that could not be stopped."""
        yield Timed(Run(stop_argv(self._service)), self._resource.stop_timeout + _SYSTEMD_WITHIN)
        outcome = yield Timed(Run(service_argv(self._service, self._resource)), _SYSTEMD_WITHIN)
        if outcome.status != "ok":
            return replace(outcome, detail=("systemd-run: %s" % outcome.detail)[:500])
        shown = yield Timed(Run(show_argv(self._service)), _SYSTEMD_WITHIN)
        try:
            state, pid = parse_show(str(shown.data.get("stdout", "")))
        except ValueError as error:
            return Outcome("bad", Reason.ACTION_FAILED, "%s was started, but: %s" % (unit_name(self._service), error))
        process = _proc.stat(pid) if pid else None
        if process is None:
            return Outcome("ok", None, "%s started and is %s, without a main process" % (unit_name(self._service), state))
        self._registry.write(self._registry.made(process.pid, process.start_time, unit_name(self._service)))
        return self._started(process.pid)

    def _stop(self) -> Work[Optional[Outcome]]:
        """None once nothing of it is left; otherwise why not, and nothing may be started."""
        seen = self._see()
        record, main = seen.record, seen.main
        if self._in_unit and (record is None or record.unit is not None):
            refused, main = yield from self._stop_unit(main)
            if refused is not None:
                return refused
        if main is not None:
            now, told = time.monotonic(), _told(record, main)
            if told is None or now - told > self._resource.stop_timeout + _TOLD_HOLDS:
                told = None
                self._mark_stopping(record, main, now)
            until = (now if told is None else told) + self._resource.stop_timeout
            refused = yield from stop_process(main, self._resource.stop_signal, until, told is not None)
            if refused is not None:
                return refused
            refused = yield from stop_leftovers(leftovers(main), 0.0)
            if refused is not None:
                return refused
        if record is None or record.unit is not None:
            return None
        first = _living(record.pid, record.start_time)
        return (yield from stop_leftovers(leftovers(record) + ([first] if first is not None else []), 0.0))

    def _stop_unit(self, main: Optional[Stat]) -> Work[Tuple[Optional[Outcome], Optional[Stat]]]:
        """Let systemd stop the unit: why that is not certain, if so, and the main process if it lives on all the same."""
        if main is None:
            asked = yield from self._ask_unit()
            if asked is not None and asked.state is State.UNKNOWN:
                return Outcome("unknown", Reason.INTERNAL_ERROR, asked.detail), None
            if asked is not None and asked.instance is not None:
                main = _living(*_proc.parse_instance(asked.instance.id))
        outcome = yield Timed(Run(stop_argv(self._service)), self._resource.stop_timeout + _SYSTEMD_WITHIN)
        if outcome.reason is Reason.TIMEOUT or outcome.status == "unknown":
            return replace(outcome, detail=("systemctl stop: %s; nothing was started" % outcome.detail)[:500]), main
        return None, _living(main.pid, main.start_time) if main is not None else None

    def _mark_stopping(self, record: Optional[Record], main: Stat, now: float) -> None:
        """Whoever goes on after our death must neither tell it twice nor kill it before its time."""
        known = record if record is not None else self._registry.made(main.pid, main.start_time)
        self._registry.write(replace(known, stopping=now, main={"pid": main.pid, "start_time": main.start_time}))


def _living(pid: int, start_time: int) -> Optional[Stat]:
    found = _proc.stat(pid)
    return found if found is not None and found.start_time == start_time and not found.dead else None


def _told(record: Optional[Record], main: Stat) -> Optional[float]:
    """When that very process was told to stop, None if it was not."""
    if record is None or record.main != {"pid": main.pid, "start_time": main.start_time}:
        return None
    return record.stopping


def _stands(presence: Presence) -> Outcome:
    if presence.state is State.UNKNOWN:
        return Outcome("unknown", Reason.INTERNAL_ERROR, presence.detail)
    if presence.state is State.STOPPING:
        return Outcome("unknown", Reason.LEASE_HELD, "it is being stopped; it can be started when it is gone")
    if presence.instance is None:
        return Outcome("ok", None, "it is %s already" % presence.state.value)
    data = {"pid": presence.instance.pid, "instance": presence.instance.id}
    return Outcome("ok", None, "pid %d is %s already" % (presence.instance.pid, presence.state.value), data)


def _unknown(error: Exception) -> Outcome:
    reason = Reason.RECORDS_UNWRITABLE if isinstance(error, RecordError) else Reason.NO_PERMISSION
    return Outcome("unknown", reason, str(error)[:500])


__all__ = ["ProcessActuator"]
