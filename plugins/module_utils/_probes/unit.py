# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probe kind ``unit``: systemd says that a unit is active.

It sees what systemd sees: a process that is up but hangs is active. Give such a service an http or tcp probe as well.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

from .._core.reasons import Reason
from .._core.target import UnitTarget
from .._host import Machine, Outcome, Step
from .._spawn import Run
from .engine import LONGEST_DETAIL

PLACES = ("/usr/bin/systemctl", "/bin/systemctl")
BOOTED = "/run/systemd/system"
"""Exists exactly where systemd is the init system: sd_booted(3)."""

_PROPERTIES = ("LoadState", "ActiveState", "SubState", "Result", "ExecMainStatus")
_ACTIVE = ("active", "reloading", "refreshing")


class UnitProbe(Step):
    """Asks ``systemctl show`` once. data: the properties it told, by their systemd names."""

    __slots__ = ("name", "run")

    def __init__(self, target: UnitTarget) -> None:
        self.name = target.name
        program = next((place for place in PLACES if os.path.exists(place)), None)
        self.run = None if program is None else Run((program, "show", "--property=" + ",".join(_PROPERTIES), "--", target.name))

    def begin(self, now: float) -> Machine:
        return _UnitMachine(self, now)


class _UnitMachine(Machine):
    """A ``systemctl`` under way, whose end is put into a probe's words."""

    def __init__(self, probe: UnitProbe, now: float) -> None:
        self._name = probe.name
        self._run: Optional[Machine] = None
        if probe.run is None or not os.path.isdir(BOOTED):
            missing = "there is no systemctl here" if probe.run is None else "systemd does not run this machine"
            self.outcome = Outcome("unknown", Reason.NO_SUCH_PROGRAM, "%s: %s; use another kind of probe" % (probe.name, missing))
            return
        self._run = probe.run.begin(now)
        self._follow()

    def _follow(self) -> None:
        if self._run is not None:
            self.fd, self.events = self._run.fd, self._run.events
            if self._run.outcome is not None:
                self.outcome = judge(self._name, self._run.outcome)

    def advance(self, now: float) -> None:
        if self._run is not None:
            self._run.advance(now)
            self._follow()

    def expire(self, now: float) -> None:
        # systemd that does not answer says nothing about the unit.
        self.outcome = Outcome("unknown", Reason.TIMEOUT, "%s: systemctl show gave no answer in time" % self._name)

    def close(self) -> None:
        if self._run is not None:
            self._run.close()


def judge(name: str, shown: Outcome) -> Outcome:
    """What ``systemctl show`` printed, as the outcome of a probe."""
    if shown.status != "ok":
        found = str(shown.data.get("stderr") or shown.detail).strip().replace("\n", " ")
        reason = shown.reason if shown.status == "unknown" else Reason.EXIT_STATUS
        return Outcome("unknown", reason, ("%s: systemctl show failed: %s" % (name, found))[:LONGEST_DETAIL], shown.data)
    told: Dict[str, Any] = dict(line.split("=", 1) for line in str(shown.data.get("stdout", "")).splitlines() if "=" in line)
    active, sub = told.get("ActiveState", ""), told.get("SubState", "")
    detail = "%s is %s (%s)" % (name, active, sub)
    if active in _ACTIVE:
        return Outcome("ok", None, detail, told)
    if told.get("LoadState") in ("not-found", "masked", "bad-setting", "error"):
        return Outcome("bad", Reason.NOT_ACTIVE, "%s is %s: its definition is %s" % (name, active, told["LoadState"]), told)
    if active == "activating" and sub != "auto-restart":
        return Outcome("unknown", Reason.NOT_ACTIVE, "%s; it is starting, so it is neither up nor down yet" % detail, told)
    if active in ("failed", "inactive", "deactivating", "activating"):
        finding = "%s, result %s, exit status %s" % (detail, told.get("Result", "unknown"), told.get("ExecMainStatus", "unknown"))
        return Outcome("bad", Reason.NOT_ACTIVE, finding, told)
    strange = "%s: systemctl show told no state that is known: %r" % (name, told)
    return Outcome("unknown", Reason.NOT_ACTIVE, strange[:LONGEST_DETAIL], told)


__all__ = ["UnitProbe", "judge"]
