# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnostics of units on real hosts: what systemd and the journal know of an end, gathered by a watchdog without rights of its own."""

from __future__ import annotations

import json
from typing import Any

from bed import UNITS, until

THIEF = "import socket, time; s = socket.create_server(('0.0.0.0', %d)); time.sleep(3600)"


def bundle(bed: Any, event: Any) -> Any:
    path = event["data"]["diagnostics"]
    assert bed.sh("sha256sum %s && stat -c %%a %s" % (path, path)).split()[::2] == [event["data"]["sha256"], "600"]
    return json.loads(bed.sh("cat %s" % path))


def test_a_killed_unit_is_started_first_and_its_end_is_kept(bed: Any) -> None:
    """With the start systemd forgets how it ended; the bundle does not, and has the unit's own last words."""
    bed.watch({**bed.unit("web"), "recovered_after": 15})
    old = bed.pid("web")
    bed.sh("echo 'last words' | systemd-cat --identifier=web; kill -9 %d" % old)
    recover = bed.event("recover", within=60)
    assert "diagnostics" not in bed.events("start")[0]["data"]
    kept = bundle(bed, recover)
    resource = kept["sections"]["resource"]
    assert (resource["Result"], resource["ExecMainStatus"], kept["alive"]) == ("signal", "9", False), kept["sections"]["resource"]
    assert any("web" in line for line in kept["sections"]["log"]) and kept["sections"]["disks"]
    assert "signal 9" in recover["data"]["probable_detail"] or recover["data"]["probable_cause"] != "unknown"


def test_a_port_that_was_taken_meanwhile_is_named_with_its_thief(bed: Any) -> None:
    """What the unit said in the journal, and who listens: also for a watchdog that may see nobody else's sockets."""
    bed.write("%s/selfheal-watchdog.service.d/rights.conf" % UNITS, "[Service]\nCapabilityBoundingSet=\nNoNewPrivileges=yes\n")
    contract = {**bed.unit("web"), "ladder": [{"rung": "restart", "attempts": 1, "timeout": 3}]}
    bed.watch(contract)
    port = int(contract["probes"][0]["http"]["url"].split(":")[2].split("/")[0])
    bed.sh('systemctl stop web; systemd-run --unit=thief python3 -c "%s"' % (THIEF % port))
    until(lambda: ":%d " % port in bed.sh("ss -Hltn"), 20, lambda: "the thief listens")
    bed.run("systemctl", "start", "web", expect=None, within=60.0)
    page = bed.event("page")
    kept = bundle(bed, page)
    assert page["data"]["probable_cause"] == "port_taken", page["data"]
    if "listening" in kept["problems"]:
        return  # a machine this busy did not answer in time, and the bundle says so
    thief = bed.sh("systemctl show --property=MainPID --value thief").strip()
    assert "port %d" % port in page["data"]["probable_detail"] and "(pid %s)" % thief in page["data"]["probable_detail"], kept["sections"][
        "listening"
    ]
