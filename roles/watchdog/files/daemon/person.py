# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is at the keyboard: asked the same way by the modules."""

from __future__ import annotations

from .._engine.person import owner

__all__ = ["owner"]
