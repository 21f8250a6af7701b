# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No room under /var/lib/selfheal: healing goes on with care, nothing is lost, and the log says what happened to it."""

from __future__ import annotations

import json
import time
from typing import Any, Dict, List

import pytest
from bed import until

MOUNT = "mount -t tmpfs -o size=8m,mode=0700 lab /var/lib/selfheal"
FILL = "cd /var/lib/selfheal; dd if=/dev/zero of=filler$1 bs=64k 2>/dev/null; dd if=/dev/zero of=crumbs$1 bs=512 2>/dev/null; df ."


def journalled(bed: Any, type: str) -> List[Dict[str, Any]]:
    """The watchdog's events on the host's journal."""
    text = bed.sh("journalctl -q -u selfheal-watchdog -o cat --no-pager | grep -o '{.*}' || true")
    found = []
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event.get("type") == type:
            found.append(event)
    return found


def fill(bed: Any) -> None:
    """Leave not a byte: also the room that the watchdog reserved, should it give it back."""
    for number in range(3):
        bed.sh(FILL.replace("$1", "%d-%d" % (number, time.monotonic_ns())))


@pytest.mark.long(70)
def test_no_room(bed: Any, measured: Any) -> None:
    """C66 one action per service and retry_every, the rest waits; events are on the journal, and in the log after a log_repair."""
    bed.sh(MOUNT)
    web = {**bed.unit("web"), "retry_every": 25}
    bed.watch(web, bed.unit("api"))
    fill(bed)
    # The first event finds the disk full, and the ballast is given back for it: fill that, too.
    bed.sh("systemctl reload selfheal-watchdog")
    time.sleep(1)
    fill(bed)
    bed.kill("web")
    until(lambda: bed.pid("web") > 0, 15, bed.story)
    until(lambda: journalled(bed, "start"), 15, bed.story)
    before = time.monotonic()
    time.sleep(3)
    bed.kill("web")
    blocked = until(lambda: journalled(bed, "blocked"), 15, bed.story)[0]
    assert ("web", "records_unwritable") == (blocked["service"], blocked["data"]["reason"])
    until(lambda: bed.pid("web") > 0, 40, bed.story)
    waited = time.monotonic() - before
    measured("no room: the second action %.1f s after the first, retry_every 25" % waited)
    assert 20 <= waited
    # Another service has its own action.
    bed.kill("api")
    until(lambda: bed.pid("api") > 0, 15, bed.story)
    bed.sh("rm /var/lib/selfheal/filler* /var/lib/selfheal/crumbs*")
    repaired = bed.event("log_repair", within=20)
    assert "unwritable" == repaired["data"]["cause"] and repaired["data"]["kept"] >= 4 and 0 == repaired["data"]["dropped"]
    for name in ("web", "api"):
        bed.event("recover", service=name, within=30)
    assert 2 == len(bed.events("start", service="web")) and 1 == len(bed.events("start", service="api"))
    assert not bed.events("restart")
    bed.selfheal("timeline", "verify")
