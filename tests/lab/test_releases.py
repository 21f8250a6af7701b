# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases on a real host: the ladder goes back from within a sandbox; deployments and healing keep out of each other's way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bed import until

STRICT = """
[Service]
ProtectSystem=strict
ReadWritePaths=/var/lib/selfheal /run/selfheal
PrivateTmp=yes
NoNewPrivileges=yes
CapabilityBoundingSet=CAP_KILL CAP_SYS_PTRACE CAP_SETUID CAP_SETGID
"""
PLACE = ("--root", "/srv/www", "--project", "web")


def deploy(bed: Any, name: str, bad: bool = False, expect: int = 0, **options: Any) -> Any:
    """Deploy a release whose service is bad or not, on the command line."""
    bed.sh("mkdir -p /srv/up/%s && echo %s > /srv/up/%s/version" % (name, name, name))
    if bad:
        bed.sh("touch /srv/up/%s/bad" % name)
    request = {"id": name, "source": {"upload": {"path": "/srv/up/" + name}}, "restart": {"unit": "rel.service"}, **options}
    bed.write("/srv/request.json", json.dumps(request))
    told = json.loads(bed.selfheal("deployment", "start", *PLACE, "--request", "/srv/request.json", "--json", expect=expect))
    return told["results"][0]


def standing(bed: Any, name: str) -> str:
    word: str = json.loads(bed.selfheal("deployment", "show", name, *PLACE))["standing"]["word"]
    return word


def stage(bed: Any) -> Any:
    """A unit that runs what is current, and its contract."""
    bed.sh("mkdir -p /srv/www && ln -s /srv/www/web/current /srv/rel")
    bed.write("/usr/local/lib/systemd/system/rel.service", "[Service]\nExecStart=/bin/sleep 1000\n")
    bed.sh("systemctl daemon-reload")
    assert deploy(bed, "v1")["outcome"] == "changed"
    bed.sh("systemctl stop rel")
    contract = bed.unit("rel")
    ladder = [{"rung": "redeploy", "attempts": 1, "timeout": 15}, {"rung": "rollback", "attempts": 1, "timeout": 30}]
    return {**contract, "release": {"root": "/srv/www", "project": "web"}, "ladder": ladder}


@pytest.mark.long(90)
def test_a_release_that_fails_later_is_built_again_and_then_left(bed: Any) -> None:
    """C47, C49: from within a sandbox that may not write there; what was left is bad once leaving it is proven to have healed."""
    bed.write("/etc/systemd/system/selfheal-watchdog.service.d/strict.conf", STRICT)
    bed.watch(stage(bed))
    assert deploy(bed, "v2", bad=True)["outcome"] == "changed"
    redeploy = bed.event("redeploy", within=40)
    rollback = bed.event("rollback", within=90)
    recovered = bed.event("recover", within=60)
    assert redeploy["incident"] == rollback["incident"] == recovered["incident"]
    assert bed.sh("readlink /srv/www/web/current").strip() == "deployments/v1"
    until(lambda: standing(bed, "v2") == "bad", 30, bed.story)
    assert standing(bed, "v2.r1") == "bad" and standing(bed, "v1") == "good"
    acts = {each["data"]["deployment"] for each in bed.events("deployment_phase") if each.get("incident") == redeploy["incident"]}
    assert "v2.r1" in acts and len(acts) == 2
    bed.selfheal("timeline", "verify")


@pytest.mark.long(60)
def test_nothing_is_healed_in_the_middle_of_a_deployment(bed: Any) -> None:
    """C51: the gate fails, the old release is back, and the watchdog has not climbed meanwhile: the deployment had the lease."""
    bed.watch(stage(bed))
    probe = [{"http": {"url": "http://127.0.0.1:%s/live" % bed.sh("systemctl cat rel | grep -o ' 80[0-9]*' | tail -1").strip()}}]
    told = deploy(bed, "v2", bad=True, expect=1, health=probe, health_within=10)
    assert (told["outcome"], told["reason"], told["after"]) == ("failed", "unhealthy", "deployments/v1")
    bed.healthy("rel")
    assert bed.events("redeploy", "rollback", "restart") == []
    assert bed.sh("cat /srv/www/web/current/version").strip() == "v1"
