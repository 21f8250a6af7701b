# -*- coding: utf-8 -*-
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long to wait for others, and what may be lifted: the options of every module that deploys."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  wait:
    description:
      - Seconds to wait for whoever else deploys or heals at this moment. When they are over, the task fails and names the holder.
    type: float
    default: 0
  override:
    description: Guards to lift, by their reasons. That is recorded.
    type: list
    elements: str
    default: []
    choices:
      - hold
  host:
    description:
      - The host's name in events.
      - The default is that of C(watchdog.json), and without that file the name the system gives itself.
    type: str
"""
