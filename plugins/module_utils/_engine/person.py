# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is at the keyboard: for holds, approvals and events."""

from __future__ import annotations

import os
import pwd


def owner() -> str:
    """The real person's user name, also behind sudo; a number where the name is unknown."""
    if os.geteuid() == 0:
        name = os.environ.get("SUDO_USER", "")
        if name and name.isprintable() and len(name) <= 64:
            return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return "uid %d" % os.getuid()


__all__ = ["owner"]
