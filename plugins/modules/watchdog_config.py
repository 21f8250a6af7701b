#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of an action plugin: the work is done on the controller by plugins/action/watchdog_config.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: watchdog_config
short_description: Check contracts and the watchdog's configuration on the controller, and put them onto a host
version_added: "0.1.0"
description:
  - Reads contracts and the configuration with the parser the watchdog itself uses, and fails with all their problems at once, each with
    its path. That happens on the controller, before anything on the host is touched.
  - With O(dest) the file is then copied as M(ansible.builtin.copy) does, and only when its content differs.
  - The difference that diff mode shows has no secrets. Values of headers, environments, bodies and of everything that is called a
    password, token or the like are hidden, as are the paths of webhooks. Where one changed, that is said.
author:
  - the faultline.selfheal maintainers (@faultline)
options:
  services:
    description: The contracts, as they stand in the inventory in C(selfheal_services). An empty list is well.
    type: list
    elements: dict
  configuration:
    description: The content of C(watchdog.json).
    type: dict
  dest:
    description:
      - The file on the host. The owner is root.
      - Without it, O(services) and O(configuration) are checked only.
    type: path
  validate:
    description: A command that must agree with the file before it replaces the old one, with C(%s) for its path.
    type: str
  mode:
    description: The file's mode. Contracts can hold secrets.
    type: str
    default: "0640"
attributes:
  check_mode:
    description: Can run in check mode and return what would change, without changing anything.
    support: full
  diff_mode:
    description: Returns what has changed, or would change in check mode, when in diff mode.
    support: full
    details:
      - Secrets are hidden.
  idempotent:
    description: A second run of the same task changes nothing.
    support: full
notes:
  - Give O(services) or O(configuration), or both to check them together. O(dest) takes one of them.
seealso:
  - module: ansible.builtin.copy
  - module: faultline.selfheal.watchdog_archive
"""

EXAMPLES = r"""
- name: Check the contracts of every host, and touch none
  faultline.selfheal.watchdog_config:
    services: "{{ selfheal_services }}"

- name: Say what a contract promises that this version does not act on
  faultline.selfheal.watchdog_config:
    services: "{{ selfheal_services }}"
  register: contracts

- name: Show it
  ansible.builtin.debug:
    var: contracts.notes
  when: contracts.notes | length > 0

- name: Check contracts and configuration together
  faultline.selfheal.watchdog_config:
    services: "{{ selfheal_services }}"
    configuration:
      schema: 1
      host: "{{ inventory_hostname }}"

- name: Put the contracts onto the host
  faultline.selfheal.watchdog_config:
    services: "{{ selfheal_services }}"
    dest: /etc/selfheal/contracts.json
    validate: /usr/local/bin/selfheal check --contracts %s

- name: Put the configuration there
  faultline.selfheal.watchdog_config:
    configuration:
      schema: 1
      host: "{{ inventory_hostname }}"
      mode_ceiling: observe
    dest: /etc/selfheal/watchdog.json

- name: Show what would change, without secrets
  faultline.selfheal.watchdog_config:
    services: "{{ selfheal_services }}"
    dest: /etc/selfheal/contracts.json
  check_mode: true
  diff: true
"""

RETURN = r"""
services:
  description: The names of the services.
  type: list
  elements: str
  returned: success
  sample: [web, db]
notes:
  description: By service, what its contract promises beyond what this version does about it.
  type: dict
  returned: success
  sample:
    web:
      - "slow.predict: trends are not watched by this version"
paths:
  description: Directories and files of the host that the contracts name, such as roots of releases and pidfiles.
  type: list
  elements: str
  returned: success
  sample: [/var/www]
rights:
  description:
    - What the watchdog must be allowed beyond asking systemd, since contracts name files of other users (V(files)), or processes that no
      unit holds (V(signal)).
  type: list
  elements: str
  returned: success
  sample: [files]
dest:
  description: The file on the host.
  type: str
  returned: when O(dest) was given
  sample: /etc/selfheal/contracts.json
"""
