# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a host's timeline: see plugins/modules/timeline_fetch.py, which looks at the host and has the documentation."""

from __future__ import annotations

import base64
import os
import time
import zlib
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.faultline.selfheal.plugins.module_utils._core.errors import SelfhealError
from ansible_collections.faultline.selfheal.plugins.module_utils._records.segments import Head
from ansible_collections.faultline.selfheal.plugins.plugin_utils._mirror import Fetched, Mirror, Told

LARGEST = 64 * 1024 * 1024
"""Bytes of lines that one look may give. A host that is not to be trusted may send anything."""


class _LookFailed(Exception):
    """The module failed on the host; its result is Ansible's to show."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(str(result.get("msg", "")))
        self.result = result


class ActionModule(ActionBase):
    """Looks at the host until there is nothing more."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        del tmp  # no longer used by Ansible
        variables = task_vars or {}
        host = str(variables.get("inventory_hostname", ""))
        root = self._task.args.get("mirror")
        if not isinstance(root, str) or not root:
            raise AnsibleActionFail("mirror is missing: name the directory on the controller that keeps the timelines of the fleet")
        mirror = Mirror(os.path.expanduser(root), host, time.time)
        bad: list[dict[str, Any]] = []

        def ask(after: Head) -> Told:
            # The host checks itself once a run, not at every look.
            arguments = {**self._task.args, "after": after._asdict()}
            looked = self._execute_module(
                module_name="faultline.selfheal.timeline_fetch",
                module_args={**arguments, "verify": False} if bad else arguments,
                task_vars=variables,
            )
            if looked.get("failed") or looked.get("skipped") or looked.get("unreachable"):
                raise _LookFailed(looked)
            bad.append(looked.get("first_bad") or {})
            return _told(looked)

        try:
            if self._task.check_mode:
                with_lines = ask(mirror.head)
                found = Fetched(len(with_lines.lines), mirror.head, [])
            else:
                with mirror:
                    found = mirror.fetch(ask)
                    if bad and bad[0] and not any(each["kind"] == "broken" for each in found.faults):
                        found = found._replace(faults=found.faults + [mirror.note_broken(bad[0])])
        except _LookFailed as error:
            return {**result, **error.result}
        except SelfhealError as error:
            raise AnsibleActionFail(str(error)) from None  # Ansible appends a cause to the message, which has it already
        result.update(changed=found.new > 0, new=found.new, head=found.head._asdict(), faults=found.faults, mirror=mirror.path)
        return result


def _told(looked: dict[str, Any]) -> Told:
    """What the module said, read with care: it comes from a host that may have been taken over."""
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(looked["lines"], validate=True), LARGEST)
        if unpacker.unconsumed_tail:
            raise ValueError("more than %d bytes" % LARGEST)
        head = Head(int(looked["head"]["seq"]), str(looked["head"]["hash"]))
        known = looked["known"]
        if known not in (True, False, None):
            raise ValueError("known is %r" % (known,))
        return Told(known, data.split(b"\n") if data else [], head, bool(looked["more"]))
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise AnsibleActionFail("Fetching the timeline: the host's answer cannot be used: %s" % error) from None
