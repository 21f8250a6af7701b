#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of an action plugin: the work is done on the controller by plugins/action/fleet_report.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_report
short_description: Make one report of all that happened to the services of a fleet
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Reads the copies of the hosts' timelines that M(faultline.selfheal.timeline_fetch) keeps, and writes C(report.json), C(services.csv),
    C(incidents.csv) and C(index.html).
  - The page needs nothing but itself. It shows how quickly faults were found and mended, what helped, what was not done and why, whether
    each host's timeline is what it was, and every incident on a picture one can zoom and filter.
  - The newest 5000 incidents are in the page and in C(report.json). All of them are in C(incidents.csv).
  - Each file is replaced when the new one is complete.
options:
  mirror:
    description: The directory with the copies.
    type: path
    required: true
  dest:
    description: The directory to write into. It is created if it does not exist; its parent need not exist either.
    type: path
    required: true
  hosts:
    description: The hosts to report on. An empty list makes an empty report.
    type: list
    elements: str
    required: true
  unreached:
    description: Why a host could not be asked this time, by its name. Its copy is reported on all the same, and the report says so.
    type: dict
    default: {}
  since:
    description: The beginning of the period, a point in time with its zone or a span before now such as V(24h), V(7d) or V(4w).
    type: str
    default: 30d
  title:
    description: What stands above the report.
    type: str
    default: Self-healing report
attributes:
  check_mode:
    description: Reads everything and returns the numbers. Writes nothing.
    support: full
  diff_mode:
    description: A report is new each time.
    support: none
  idempotent:
    description: Every report carries the time at which it was made.
    support: none
notes:
  - It runs on the controller and needs no connection to a host. Set C(run_once=true).
  - In the CSV files text that a spreadsheet would run as a formula is preceded by an apostrophe.
seealso:
  - module: faultline.selfheal.timeline_fetch
  - module: faultline.selfheal.timeline_info
"""

EXAMPLES = r"""
- name: Report the last week
  faultline.selfheal.fleet_report:
    mirror: /var/lib/selfheal/fleet
    dest: /var/www/selfheal
    hosts: "{{ ansible_play_hosts_all }}"
    since: 7d
  run_once: true
  register: report

- name: Fail when a timeline is not what it was
  ansible.builtin.assert:
    that: report.tampered | length == 0
    fail_msg: "The timelines of {{ report.tampered | join(', ') }} are not what they were"
"""

RETURN = r"""
total:
  description:
    - Everything together, C(hosts), C(unreached), C(chains), C(events) and the numbers that
      RV(faultline.selfheal.timeline_info#module:statistics) has for a service.
    - C(rungs) has for each rung of the ladder C(total), C(recovered) and the success C(rate).
  type: dict
  returned: success
  sample: {hosts: 2, unreached: 0, chains: {intact: 2}, events: 812, incidents: 4, recovered: 4, pages: 0, availability: 0.999998}
services:
  description: The same for each service over all its hosts, with the number of C(hosts).
  type: dict
  returned: success
  sample: {web: {hosts: 2, incidents: 4, recovered: 4, pages: 0, availability: 0.999998}}
tampered:
  description: The hosts whose timeline was cut, altered or written anew within the period.
  type: list
  elements: str
  returned: success
  sample: []
paths:
  description: The files that were written, or would be in check mode.
  type: dict
  returned: success
  sample: {"index.html": /var/www/selfheal/index.html, "report.json": /var/www/selfheal/report.json}
"""
