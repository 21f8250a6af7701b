#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: timeline_fetch
short_description: Keep a copy of a host's timeline on the controller, and find out when the host changes its story
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Fetches what the host's timeline has beyond what was fetched before, and nothing else.
  - Every line is checked against the chain of hashes before it is kept, and the newest event that was kept must still be on the host, with
    the hash it had. A timeline that was cut, written anew or altered is told in RV(faults) and does not fail the task. What the host
    says now is kept beside what it said before, which is never removed.
  - The copy has the timeline's own format, so that M(faultline.selfheal.timeline_info) and C(sha256sum) can be turned on it.
options:
  path:
    description: The directory of the timeline on the host.
    type: path
    default: /var/lib/selfheal/timeline
  mirror:
    description:
      - The directory on the controller. Each host has a directory below it.
      - It is created, readable for its owner only, if it does not exist.
    type: path
    required: true
  verify:
    description:
      - Whether the host also checks its whole timeline, which finds events that were altered after they were fetched.
      - A million events take some seconds.
    type: bool
    default: true
  after:
    description: The event after which to fetch. The controller says it; a task has no need to.
    type: dict
    suboptions:
      seq:
        description: Its number, V(0) for all events.
        type: int
        required: true
      hash:
        description: Its SHA-256, 64 zeros for V(0).
        type: str
        required: true
attributes:
  check_mode:
    description: Looks at the host and says how much would be fetched, at least. Keeps nothing.
    support: full
  diff_mode:
    description: There is no difference to show. RV(new) says how many events there were.
    support: none
  idempotent:
    description: A second run fetches what was recorded meanwhile.
    support: full
notes:
  - Two runs at once for one host wait for each other.
requirements:
  - Linux
  - python >= 3.9
seealso:
  - module: faultline.selfheal.fleet_report
  - module: faultline.selfheal.timeline_info
"""

EXAMPLES = r"""
- name: Keep what the hosts say
  faultline.selfheal.timeline_fetch:
    mirror: /var/lib/selfheal/fleet
  register: fetched

- name: Somebody changed a timeline
  ansible.builtin.fail:
    msg: "{{ fetched.faults | map(attribute='problem') | join('; ') }}"
  when: fetched.faults | length > 0
"""

RETURN = r"""
new:
  description: How many events were added to the copy; in check mode how many the first look found.
  type: int
  returned: success
  sample: 12
head:
  description: The newest event of the copy, C(seq) and C(hash). Both zero when there is none.
  type: dict
  returned: success
  sample: {seq: 54, hash: 60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752}
faults:
  description:
    - What was found wrong in this run, each with C(at), C(kind), C(seq) and C(problem).
    - V(rewritten), V(cut) and V(broken) mean that the timeline is not what it was. V(gap) means that the host had to remove events before
      they were fetched.
  type: list
  elements: dict
  returned: success
  sample: []
mirror:
  description: The directory of this host's copy.
  type: str
  returned: success
  sample: /var/lib/selfheal/fleet/web1
"""

import base64
import os
import zlib
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core.errors import RecordError
from ..module_utils._module import Report, absolute, run
from ..module_utils._records.extract import extract
from ..module_utils._records.segments import ZEROS, Head
from ..module_utils._records.verify import parse_anchor, verify


def look(module: Any) -> Report:
    """One look at the host; the controller puts the looks together."""
    absolute(module.params, "path")
    path = module.params["path"]
    after = Head(0, ZEROS) if module.params["after"] is None else parse_anchor(module.params["after"])
    if not os.path.isdir(path) and not after.seq:
        raise RecordError("There is no timeline at %s: no such directory. Is the watchdog of this host installed?" % path)
    first_bad = None
    if module.params["verify"] and os.path.isdir(path):
        first_bad = verify(path).first_bad
    found = extract(path, after)
    result: Dict[str, Any] = {
        "changed": False,
        "known": found.known,
        "count": len(found.lines),
        "lines": base64.b64encode(zlib.compress(b"\n".join(found.lines), 6)).decode("ascii"),
        "head": found.head._asdict(),
        "more": found.more,
        "first_bad": first_bad,
    }
    return Report(result)


def main() -> None:
    spec = {
        "path": {"type": "path", "default": "/var/lib/selfheal/timeline"},
        "mirror": {"type": "path", "required": True},
        "verify": {"type": "bool", "default": True},
        "after": {"type": "dict", "options": {"seq": {"type": "int", "required": True}, "hash": {"type": "str", "required": True}}},
    }
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), look)


if __name__ == "__main__":
    main()
