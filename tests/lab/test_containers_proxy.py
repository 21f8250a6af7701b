# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Least privilege: the filtering proxy of docs/containers.md, as it stands there, between the watchdog and the engine."""

from __future__ import annotations

import pathlib
import re
from typing import Callable, List

import pytest
from bed import Bed
from dock import DockBed, Healing, made_bed
from fleet import Fleet

SOCKET = "/run/selfheal-engine.sock"
BESIDES = "global\n    stats socket /run/haproxy-test.sock\ndefaults\n    timeout connect 5s\n"


def documented() -> str:
    """The configuration in the guide."""
    text = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "containers.md").read_text(encoding="utf-8")
    found: List[str] = re.findall(r"```haproxy\n(frontend selfheal-engine.*?)```", text, re.DOTALL)
    assert 1 == len(found), "the guide shows it once"
    return found[0]


@pytest.fixture
def filtered(new_bed: Callable[..., Bed], busybox: str) -> DockBed:
    """A host with Docker Engine and HAProxy in front of its socket."""
    made = made_bed(new_bed, "debian12", busybox, "haproxy")
    made.sh("groupadd --system selfheal")
    made.write("/etc/haproxy/engine.cfg", BESIDES + documented())
    made.sh("haproxy -c -f /etc/haproxy/engine.cfg && systemd-run --unit engine-proxy haproxy -Ws -f /etc/haproxy/engine.cfg")
    made.sh("until test -S %s; do sleep 0.1; done" % SOCKET, within=20)
    return made


def asked(bed: DockBed, method: str, path: str) -> str:
    said = "curl -s -o /dev/null -w '%%{http_code}' --unix-socket %s -X %s 'http://engine%s'"
    return bed.sh(said % (SOCKET, method, path))


def test_healing_through_a_filter(filtered: DockBed, fleet: Callable[..., Fleet]) -> None:
    """The watchdog and container_heal heal through it; what they do not ask for is refused, and the engine does not hear of it."""
    filtered.write("/etc/systemd/system/selfheal-watchdog.service.d/engine.conf", "[Service]\nEnvironment=DOCKER_HOST=unix://%s\n" % SOCKET)
    filtered.watch(filtered.container("web", "--stop-timeout", "1"), filtered.container("other", "--stop-timeout", "1"))
    filtered.kill_main("web")
    filtered.event("recover", within=40)
    assert 1 == len(filtered.events("start")) and not filtered.events("note"), filtered.story()
    filtered.sh("kill -STOP %d" % filtered.told("other")["State"]["Pid"])
    filtered.event("recover", count=2, within=40)
    assert ["other"] == [event["service"] for event in filtered.events("restart")]
    filtered.sh("systemctl stop selfheal-watchdog")
    filtered.kill_main("web")
    healing = Healing(fleet(), filtered)
    said = healing.heal(containers=[{"name": "web"}], docker_host="unix://" + SOCKET, stable_for=1)
    assert ["start"] == said["results"][0]["actions"], said
    forbidden = (
        ("POST", "/containers/create?name=evil"),
        ("POST", "/containers/web/exec"),
        ("POST", "/containers/web/kill"),
        ("DELETE", "/containers/web"),
        ("GET", "/containers/web/archive?path=/etc/shadow"),
        ("GET", "/containers/web/logs?stdout=1"),
        ("POST", "/containers/web/../../images/create?fromImage=evil"),
        ("POST", "/v1.40/containers/create"),
        ("GET", "/secrets"),
        ("PUT", "/containers/web/archive?path=/"),
    )
    assert {"403"} == {asked(filtered, *each) for each in forbidden}
    assert "200" == asked(filtered, "GET", "/containers/web/json") and ["other", "web"] == filtered.names()
    drift = healing.heal(containers=[{"name": "web", "labels": {"colour": "blue"}}], docker_host="unix://" + SOCKET, stable_for=1)
    assert drift["failed"] and "no_permission" == drift["results"][0]["reason"] and "forbids" in drift["results"][0]["detail"], drift
    assert filtered.running("web")
