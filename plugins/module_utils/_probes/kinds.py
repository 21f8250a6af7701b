# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one table from what a contract names to the step that probes it.

Each kind is imported when it is first named: a host that probes by HTTP alone never loads what runs processes.
"""

from __future__ import annotations

from typing import Any, Callable, Dict

from .._core.target import Target
from .._host import Step


def _http(target: Any, _instance: Any) -> Step:
    from .http import HttpProbe

    return HttpProbe(target)


def _tcp(target: Any, _instance: Any) -> Step:
    from .tcp import TcpProbe

    return TcpProbe(target)


def _exec(target: Any, _instance: Any) -> Step:
    from .exec import ExecProbe

    return ExecProbe(target)


def _unit(target: Any, _instance: Any) -> Step:
    from .unit import UnitProbe

    return UnitProbe(target)


def _process(target: Any, instance: Any) -> Step:
    from .process import ProcessProbe

    return ProcessProbe(target, instance)


STEPS: Dict[str, Callable[[Any, Any], Step]] = {"http": _http, "tcp": _tcp, "exec": _exec, "unit": _unit, "process": _process}


def step_for(target: Target, *, resource_instance: Any = None) -> Step:
    """The step that probes `target`, to be begun any number of times.

    resource_instance: for a ``process`` target without a pidfile, the life of the service's own process that is asked after.
    """
    return STEPS[target.kind](target, resource_instance)


__all__ = ["STEPS", "step_for"]
