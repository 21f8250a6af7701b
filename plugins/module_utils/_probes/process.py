# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process probe: does that very process run? By pid and start time, never by a pidfile's number alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .._core.reasons import Reason
from .._core.target import ProcessTarget
from .._host import Machine, Outcome, Step
from .._proc import parse_instance, stat
from .pidfile import PidfileRefused, read_pidfile


@dataclass(frozen=True)
class ProcessProbe(Step):
    """ok: it runs (also when stopped by a signal: that is for other probes to tell) · bad: not_running · unknown: it may not be looked at.

    Without a pidfile in the target, `instance` is the id of the instance that the service's own resource keeps, None when it keeps none.
    data: ``pid``.
    """

    target: ProcessTarget
    instance: Optional[str] = None

    def begin(self, now: float) -> Machine:
        machine = _Looked()
        try:
            machine.outcome = _by_pidfile(self.target.pidfile) if self.target.pidfile is not None else _by_instance(self.instance)
        except OSError as error:
            machine.outcome = Outcome("unknown", Reason.NO_PERMISSION, ("cannot look at the process: %s" % error)[:500])
        return machine


class _Looked(Machine):
    """Done as soon as it has begun: reading /proc does not wait."""

    def advance(self, now: float) -> None:
        """Never called: there is no descriptor."""


def _by_pidfile(path: str) -> Outcome:
    try:
        process = read_pidfile(path)
    except PidfileRefused as refusal:
        if refusal.unreadable:
            return Outcome("unknown", Reason.NO_PERMISSION, str(refusal))
        return Outcome("bad", Reason.NOT_RUNNING, str(refusal))
    if process is None:
        return Outcome("bad", Reason.NOT_RUNNING, ("there is no pidfile %s" % path)[:500])
    return Outcome("ok", None, "pid %d runs" % process.pid, {"pid": process.pid})


def _by_instance(instance: Optional[str]) -> Outcome:
    if instance is None:
        return Outcome("bad", Reason.NOT_RUNNING, "no process is on record")
    pid, start_time = parse_instance(instance)
    process = stat(pid)
    if process is None or process.start_time != start_time:
        return Outcome("bad", Reason.NOT_RUNNING, "pid %d is gone" % pid)
    if process.dead:
        return Outcome("bad", Reason.NOT_RUNNING, "pid %d has ended and was not reaped" % pid)
    return Outcome("ok", None, "pid %d runs" % pid, {"pid": pid})


__all__ = ["ProcessProbe"]
