# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows a fault live: see plugins/modules/incident_follow.py, which looks at the host and has the documentation."""

from __future__ import annotations

import os
import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.faultline.selfheal.plugins.plugin_utils import _story as story

LIMITS = {"detected_ms": 50.0, "restart_ms": 100.0, "hang_extra_ms": 2000.0}
WAIT = 2.0
display = Display()


class ActionModule(ActionBase):
    """One look after the other by the module of the same name, each short, so that a lost connection is noticed and Ctrl-C works."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        del tmp  # no longer used by Ansible
        variables = task_vars or {}
        arguments = dict(self._task.args)
        timeout = float(arguments.get("timeout", 120))
        limits = {**LIMITS, **{key: float(value) for key, value in dict(arguments.get("limits") or {}).items()}}
        host = str(variables.get("inventory_hostname", ""))
        events: list[dict[str, Any]] = []
        fault: dict[str, Any] = {}
        controller = os.getppid()
        until = time.monotonic() + timeout
        last = int(arguments.get("after_seq", 0))
        while True:
            wait = min(float(arguments.get("wait", WAIT)), max(0.0, until - time.monotonic()))
            looked = self._look({**arguments, "after_seq": last, "wait": wait}, variables)
            if looked.get("failed"):
                return {**result, **looked}
            fault, last = looked["fault"], looked["seq"]
            for event in looked["events"]:
                self._show(event, fault, first=not events)
                events.append(event)
            ended = story.outcome(events, fault)
            if ended is not None or time.monotonic() >= until or os.getppid() != controller:
                break
        drill = story.row(host, events, fault, ended or "timeout", limits)
        if ended is None:
            display.display("  gave up after %g s" % timeout, color="bright red")
        result.update(changed=False, events=events, seq=last, fault=fault, drill=drill)
        return result

    def _look(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        looked: dict[str, Any] = self._execute_module(
            module_name="faultline.selfheal.incident_follow", module_args=arguments, task_vars=variables
        )
        return looked

    @staticmethod
    def _show(event: dict[str, Any], fault: dict[str, Any], first: bool) -> None:
        if first:
            display.display("")
        step = story.line(event, fault["failure_time"], story.measured_ms(event))
        display.display(str(step), color=step.color)
