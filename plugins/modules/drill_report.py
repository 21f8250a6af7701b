#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of an action plugin: the work is done on the controller by plugins/action/drill_report.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_report
short_description: Print the table of drills, and fail for a bad one
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Prints one line for each drill - the fault, when it was detected, when the service answered again, what helped, the limit, the verdict -
    and below it the head of the verified timeline and where the timeline lies.
  - Fails when a verdict is bad, when nothing was drilled, and when the timeline is not what was written.
options:
  drills:
    description: The RV(faultline.selfheal.incident_follow#module:drill) of every drill.
    type: list
    elements: dict
    required: true
  timeline:
    description: The result of M(faultline.selfheal.timeline_info) with O(faultline.selfheal.timeline_info#module:verify).
    type: dict
    required: true
  path:
    description: Where the timeline lies, for people.
    type: str
    required: true
attributes:
  check_mode:
    description: It changes nothing, and reports in check mode as well.
    support: full
  diff_mode:
    description: There is nothing to show a difference of.
    support: none
  idempotent:
    description: It changes nothing.
    support: full
notes:
  - It runs on the controller and needs no connection to the host.
seealso:
  - module: faultline.selfheal.fault_inject
  - module: faultline.selfheal.incident_follow
  - module: faultline.selfheal.timeline_info
"""

EXAMPLES = r"""
- name: Verify the timeline
  faultline.selfheal.timeline_info:
    verify: true
    limit: 0
  register: timeline

- name: Report one drill
  faultline.selfheal.drill_report:
    drills: ["{{ followed.drill }}"]
    timeline: "{{ timeline }}"
    path: /var/lib/selfheal/timeline

- name: Report all drills of a loop over faults
  faultline.selfheal.drill_report:
    drills: "{{ followed.results | map(attribute='drill') | list }}"
    timeline: "{{ timeline }}"
    path: /var/lib/selfheal/timeline

- name: Report the drills of all hosts at once
  faultline.selfheal.drill_report:
    drills: "{{ ansible_play_hosts | map('extract', hostvars, 'drill_row') | list }}"
    timeline: "{{ timeline }}"
    path: /var/lib/selfheal/timeline
  run_once: true

- name: Report, and go on with a bad drill
  faultline.selfheal.drill_report:
    drills: "{{ drill_rows }}"
    timeline: "{{ timeline }}"
    path: /var/lib/selfheal/timeline
  register: reported
  failed_when: false

- name: Page somebody for it
  ansible.builtin.debug:
    msg: "{{ reported.bad | join('; ') }}"
  when: reported.verdict == 'bad'
"""

RETURN = r"""
verdict:
  description: V(good), or V(bad) when there is anything in RV(bad).
  type: str
  returned: always
  sample: good
bad:
  description: What is bad, one sentence each.
  type: list
  elements: str
  returned: always
  sample: []
"""
