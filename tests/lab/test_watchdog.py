# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watchdog itself is killed, hangs and is stopped; what it watches goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bed import until


def test_killed_in_the_middle_of_an_incident(bed: Any) -> None:
    """C37 systemd brings it back; the same incident goes on with the next attempt and the same failure_time."""
    web = {**bed.unit("web"), "ladder": [{"rung": "restart", "attempts": 3, "timeout": 3}]}
    bed.watch(web)
    bed.sh("touch /srv/web/bad")
    first = bed.event("restart")
    bed.kill("selfheal-watchdog")
    second = bed.event("restart", count=2)
    assert (first["incident"], 1, 2) == (second["incident"], first["data"]["attempt"], second["data"]["attempt"])
    bed.sh("rm /srv/web/bad")
    recovered = bed.event("recover")
    failure = bed.events("failure")
    assert 1 == len(failure) and failure[0]["data"]["failure_time"] == recovered["data"]["failure_time"]
    bed.selfheal("timeline", "verify")


def test_killed_in_the_middle_of_a_start_job(bed: Any) -> None:
    """The job that it had begun goes on in systemd; the one that comes back waits for it and starts nothing beside it."""
    bed.watch(bed.unit("web", options="--slow-start 5"))
    bed.kill("web")
    bed.event("start")
    bed.kill("selfheal-watchdog")
    bed.event("recover", within=30)
    assert 2 == len(bed.lines("/srv/web/starts")) and 1 == len(bed.events("start"))


def test_hangs(bed: Any) -> None:
    """SIGSTOP of the watchdog: systemd misses its sign of life, kills it, starts it again, and it heals."""
    bed.watch(bed.unit("web"))
    old = bed.kill("selfheal-watchdog", "STOP")
    bed.kill("web")
    bed.event("recover", within=30)
    assert bed.pid("selfheal-watchdog") not in (0, old)
    assert "watchdog" in bed.sh("journalctl -q -b _PID=1 UNIT=selfheal-watchdog.service | grep -i 'result .watchdog'")


def test_a_process_of_its_own_lives_in_a_unit_of_its_own(bed: Any) -> None:
    """C11 a process resource runs as a transient unit: stopping and killing the watchdog does not touch it; killed, it is started again."""
    argv = ["/usr/bin/python3", "-I", "/usr/local/lib/lab-service.py", "/srv/own", "8090"]
    own = {**bed.contract("own", 8090), "resource": {"process": {"argv": argv, "user": "nobody", "stop_timeout": 3}}}
    bed.sh("install -d -o nobody /srv/own")
    bed.watch(own)
    first = bed.pid("selfheal-own")
    assert first > 0
    bed.sh("systemctl stop selfheal-watchdog")
    assert first == bed.pid("selfheal-own")
    bed.sh("systemctl start selfheal-watchdog")
    bed.healthy("own")
    assert first == bed.pid("selfheal-own") and 1 == len(bed.lines("/srv/own/starts"))
    bed.kill("selfheal-own")
    bed.event("recover")
    second = bed.kill("selfheal-own", "STOP")
    bed.event("recover", count=2)
    assert bed.pid("selfheal-own") not in (0, first, second) and 3 == len(bed.lines("/srv/own/starts"))
    assert 1 == len(bed.run("pgrep", "-f", "/srv/own 8090").stdout.split())


@pytest.mark.long(60)
def test_a_command_tells_a_person(bed: Any) -> None:
    """C58 a `notify` command runs as a transient unit with the page on its input; one that hangs delays nothing and goes away."""
    tell = "#!/bin/sh\necho $$ >> /root/told.pids\ncat > /root/told.json\ncat /proc/self/cgroup > /root/told.cgroup\nsleep 600\n"
    bed.write("/usr/local/bin/tell", tell, "0755")
    web = {**bed.unit("web"), "ladder": [{"rung": "restart", "attempts": 1, "timeout": 2}, {"rung": "page"}], "retry_every": 300}
    bed.watch({**web, "notify": [{"command": {"argv": ["/usr/local/bin/tell"]}}]}, bed.unit("api"))
    bed.sh("touch /srv/web/bad")
    page = bed.event("page", service="web")
    told = json.loads(until(lambda: bed.sh("cat /root/told.json 2>/dev/null || true"), 20, bed.story))
    assert page["incident"] in json.dumps(told)
    groups = bed.sh("cat /root/told.cgroup")
    assert ".service" in groups and "selfheal-watchdog" not in groups
    bed.kill("api")
    bed.event("recover", service="api")
    failed = bed.event("page_failed", within=60)
    assert (page["incident"], "timeout") == (failed["incident"], failed["data"]["reason"])
    first = bed.lines("/root/told.pids")[0]
    until(lambda: not bed.lines("/proc/%s/comm" % first), 20, bed.story)
    bed.sh("rm /srv/web/bad")
    bed.event("recover", service="web")
