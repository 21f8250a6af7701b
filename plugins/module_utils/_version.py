# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The version of the collection, as galaxy.yml says it; a test holds them alike."""

from __future__ import annotations

VERSION = "0.1.0"


__all__ = ["VERSION"]
