# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people do to containers, on a real engine: it is respected, and told from a crash."""

from __future__ import annotations

import pytest
from dock import DockBed


@pytest.mark.over("debian12", "debian13", "podman")
@pytest.mark.parametrize("verb", ["stop", "kill", "pause"])
def test_what_an_operator_stops_stays_so(docked: DockBed, verb: str) -> None:
    """C01 docker stop, kill and pause are people's words: the state is stopped, nothing is started, and its return is noticed."""
    docked.watch(docked.container("web", "--stop-timeout", "1"), docked.container("kept", "--stop-timeout", "1", "--restart", "always"))
    for name in ("web", "kept"):
        docked.docker(verb, name)
    for name in ("web", "kept"):
        docked.in_state(name, "stopped")
    # It stays so over a restart of the watchdog, which has heard none of the events.
    docked.sh("systemctl restart selfheal-watchdog")
    for name in ("web", "kept"):
        docked.in_state(name, "stopped")
    assert not docked.events("start", "restart", "recreate", "page")
    docked.docker("unpause" if verb == "pause" else "start", "web", "kept")
    docked.healthy("web")
    assert not docked.events("start", "restart", "page")


@pytest.mark.over("debian12", "debian13", "podman")
def test_desired_always_is_stronger_than_an_operator(docked: DockBed) -> None:
    """desired: always starts again what was stopped, and lets go on what was paused."""
    docked.watch(docked.container("web", "--stop-timeout", "1", desired="always"))
    docked.docker("stop", "web")
    docked.event("recover", within=30)
    docked.docker("pause", "web")
    docked.event("recover", count=2, within=30)
    assert docked.running("web") and not docked.told("web")["State"]["Paused"]
