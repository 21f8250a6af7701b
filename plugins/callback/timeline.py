# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every run leaves one event for each of its hosts in the controller's timeline."""

from __future__ import annotations

DOCUMENTATION = r"""
name: timeline
type: notification
short_description: Records how a run ended on each host in the controller's timeline
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - At the end of a playbook, each of its hosts gets one event C(run_result) in a timeline on the controller, with what was counted, how
    long it took, and the names of tasks that failed. M(faultline.selfheal.timeline_info) reads it.
  - Neither variables nor results nor messages are recorded, since they may hold secrets. Names of tasks are.
  - A timeline that cannot be written is warned about, and never fails a run.
  - A run that was killed leaves nothing.
requirements:
  - enable it with C(callbacks_enabled = faultline.selfheal.timeline), or the environment variable C(ANSIBLE_CALLBACKS_ENABLED)
options:
  path:
    description: The directory of the timeline on the controller.
    type: path
    default: ~/.local/share/selfheal/timeline
    env:
      - name: SELFHEAL_CALLBACK_TIMELINE
    ini:
      - section: callback_selfheal_timeline
        key: path
  run:
    description: What started the run, such as a timer's name. It is recorded with each event, as is the C(invocation) of systemd by which
      the journal has it, if there is one.
    type: str
    default: ""
    env:
      - name: SELFHEAL_RUN
    ini:
      - section: callback_selfheal_timeline
        key: run
"""

EXAMPLES = r"""
# ansible.cfg
# [defaults]
# callbacks_enabled = faultline.selfheal.timeline
# [callback_selfheal_timeline]
# path = /var/lib/selfheal-controller/timeline
"""

import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

MOST_TASKS = 20
"""Names of failed tasks that one event takes."""
AT_ONCE = 200
"""Events written at once; 1 MiB is the most."""
COUNTED = ("ok", "changed", "failures", "unreachable", "skipped", "rescued", "ignored")


def playbook_name(path: str) -> str:
    """How an operator calls it: a playbook of a collection by its full name, another by its file's."""
    parts = os.path.abspath(path).split(os.sep)
    stem = os.path.splitext(parts[-1])[0]
    if "ansible_collections" in parts:
        begin = len(parts) - 1 - parts[::-1].index("ansible_collections")
        if len(parts) == begin + 5 and parts[begin + 3] == "playbooks":
            return ".".join([parts[begin + 1], parts[begin + 2], stem])
    return parts[-1]


def outcome(counts: dict[str, int]) -> str:
    for word, key in (("failed", "failures"), ("unreachable", "unreachable"), ("changed", "changed")):
        if counts.get(key):
            return word
    return "ok"


class CallbackModule(CallbackBase):
    """Listens to what ends badly, and writes it all down when the play is over."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "faultline.selfheal.timeline"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, display: Any = None, options: Any = None) -> None:
        super().__init__(display=display, options=options)
        self._began = time.monotonic()
        self._playbook = ""
        self._check = False
        self._failed: dict[str, list[str]] = {}

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._playbook = playbook_name(str(playbook._file_name))
        self._began = time.monotonic()

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._check = self._check or bool(getattr(play, "check_mode", False))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._note(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        if not getattr(result.task, "ignore_unreachable", False):
            self._note(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        try:
            self._write(stats)
        except Exception as error:  # whatever it is, the run has ended as it has, and must not be told otherwise
            self._display.warning("The run is not in the timeline: %s: %s" % (type(error).__name__, error))

    def _note(self, result: Any) -> None:
        tasks = self._failed.setdefault(str(result.host.get_name()), [])
        if len(tasks) < MOST_TASKS:
            tasks.append(str(result.task.get_name()))

    def _write(self, stats: Any) -> None:
        # Only now: a run without this callback, or without hosts, need not load the library.
        from ansible_collections.faultline.selfheal.plugins.module_utils._records.timeline import Timeline

        path = os.path.expanduser(str(self.get_option("path")))
        took = int((time.monotonic() - self._began) * 1000)
        drafts = []
        for host in sorted(stats.processed):
            counts = {key: value for key, value in stats.summarize(host).items() if key in COUNTED}
            data: dict[str, Any] = {"playbook": self._playbook, "outcome": outcome(counts), "took_ms": took, **counts}
            if self.get_option("run"):
                data["run"] = str(self.get_option("run"))
                # By this the timer's unit knows that what it would record of the run is on record.
                if os.environ.get("INVOCATION_ID"):
                    data["invocation"] = os.environ["INVOCATION_ID"]
            if self._check:
                data["check"] = True
            if self._failed.get(host):
                data["failed_tasks"] = self._failed[host]
            drafts.append(Timeline(path, str(host)).draft("run_result", source="runbook", data=data))
        timeline = Timeline(path, "controller")
        try:
            for begin in range(0, len(drafts), AT_ONCE):
                timeline.write_all(drafts[begin : begin + AT_ONCE])
        finally:
            timeline.close()
