# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service that is a systemd unit. systemd starts and stops it; here is only asked, watched, and helped where systemd gives up.

Stopping is systemd's own: the unit's stop signal, TimeoutStopSec=, KILL. No job is queued while another one is pending; a job that was
begun is not cut off, and goes on in systemd should we die. A restart of its own (Restart=) is left to systemd until it gives up.
Where its start limit refuses us, ``reset-failed`` lifts it, at most once per attempt.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from typing import Dict, Optional, Tuple, Union

from .. import _proc
from .._core.reasons import Reason
from .._host import Outcome, Step
from .._proc import Gone, Pause
from .._records.files import make_directory, read_file, remove, replace_file
from .._spawn import Run
from . import unit_state
from .base import Actuator, Evidence, Instance, Presence, State, Timed, Work

_SHOW_WITHIN = 10.0
_RESET_WITHIN = 10.0
_JOURNAL_WITHIN = 10.0
MARGIN = 15.0
"""Seconds that a job may take beyond the time limits of its unit, until waiting for it ends."""
_PENDING_POLL = 0.25
_SYSTEMD_LATE = 1.0
"""For so long systemd may call a process alive that is gone."""
_HEAD_START = 0.05
"""A restart of systemd's own has so long to itself: a question in its middle made it take half as long again."""
_RESET_HOLDS = 600.0
_FRESH = 0.25
"""A start that follows a look within so many seconds does not ask again: a dead service waits for it."""
SEARCHED = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
INVOCATIONS = "/run/systemd/units"
"""Where systemd keeps a link ``invocation:<unit>`` for every unit that runs."""
_PROCESS_ENDED = "98e322203f7a4ed290d09fe03c09fe15"
"""SD_MESSAGE_UNIT_PROCESS_EXIT of systemd's sd-messages.h."""
_RESTS = 30.0
"""So long a unit that was found stopped, and has no such link since, is not asked about again."""
_TYPES = ("service", "socket", "target", "mount", "automount", "swap", "timer", "path", "slice", "scope", "device")

Told = Dict[str, str]


def full_name(name: str) -> str:
    """As systemctl reads it: without a type it is a service."""
    return name if name.rpartition(".")[2] in _TYPES and "." in name else name + ".service"


def canonical(name: str, searched: Tuple[str, ...] = SEARCHED) -> str:
    """The unit that `name` is an alias of, else its full name: two contracts on one unit then meet at one lease."""
    name = full_name(name)
    for folder in searched:
        try:
            to = os.path.basename(os.readlink(os.path.join(folder, name)))
        except OSError:
            continue  # no link there: at most the unit's own file
        template = to.partition("@")[2].startswith(".")
        if to != name and not template and full_name(to) == to and to.rpartition(".")[2] == name.rpartition(".")[2]:
            return to
        return name
    return name


