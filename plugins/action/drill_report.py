# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints the table of drills and fails for a bad one: see plugins/modules/drill_report.py for its documentation."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.faultline.selfheal.plugins.plugin_utils import _story as story

display = Display()


class ActionModule(ActionBase):
    """Runs on the controller only."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        del tmp  # no longer used by Ansible
        spec = {
            "drills": {"type": "list", "elements": "dict", "required": True},
            "timeline": {"type": "dict", "required": True},
            "path": {"type": "str", "required": True},
        }
        unused, arguments = self.validate_argument_spec(spec)
        del unused
        drills, timeline = arguments["drills"], arguments["timeline"]
        bad = ["%s of %s: %s" % (each["fault"], each["service"], problem) for each in drills for problem in each["problems"]]
        if not drills:
            bad.append("nothing was drilled")
        if timeline.get("valid") is not True:
            bad.append("the timeline is not what was written: %s" % story.printable(timeline.get("first_bad") or timeline.get("detail")))
        self._show(drills, timeline, arguments["path"], bad)
        result.update(changed=False, bad=bad, verdict="bad" if bad else "good")
        if bad:
            result.update(failed=True, msg="The drill was not passed: %s" % "; ".join(bad))
        return result

    @staticmethod
    def _show(drills: list[dict[str, Any]], timeline: dict[str, Any], path: str, bad: list[str]) -> None:
        display.display("")
        headings, *lines = story.table(drills)
        display.display(headings)
        for each, text in zip(drills, lines):
            display.display(text, color="green" if each["verdict"] == "good" else "bright red")
        display.display("")
        for each in drills:
            display.display("  limit of %s: %s" % (each["fault"], each["limit_text"]))
        for problem in bad:
            display.display("  bad: %s" % problem, color="bright red")
        head = timeline.get("head") or {}
        verified = "verified, %s events" % timeline.get("checked") if timeline.get("valid") is True else "NOT valid"
        display.display("")
        display.display("  timeline  %s" % verified, color="green" if timeline.get("valid") is True else "bright red")
        display.display("  head      %s:%s" % (head.get("seq"), head.get("hash")))
        display.display("  path      %s" % story.printable(path, 400))
        display.display("")
