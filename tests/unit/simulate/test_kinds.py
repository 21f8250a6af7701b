# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a script may say, the simulation plays."""

from __future__ import annotations

from selfheal._core import scenario
from selfheal._engine import simulation


def test_every_kind_of_entry_is_played() -> None:
    """No entry that the parser takes is unknown to the world it is written for."""
    assert sorted(simulation._APPLY) == sorted(scenario._kinds(()))
    assert sorted(simulation._OPERATE) == sorted(scenario.OPERATORS)