class UnitActuator(Actuator):
    """`run_dir` holds a mark while a reset unit is being started, as systemd itself then forgets that it had failed."""

    def __init__(self, name: str, run_dir: str, boot_id: str, root: Optional[bool] = None) -> None:
        self.name = canonical(name)
        self.key = "unit:%s" % self.name
        self._boot_id = boot_id
        self._root = os.geteuid() == 0 if root is None else root
        self._last: Tuple[float, Told] = (-math.inf, {})
        self._rests: Tuple[float, Optional[Presence]] = (-math.inf, None)
        self._mark = os.path.join(run_dir, "units", "%s.reset" % self.name.replace("/", "-"))

    # -- looking

    def problem(self) -> Work[Optional[str]]:
        """Why a contract on this unit is wrong on this host: there is no such unit, or its definition is broken. None also when unknown."""
        told = yield from self._show()
        broken = None if isinstance(told, Outcome) else unit_state.unusable(told)
        return None if broken is None or broken.masked else broken.text

    def look(self) -> Work[Presence]:
        since, stopped = self._rests
        if stopped is not None and time.monotonic() - since < _RESTS and not self._runs():
            return stopped
        found = self._remember_reset((yield from self._look()))
        self._rests = (time.monotonic(), found if found.state is State.STOPPED and not self._runs() else None)
        return found

    def _runs(self) -> bool:
        """Whether it may have been started: only a link that is missing where links are kept says no."""
        return os.path.lexists(os.path.join(INVOCATIONS, "invocation:" + self.name)) or not os.path.isdir(INVOCATIONS)

    def _look(self) -> Work[Presence]:
        if self._being_restarted():
            yield Timed(Pause(), _HEAD_START)
        until = time.monotonic() + _SYSTEMD_LATE
        while True:
            before = self._last[1]
            told = yield from self._show()
            if isinstance(told, Outcome):
                return Presence(State.UNKNOWN, None, told.detail)
            self._last = time.monotonic(), told
            by_job = yield from self._stopped_by_job(told)
            found = unit_state.presence(told, self._boot_id, time.monotonic(), by_job)
            if not (told["ActiveState"] == "active" and found.state is State.STARTING) or time.monotonic() > until:
                if unit_state.restarted(before, told) and (yield from self._died(before)):
                    return replace(found, revived=True)
                return found
            yield Timed(Pause(), 0.005)

    def _being_restarted(self) -> bool:
        """Has its main process ended since the last look, in a unit that systemd starts again by itself?"""
        told = self._last[1]
        pid = int(told.get("MainPID") or 0)
        if not pid or told.get("Restart", "no") == "no":
            return False
        found = _proc.stat(pid)
        return found is None or found.dead

    def _show(self) -> Work[Union[Told, Outcome]]:
        argv = ("systemctl", "show", "--property=" + ",".join(unit_state.PROPERTIES), "--", self.name)
        outcome = yield Timed(Run(argv), _SHOW_WITHIN)
        if outcome.status == "ok":
            try:
                return unit_state.parse_show(str(outcome.data["stdout"]))
            except ValueError as error:
                return Outcome("unknown", Reason.INTERNAL_ERROR, str(error)[:500])
        reason = outcome.reason if outcome.status == "unknown" else Reason.INTERNAL_ERROR
        return Outcome("unknown", reason, ("asking systemd about %s: %s" % (self.name, outcome.detail))[:500])

    def _stopped_by_job(self, told: Told) -> Work[bool]:
        """Whether the journal shows a stop job for this life of the unit. A journal that tells nothing shows none."""
        if not unit_state.stop_asked_of_journal(told) or not told.get("InvocationID"):
            return False
        return (yield from self._journal_has("JOB_TYPE", "JOB_TYPE=stop", told))

    def _died(self, told: Told) -> Work[bool]:
        """Whether this life of the unit ended badly. Where Restart= does not say, the journal does; it has nothing of a good end."""
        if unit_state.restarts_only_failures(told):
            return True
        if not told.get("InvocationID"):
            return False
        return (yield from self._journal_has("EXIT_CODE", "MESSAGE_ID=" + _PROCESS_ENDED, told))

    def _journal_has(self, field: str, match: str, told: Told) -> Work[bool]:
        """Is there a line of systemd's about this life of the unit?"""
        argv = (
            "journalctl",
            "--quiet",
            "--boot",
            "--lines=1",
            "--output=json",
            "--output-fields=" + field,
            "_PID=1",
            match,
            "UNIT=" + told["Id"],
            "INVOCATION_ID=" + told["InvocationID"],
        )
        outcome = yield Timed(Run(argv), _JOURNAL_WITHIN)
        return outcome.status == "ok" and '"%s"' % field in str(outcome.data.get("stdout", ""))

    def watch(self, instance: Instance) -> Optional[Step]:
        return Gone(*_proc.parse_instance(instance.id)) if instance.pid and _proc.can_wait() else None

    def evidence(self) -> Evidence:
        return Evidence(dict(self._last[1]), unit=self.name)

    # -- acting

    def start(self) -> Work[Outcome]:
        told = yield from self._begin(_FRESH)
        if isinstance(told, Outcome):
            return told
        here = unit_state.presence(told, self._boot_id, time.monotonic())
        if here.state not in (State.GONE, State.STOPPED):
            return _stands(here)
        return (yield from self._job("start", told))

    def restart(self) -> Work[Outcome]:
        told = yield from self._begin()
        if isinstance(told, Outcome):
            return told
        until = time.monotonic() + unit_state.bounded(told, "TimeoutStopUSec", "TimeoutStartUSec") + MARGIN
        while unit_state.pending(told) or told["ActiveState"] == "deactivating":
            if time.monotonic() > until:
                return Outcome(
                    "unknown", Reason.LEASE_HELD, "%s; its own job does not end, and none is queued behind it" % unit_state.describe(told)
                )
            yield Timed(Pause(), _PENDING_POLL)
            told = yield from self._begin()
            if isinstance(told, Outcome):
                return told
            if told["ActiveState"] == "inactive":
                return Outcome("unknown", Reason.ADMIN_STOPPED, "%s: somebody stopped it meanwhile; it was not started again" % self.name)
        return (yield from self._job("restart", told))

    def _begin(self, within: float = 0.0) -> Work[Union[Told, Outcome]]:
        """How it stands, or why nothing may be done. A look not older than `within` seconds is good enough."""
        if not self._root:
            return Outcome("unknown", Reason.NO_PERMISSION, "only root may start and stop %s; run the watchdog as root" % self.name)
        at, told = self._last
        if time.monotonic() - at > within:
            shown = yield from self._show()
            if isinstance(shown, Outcome):
                return shown
            told = shown
        broken = unit_state.unusable(told)
        return told if broken is None else Outcome("bad", Reason.ACTION_FAILED, broken.text)

    def _job(self, verb: str, before: Told) -> Work[Outcome]:
        """One job, waited for to its end; after a refusal by the start limit one more."""
        outcome = yield from self._systemctl(verb, before)
        told = yield from self._show()
        if isinstance(told, Outcome):
            return told
        if outcome.status == "bad" and outcome.reason is not Reason.TIMEOUT and _nothing_ran(before, told):
            self._set_mark()
            try:
                yield Timed(Run(("systemctl", "reset-failed", "--", self.name)), _RESET_WITHIN)
                outcome = yield from self._systemctl("start", before)
            finally:
                remove(self._mark)
            told = yield from self._show()
            if isinstance(told, Outcome):
                return told
        return self._proven(verb, outcome, before, told)

    def _systemctl(self, verb: str, told: Told) -> Work[Outcome]:
        within = unit_state.bounded(told, "TimeoutStopUSec", "TimeoutStartUSec") + MARGIN
        outcome = yield Timed(Run(("systemctl", "--no-ask-password", "--quiet", verb, "--", self.name)), within)
        if outcome.reason is Reason.TIMEOUT:
            return replace(outcome, detail="systemctl %s %s: its job has not ended within %.0f s; it goes on" % (verb, self.name, within))
        return outcome

    def _proven(self, verb: str, outcome: Outcome, before: Told, after: Told) -> Outcome:
        """The job's result, and proof that what stands there now is new."""
        if outcome.status == "unknown":
            return outcome
        broken = unit_state.unusable(after)
        why = broken.text if broken is not None else unit_state.describe(after)
        if outcome.status != "ok":
            return Outcome(
                "bad",
                outcome.reason if outcome.reason is Reason.TIMEOUT else Reason.ACTION_FAILED,
                ("systemctl %s: %s; %s" % (verb, outcome.detail, why))[:500],
            )
        here = unit_state.presence(after, self._boot_id, time.monotonic())
        if here.state is State.GONE:
            return Outcome("bad", Reason.ACTION_FAILED, ("it was started and ended at once: %s" % why)[:500])
        if after.get("InvocationID") and after["InvocationID"] == before.get("InvocationID"):
            return Outcome("bad", Reason.ACTION_FAILED, ("systemctl %s succeeded, yet the same instance stands: %s" % (verb, why))[:500])
        return _stands(here)

    # -- the mark

    def _set_mark(self) -> None:
        make_directory(os.path.dirname(self._mark))
        replace_file(self._mark, b"%f\n" % time.monotonic())

    def _remember_reset(self, found: Presence) -> Presence:
        """After a reset it looks as if it had been stopped well; with our mark it is known to have failed."""
        try:
            age = time.monotonic() - float(read_file(self._mark, 100))
        except FileNotFoundError:
            return found
        except (OSError, ValueError) as error:
            return replace(found, detail=("%s; the mark %s cannot be read: %s" % (found.detail, self._mark, error))[:500])
        if found.state in (State.RUNNING, State.STARTING) and self._root:
            remove(self._mark)
        if found.state is State.STOPPED and 0 <= age < _RESET_HOLDS:
            return Presence(State.GONE, None, "%s; our start of it was cut off after reset-failed" % found.detail)
        return found


def _nothing_ran(before: Told, after: Told) -> bool:
    """Was the start refused before anything was executed, as by the start limit? Every real start has an invocation of its own."""
    return after["ActiveState"] == "failed" and after.get("InvocationID") == before.get("InvocationID")


def _stands(here: Presence) -> Outcome:
    if here.state is State.UNKNOWN:
        return Outcome("unknown", Reason.INTERNAL_ERROR, here.detail)
    if here.state is State.STOPPING:
        return Outcome("unknown", Reason.LEASE_HELD, "%s; it can be started when it is gone" % here.detail)
    if here.instance is None:
        return Outcome("ok", None, here.detail)
    return Outcome("ok", None, here.detail, {"pid": here.instance.pid, "instance": here.instance.id})


__all__ = ["MARGIN", "UnitActuator", "canonical", "full_name"]
