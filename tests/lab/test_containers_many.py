# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hundred containers of which twenty fail at once, for the watchdog and for container_heal."""

from __future__ import annotations

from typing import Callable

import pytest
from bed import until
from dock import IMAGE, DockBed, Healing

MANY = 100
FAILED = 20
MADE = "seq -w 1 %d | xargs -P 4 -I N docker run -d --network none --name cN --label many=yes %s /bin/sh -c 'exec sleep 10000' >/dev/null"


@pytest.mark.long(110)
@pytest.mark.over("debian12")
def test_a_hundred_of_which_twenty_fail(docked: DockBed, healing: Healing, measured: Callable[[str], None]) -> None:
    """Each of the twenty is started once, none of the others is touched, nobody is told, and the watchdog stays small; then by one task."""
    docked.sh(MADE % (MANY, IMAGE), within=240)
    names = sorted(docked.names())
    assert MANY == len(names)
    probe = {"role": "liveness", "process": {}, "period": 5, "timeout": 4}
    docked.watch(*({**docked.contract(name, 1), "resource": {"container": name}, "probes": [probe], "retry_every": 300} for name in names))
    chosen = names[:: MANY // FAILED]
    docked.kill_main(*chosen)
    until(lambda: FAILED == len(docked.events("recover")), 60, docked.story)
    assert chosen == sorted(event["service"] for event in docked.events("start")), "each once, and nobody else"
    assert not docked.events("restart", "page") and FAILED == len(docked.events("failure"))
    spans = sorted(event["data"]["recovery_duration_ms"] for event in docked.events("recover"))
    memory = int(docked.sh("sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\) kB/\\1/p' /proc/%d/status" % docked.pid("selfheal-watchdog"))) / 1024
    assert memory <= 50
    measured("20 of 100 containers: the first serves after %d ms, the last after %d ms; RSS %.1f MB" % (spans[0], spans[-1], memory))
    docked.sh("systemctl stop selfheal-watchdog")
    others = names[1 :: MANY // FAILED]
    docked.kill_main(*others)
    said = healing.heal(selector={"many": "yes"}, stable_for=1, wait=120)
    assert (FAILED, MANY - FAILED) == (said["summary"]["changed"], said["summary"]["unchanged"]), said["summary"]
    assert others == sorted(each["name"] for each in said["results"] if each["actions"] == ["start"])
