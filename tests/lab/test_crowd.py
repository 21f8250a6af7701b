# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fifty checks on one host, five of which hang: nothing else waits for them."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest
from bed import UNITS

# Answers on 45 ports; on five more it takes connections and never says a word.
CROWD = """
import selectors, socket, sys
answers, loop = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok", selectors.DefaultSelector()
silent, held = set(), []
for port in range(9000, 9050):
    server = socket.create_server(("127.0.0.1", port), backlog=64)
    if port >= 9045:
        silent.add(server)
    loop.register(server, selectors.EVENT_READ)
while True:
    for key, _events in loop.select():
        if key.fileobj in silent:
            held.append(key.fileobj.accept()[0])
            del held[:-200]
        elif isinstance(key.fileobj, socket.socket) and key.data is None:
            loop.register(key.fileobj.accept()[0], selectors.EVENT_READ, "peer")
        else:
            loop.unregister(key.fileobj)
            if key.fileobj.recv(65536):
                key.fileobj.sendall(answers)
            key.fileobj.close()
"""


def crowd(bed: Any, period: float, timeout: float) -> List[Dict[str, Any]]:
    """Fifty services; those that hang are only observed, so that nothing is done about them."""
    bed.write("/usr/local/lib/crowd.py", CROWD)
    bed.write(UNITS + "/crowd.service", "[Service]\nExecStart=/usr/bin/python3 -I /usr/local/lib/crowd.py\n")
    bed.write(UNITS + "/member@.service", "[Service]\nExecStart=/bin/sleep 100000\n")
    numbers = range(9000, 9050)
    bed.sh("systemctl daemon-reload; systemctl start crowd; systemctl start %s" % " ".join("member@%d" % each for each in numbers))
    made = []
    for number in numbers:
        service = bed.contract("member%d" % number, number, mode="observe" if number >= 9045 else "auto")
        service["resource"] = {"unit": "member@%d.service" % number}
        service["probes"] = [{**service["probes"][0], "period": period, "timeout": timeout, "failure_threshold": 2}]
        made.append(service)
    return made


def test_a_kill_beside_hanging_checks(bed: Any, measured: Any) -> None:
    """C21 C58 killed while 5 of 50 other checks hang: seen and started as fast as alone, and no other service suffers."""
    bed.watch(bed.unit("web"))
    bed.contracts(bed.contract("web", _port(bed)), *crowd(bed, 2, 1))
    bed.sh("systemctl reload selfheal-watchdog")
    for number in (9000, 9044):
        bed.healthy("member%d" % number)
    for number in range(9045, 9050):
        bed.event("failure", service="member%d" % number)
    bed.kill("web")
    failure, started = bed.event("failure", service="web"), bed.event("start", service="web")
    recovered = bed.event("recover", service="web")
    measured(
        "kill beside 5 of 50 hanging checks: seen after %d ms, serving again after %d ms"
        % (failure["data"]["detected_after_ms"], recovered["data"]["recovery_duration_ms"])
    )
    assert 1 == started["data"]["attempt"]
    # The design's 50 and 100 ms are for a service that starts in 1 ms on an idle machine; here python starts beside
    # other tests. What waits for hanging checks waits for 25 s (Monit).
    assert failure["data"]["detected_after_ms"] < 5000 and recovered["data"]["recovery_duration_ms"] < 15_000
    troubled = {event["service"] for event in bed.events("failure")}
    assert troubled == {"web", *("member%d" % number for number in range(9045, 9050))}
    assert not bed.events("restart")


@pytest.mark.long(60)
def test_a_hang_beside_hanging_checks(bed: Any, measured: Any) -> None:
    """C21 hung while 5 of 50 other checks hang: restarted within period + timeout + failing_for + 2 s, as alone."""
    period, timeout, failing_for = 10, 2, 5
    bed.watch(bed.unit("web", stop="1s"))
    web = bed.contract("web", _port(bed), failing_for=failing_for, confirm_period=0.5)
    web["probes"] = [{**web["probes"][0], "period": period, "timeout": timeout, "failure_threshold": 2}]
    bed.contracts(web, *crowd(bed, period, timeout))
    bed.sh("systemctl reload selfheal-watchdog")
    for number in range(9045, 9050):
        bed.event("failure", service="member%d" % number, within=30)
    hung = float(bed.sh("kill -STOP $(systemctl show -p MainPID --value web); date +%s.%N"))
    recovered = bed.event("recover", service="web", within=60)
    # Its failure_time is the start of the first failed probe; people count from the hang.
    back = float(bed.sh("date -d %s +%%s.%%N" % recovered["data"]["recovery_time"]))
    stopping, starting = 1.0, 5.0  # TimeoutStopSec= of the hung process, and python's start on a busy machine
    measured("hang beside 5 of 50 hanging checks, period 10, timeout 2: serving again after %.1f s" % (back - hung))
    assert back - hung <= period + timeout + failing_for + 2 + stopping + starting
    assert 1 == len(bed.events("restart"))


def _port(bed: Any) -> int:
    return int(bed.sh("sed -n 's/.*srv.web \\([0-9]*\\).*/\\1/p' %s/web.service" % UNITS))
