# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No room under /var/lib/selfheal: healing goes on with care, nothing is lost, and the log says what happened to it."""

from __future__ import annotations

import time
from typing import Any, List

import pytest
from bed import until

MOUNT = "mount -t tmpfs -o size=8m,mode=0700 lab /var/lib/selfheal"
FILL = "cd /var/lib/selfheal; dd if=/dev/zero of=filler$1 bs=64k 2>/dev/null; dd if=/dev/zero of=filler$1 bs=512 oflag=append conv=notrunc"


def unwritten(bed: Any, words: str) -> List[str]:
    """Events that stand on the host's journal and have no number: the timeline does not have them yet."""
    text = bed.sh("journalctl -q -u selfheal-watchdog -o cat --no-pager | grep '%s' | grep -v 'seq=' || true" % words)
    return [line for line in text.splitlines() if line]


def fill(bed: Any) -> None:
    """Leave not a byte: also the room that the watchdog gives back for its last words, and that behind the end of its last file."""
    end = time.monotonic() + 60
    while not unwritten(bed, "contract loaded"):
        assert time.monotonic() < end, bed.story()
        bed.sh(FILL.replace("$1", str(time.monotonic_ns())), expect=None)
        for _time in range(5):
            bed.sh("systemctl reload selfheal-watchdog")


@pytest.mark.long(90)
def test_no_room(bed: Any, measured: Any) -> None:
    """C66 one action per service and retry_every, the rest waits; events are on the journal, and in the log after a log_repair."""
    bed.sh(MOUNT)
    retry_every = 25
    web = {**bed.unit("web"), "retry_every": retry_every}
    bed.watch(web, bed.unit("api"))
    fill(bed)
    bed.kill("web")
    until(lambda: bed.pid("web") > 0, 15, bed.story)
    until(lambda: unwritten(bed, "web recover"), 15, bed.story)
    assert 1 == len(unwritten(bed, "web start "))
    killed = time.monotonic()
    bed.kill("web")
    until(lambda: unwritten(bed, "web blocked reason=records_unwritable"), 15, bed.story)
    # Another service has an action of its own.
    bed.kill("api")
    until(lambda: bed.pid("api") > 0, 15, bed.story)
    until(lambda: bed.pid("web") > 0, 2 * retry_every, bed.story)
    waited = time.monotonic() - killed
    measured("no room: a second death waited %.0f s, retry_every %d" % (waited, retry_every))
    assert waited > 5, "it was started at once"
    bed.sh("rm /var/lib/selfheal/filler*")
    repaired = bed.event("log_repair", within=20)
    assert "unwritable" == repaired["data"]["cause"] and repaired["data"]["kept"] >= 6 and 0 == repaired["data"]["dropped"]
    bed.event("recover", count=2, service="web", within=30)
    bed.event("recover", service="api", within=30)
    first, second = bed.events("start", service="web")
    apart = int(bed.sh("echo $(( $(date -d %s +%%s) - $(date -d %s +%%s) ))" % (second["timestamp"], first["timestamp"])))
    assert retry_every - 1 <= apart
    assert 1 == len(bed.events("start", service="api")) and not bed.events("restart")
    bed.selfheal("timeline", "verify")
