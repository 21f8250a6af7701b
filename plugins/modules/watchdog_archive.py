#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of an action plugin: the work is done on the controller by plugins/action/watchdog_archive.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: watchdog_archive
short_description: Build the watchdog's one file, selfheal.pyz, on the controller
version_added: "0.1.0"
description:
  - Packs the library and the daemon of the installed collection into one zip application, which any Python 3.9 or newer runs with
    C(python3 -I selfheal.pyz).
  - The archive depends on the bytes of its sources and on nothing else. An unchanged collection gives an unchanged checksum on every
    controller and with every Python, so a host's watchdog is only restarted when there is something new.
  - The file is replaced atomically, and left alone when it already has the right content.
author:
  - the faultline.selfheal maintainers (@faultline)
options:
  dest:
    description:
      - Where to leave the archive on the controller. A relative path is relative to the playbook's directory.
      - When it is an existing directory, the file V(selfheal.pyz) is written into it. A missing parent directory is an error.
    type: path
    required: true
attributes:
  check_mode:
    description: Can run in check mode and return what would change, without changing anything.
    support: full
  diff_mode:
    description: Returns what has changed, or would change in check mode, when in diff mode.
    support: full
    details:
      - The difference shows the checksums, not the contents.
  idempotent:
    description: A second run of the same task changes nothing.
    support: full
notes:
  - It runs on the controller and needs no connection to the host. Set C(run_once=true), one archive serves a whole fleet.
seealso:
  - module: ansible.builtin.copy
"""

EXAMPLES = r"""
- name: Build the archive beside the playbook, once for all hosts
  faultline.selfheal.watchdog_archive:
    dest: build/selfheal.pyz
  run_once: true
  register: archive

- name: Put it on every host
  ansible.builtin.copy:
    src: "{{ archive.path }}"
    dest: /usr/local/lib/selfheal/selfheal.pyz
    mode: "0644"

- name: Build into a directory that exists
  faultline.selfheal.watchdog_archive:
    dest: /var/cache/selfheal

- name: Ask whether the fleet would get something new, without writing it
  faultline.selfheal.watchdog_archive:
    dest: /var/cache/selfheal/selfheal.pyz
  check_mode: true
  diff: true
  register: pending

- name: Say so
  ansible.builtin.debug:
    msg: "A new watchdog is ready: {{ pending.checksum }}"
  when: pending.changed

- name: Refuse to go on with an archive that was not reviewed
  ansible.builtin.assert:
    that: archive.checksum == reviewed_checksum
"""

RETURN = r"""
path:
  description: The archive's absolute path on the controller.
  type: str
  returned: success
  sample: /var/cache/selfheal/selfheal.pyz
checksum:
  description: Its SHA-256. In check mode that of the archive that would be written.
  type: str
  returned: success
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
size:
  description: Its size in bytes.
  type: int
  returned: success
  sample: 412331
"""
