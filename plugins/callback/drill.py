# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Standard output for people who want to watch a drill and not Ansible."""

from __future__ import annotations

DOCUMENTATION = r"""
name: drill
type: stdout
short_description: Shows a drill's own lines, messages and failures, and nothing else
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Prints what C(incident_follow) and C(drill_report) have to say as it comes, messages of C(ansible.builtin.debug) as plain lines, and
    failures as the default output does. Names of tasks and their results are left out.
  - With C(-v) it is the default output.
extends_documentation_fragment:
  - ansible.builtin.default_callback
  - ansible.builtin.result_format_callback
"""

from typing import Any

from ansible.plugins.callback.default import CallbackModule as Default

MESSAGES = frozenset(["debug", "ansible.builtin.debug", "ansible.legacy.debug"])
SPOKEN = frozenset(["faultline.selfheal.drill_report"])
"""Actions that have said themselves, in lines, why they fail."""


class CallbackModule(Default):
    """The default output, with most of it kept back unless somebody asks for it. A failure still says in which task it happened."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "faultline.selfheal.drill"

    @property
    def _quiet(self) -> bool:
        return self._display.verbosity == 0

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play
        if not self._quiet:
            super().v2_playbook_on_play_start(play)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        if not self._quiet:
            super().v2_playbook_on_task_start(task, is_conditional)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        if not self._quiet:
            super().v2_runner_on_start(host, task)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        if not self._quiet:
            super().v2_playbook_on_include(included_file)

    def v2_runner_on_ok(self, result: Any) -> None:
        if not self._quiet:
            super().v2_runner_on_ok(result)
            return
        self._handle_warnings_and_exception(result)
        if "results" not in result.result:
            self._say(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        if self._quiet:
            self._say(result)
        else:
            super().v2_runner_item_on_ok(result)

    def v2_runner_retry(self, result: Any) -> None:
        if not self._quiet:
            super().v2_runner_retry(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        if not self._quiet:
            super().v2_runner_on_skipped(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        if not self._quiet:
            super().v2_runner_item_on_skipped(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not self._quiet or result.task.action not in SPOKEN:
            super().v2_runner_on_failed(result, ignore_errors=ignore_errors)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if not self._quiet:
            super().v2_playbook_on_stats(stats)

    def _say(self, result: Any) -> None:
        if result.task.action in MESSAGES and isinstance(result.result.get("msg"), str):
            self._display.display("  " + result.result["msg"].strip())
