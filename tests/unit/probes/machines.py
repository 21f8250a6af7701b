# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps and machines that do as they are told."""

from __future__ import annotations

from selfheal._host import Machine, Outcome, Step
from selfheal._probes.engine import READ


class Scripted(Step):
    """A step whose machine is made by a function; `closed` counts releases."""

    def __init__(self, make):
        self.make = make
        self.closed = 0

    def begin(self, now):
        machine = self.make(self)
        return machine


class Quiet(Machine):
    """Waits for its deadline, or for a descriptor."""

    def __init__(self, step, fd=None, events=READ, outcome=None):
        self.step, self.fd, self.events, self.outcome = step, fd, events, outcome
        self.advanced = 0

    def advance(self, now):
        self.advanced += 1
        self.outcome = Outcome("ok", None, "advanced")

    def close(self):
        self.step.closed += 1


def quiet(**options):
    return Scripted(lambda step: Quiet(step, **options))
