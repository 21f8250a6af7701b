# -*- coding: utf-8 -*-
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a host keeps what the watchdog knows: the options of every module that reads or writes there."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  etc:
    description: The directory of the host's configuration, C(watchdog.json) and C(contracts.json), and of the red button C(hold).
    type: path
    default: /etc/selfheal
  state_dir:
    description:
      - The directory of the timeline, of holds, and of what is remembered of each service. It is created when something is written.
      - The default is that of C(watchdog.json), and without that file C(/var/lib/selfheal).
    type: path
  run_dir:
    description:
      - The directory of the leases, of the records of running processes, and of faults. It is created when something is written.
      - The default is that of C(watchdog.json), and without that file C(/run/selfheal).
    type: path
"""
