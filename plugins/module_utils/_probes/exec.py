# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exec probe: a program of the operator's whose exit status 0 means healthy."""

from __future__ import annotations

from dataclasses import dataclass

from .._core.target import ExecTarget
from .._host import Machine, Step
from .._transient import OperatorCommand


@dataclass(frozen=True)
class ExecProbe(Step):
    """ok: exit status 0 · bad: exit_status, killed_by_signal, timeout · unknown: it could not be started. `detail` ends with its last line.

    `limit`: the probe's timeout in seconds; where the program runs as a transient unit, that unit ends by then even without us.
    """

    target: ExecTarget
    limit: float = 60.0

    def begin(self, now: float) -> Machine:
        target = self.target
        return OperatorCommand(target.argv, self.limit, target.user, target.cwd, target.environment).begin(now)


__all__ = ["ExecProbe"]
