# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command line's exit statuses mean."""

from __future__ import annotations

FINE = 0
UNHEALTHY = 1
USAGE = 2
BLOCKED = 3
CANNOT = 4
INTERRUPTED = 130
"""Ctrl-C, as shells say it."""

__all__ = ["BLOCKED", "CANNOT", "FINE", "INTERRUPTED", "UNHEALTHY", "USAGE"]
