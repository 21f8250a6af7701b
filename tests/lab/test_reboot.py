# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host itself is rebooted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bed import UNITS


def enabled(bed: Any, *units: str) -> None:
    """All of it comes up with the host."""
    for unit in units:
        bed.sh("printf '[Install]\\nWantedBy=multi-user.target\\n' >> %s/%s.service" % (UNITS, unit))
    bed.write("/etc/tmpfiles.d/selfheal.conf", "d /run/selfheal 0755 root root -\nd /run/selfheal/leases 0700 root root -\n")
    bed.sh("systemctl daemon-reload; systemctl --quiet enable selfheal-watchdog %s" % " ".join(units))


@pytest.mark.long(60)
def test_in_the_middle_of_an_incident(bed: Any) -> None:
    """C37 the incident is closed as host_rebooted; what still fails is a new one from the first rung, and what was spent is spent."""
    web = {**bed.unit("web"), "ladder": [{"rung": "restart", "attempts": 3, "timeout": 3}]}
    bed.watch(web)
    enabled(bed, "web")
    bed.sh("touch /srv/web/bad")
    bed.event("restart", count=2)
    old = bed.events("failure")[0]["incident"]
    bed.sh("sync")
    bed.reboot()
    reset = bed.event("state_reset", within=30)
    assert (old, "host_rebooted") == (reset["incident"], reset["data"]["reason"])
    again = bed.event("failure", count=2, within=30)
    assert again["incident"] != old
    attempts = [(event["incident"], event["data"]["attempt"]) for event in bed.events("restart")]
    third = bed.event("restart", count=len(attempts) + 1) if attempts[-1][0] == old else bed.events("restart")[-1]
    assert (again["incident"], 1) == (third["incident"], third["data"]["attempt"])
    spent = json.loads(bed.sh("cat /var/lib/selfheal/state/web.json"))["memory"]["actions"]
    assert len(spent) >= 3
    bed.sh("rm /srv/web/bad")
    assert again["incident"] == bed.event("recover", within=40)["incident"]
    bed.selfheal("timeline", "verify")


@pytest.mark.long(45)
def test_a_boot_is_no_failure(bed: Any) -> None:
    """Services that start with the host, one of them slowly, are waited for: nothing is started beside systemd; a hold still holds."""
    slow = bed.unit("slow", options="--slow-start 10")
    bed.watch(bed.unit("web"), slow)
    enabled(bed, "web", "slow")
    bed.selfheal("hold", "slow", "--reason", "migration", "--for", "1h")
    bed.event("hold")
    bed.reboot()
    bed.event("watchdog_start", count=2, within=30)
    for name in ("web", "slow"):
        bed.healthy(name, within=40)
    assert not bed.events("failure", "start", "restart", "page", "state_reset")
    bed.kill("slow")
    assert "hold" == bed.event("blocked", service="slow")["data"]["reason"]
    bed.kill("web")
    bed.event("recover", service="web")
