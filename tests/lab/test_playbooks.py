# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks as an operator runs them: over SSH, on hosts of both Debians at once."""

from __future__ import annotations

import json
import pathlib
from typing import Any, Callable, Dict, List

import lab
import pytest
from bed import PYZ, SERVICE, UNITS, Bed, until
from fleet import Fleet

BOTH = ("debian12", "debian13")
WEB = "[Service]\nType=notify\nTimeoutStopSec=5s\nExecStart=/usr/bin/python3 -I %s /srv/web 8080\n[Install]\nWantedBy=multi-user.target\n"
CONTRACT = {
    "name": "web",
    "resource": {"unit": "web.service"},
    "probes": [{"role": "liveness", "http": {"url": "http://127.0.0.1:8080/live"}, "period": 1, "timeout": 0.9, "failure_threshold": 4}],
    "confirm_period": 0.5,
    "failing_for": 1,
    "recovered_after": 1,
}


def serving(fleet: Callable[..., Fleet], *distributions: str, **variables: Any) -> Fleet:
    """Hosts on which the unit web.service runs."""
    made = fleet(*distributions)
    made.variables = {"selfheal_services": [CONTRACT], **variables}
    for host in made.hosts.values():
        host.write(UNITS + "/web.service", WEB % SERVICE)
        host.sh("systemctl daemon-reload; systemctl --quiet enable --now web")
    return made


def events(host: lab.Host, *types: str) -> List[Dict[str, Any]]:
    text = host.ask("sh", "-c", "cat /var/lib/selfheal/timeline/0*.jsonl 2>/dev/null || true")
    return [event for event in map(json.loads, text.splitlines()) if event["type"] in types]


def wait_for(host: lab.Host, *types: str, count: int = 1, within: float = 30.0) -> Dict[str, Any]:
    found: Dict[str, Any] = until(
        lambda: events(host, *types)[count - 1 :], within, lambda: "event %d of %s; %s" % (count, types, host.sh("selfheal timeline tail"))
    )[0]
    return found


def web_pid(host: lab.Host) -> str:
    return host.show("web", "MainPID")["MainPID"]


@pytest.mark.long(120)
def test_a_first_fleet(fleet: Callable[..., Fleet]) -> None:
    """The README's way: what would change, install, again without a change, look; it only watches until it is told to act."""
    made = serving(fleet, *BOTH, selfheal_mode_ceiling="observe")
    hosts = list(made.hosts.values())
    assert "no watchdog here: there is no /usr/local/bin/selfheal" in made.play("probe").text
    dry = made.ok("install", "--check", "--diff")
    assert all(counts["changed"] > 0 for counts in dry.recap.values())
    assert not any(host.sh("ls -d /etc/selfheal /usr/local/lib/selfheal 2>/dev/null || true") for host in hosts), "check mode wrote"
    made.ok("install")
    again = made.ok("install")
    assert all(counts["changed"] == 0 for counts in again.recap.values()), again.text
    assert "2 looked at" in made.ok("probe").text
    for host in hosts:
        host.sh("kill -STOP %s" % web_pid(host))
    for host in hosts:
        assert "observe" == wait_for(host, "blocked")["data"]["reason"]
    made.variables["selfheal_mode_ceiling"] = "auto"
    made.ok("install")
    for host in hosts:
        wait_for(host, "restart")
        wait_for(host, "recover")


def watched(fleet: Callable[..., Fleet], pyz: str, **config: Any) -> Fleet:
    """Hosts with a watchdog that was not installed by the role: that takes a test of its own."""
    made = serving(fleet, *BOTH)
    for host in made.hosts.values():
        bed = Bed.on(host, pyz)
        bed.write("/usr/local/bin/selfheal", '#!/bin/sh\nexec /usr/bin/python3 -I %s "$@"\n' % PYZ, "0755")
        bed.write("/etc/selfheal/watchdog.json", json.dumps({"schema": 1, "host": host.name, **config}))
        bed.watch(CONTRACT)
    return made


@pytest.mark.long(100)
def test_looking_and_healing(fleet: Callable[..., Fleet], pyz: str) -> None:
    """C12 watchdogs that only observe: `probe` shows the fleet and fails by policy, `heal` heals on a person's word, few hosts at once."""
    made = watched(fleet, pyz, mode_ceiling="observe")
    hosts = list(made.hosts.values())
    assert "2 looked at" in made.ok("probe").text
    for host in hosts:
        host.sh("kill -STOP %s" % web_pid(host))
    for host in hosts:
        assert "observe" == wait_for(host, "blocked")["data"]["reason"]
    wrong = made.play("probe")
    assert wrong.code != 0 and "2 of 2 are not well" in wrong.text.replace("\n", " "), wrong.text
    made.ok("probe", selfheal_fail_on="never")
    assert not any(events(host, "restart") for host in hosts)
    refused = made.play("heal", selfheal_names=["web"])
    assert refused.code != 0 and "2 hosts are selected, and heal takes at most 1 at once" in " ".join(refused.text.split()), refused.text
    made.ok("heal", selfheal_names=["web"], selfheal_max_hosts=2)
    for host in hosts:
        assert "module" == wait_for(host, "restart")["source"]
        wait_for(host, "recover")
    made.ok("probe")


@pytest.mark.long(100)
def test_hands_off(fleet: Callable[..., Fleet], pyz: str) -> None:
    """`hold` keeps a service dead until `unhold`; the red button is one host's, and pressing it twice changes nothing."""
    made = watched(fleet, pyz)
    first, second = made.hosts.values()
    held = made.ok("hold", selfheal_hosts="all", selfheal_names=["web"], selfheal_reason="migration", selfheal_for="2h")
    assert all(counts["changed"] == 1 for counts in held.recap.values()), held.text
    for host in (first, second):
        host.sh("kill -9 %s" % web_pid(host))
    for host in (first, second):
        assert "hold" == wait_for(host, "blocked")["data"]["reason"]
    assert "held: " in made.play("probe").text
    assert not events(first, "start") and not events(second, "start")
    button = made.ok("hold", selfheal_hosts="one2", selfheal_everything=True, selfheal_reason="fire")
    assert ["one2"] == list(button.recap) and second.sh("ls /etc/selfheal/hold")
    made.ok("unhold", selfheal_hosts="all", selfheal_names=["web"])
    wait_for(first, "start")
    wait_for(first, "recover")
    assert not events(second, "start"), "its red button is still pressed"
    made.ok("unhold", selfheal_hosts="one2", selfheal_everything=True)
    wait_for(second, "start")
    wait_for(second, "recover")


@pytest.mark.long(100)
def test_drilling(fleet: Callable[..., Fleet], pyz: str, measured: Any) -> None:
    """`drill` kills and hangs a real unit on every host, one after the other, and measures how it comes back."""
    made = watched(fleet, pyz)
    made.ok(
        "drill",
        drill_hosts="all",
        selfheal_max_hosts=2,
        drill_limits={"detected_ms": 10_000, "restart_ms": 30_000, "hang_extra_ms": 60_000},
    )
    for host in made.hosts.values():
        assert ["kill", "hang"] == [event["data"]["fault"] for event in events(host, "fault_inject")]
        assert len(events(host, "recover")) >= 2
        for note in events(host, "note"):
            data = note["data"]
            if "recovered_after_ms" in data:
                what = (host.distribution, data.get("detected_after_ms"), data["recovered_after_ms"])
                measured("drill over SSH, %s: seen after %s ms, serving after %s ms" % what)


@pytest.mark.long(90)
def test_the_canary_stops_the_fleet(fleet: Callable[..., Fleet]) -> None:
    """When the first host's watchdog does not come up, no other host is touched, and the reason is told."""
    made = serving(fleet, *BOTH)
    canary, other = made.hosts.values()
    # Somebody has taken the watchdog's port.
    canary.sh("systemd-run --quiet --unit=squatter python3 -m http.server 9877 --bind 127.0.0.1")
    until(lambda: "9877" in canary.sh("ss -ltn"), 10, lambda: "the port is taken")
    stopped = made.play("install", selfheal_ready_timeout=5)
    assert stopped.code != 0 and "9877" in stopped.text, stopped.text[-3000:]
    assert not other.sh("ls -d /etc/selfheal /usr/local/lib/selfheal 2>/dev/null || true"), "the other host was touched"
    assert "0" != web_pid(canary) and "0" != web_pid(other), "services do not notice"
    canary.sh("systemctl stop squatter; systemctl stop ssh.socket ssh; pkill -x sshd || true", expect=None)
    lost = made.play("install")
    assert lost.code != 0 and "one1 cannot be reached" in " ".join(lost.text.split()), lost.text[-3000:]
    assert not other.sh("ls -d /etc/selfheal /usr/local/lib/selfheal 2>/dev/null || true")
    canary.sh("systemctl start ssh")
    made.ok("install")
    for host in (canary, other):
        assert "active" == host.show("selfheal-watchdog", "ActiveState")["ActiveState"]


@pytest.mark.long(90)
def test_reporting(fleet: Callable[..., Fleet], pyz: str, tmp_path: pathlib.Path) -> None:
    """One report of a fleet: what was healed, a host that cannot be reached and why, and one that tells another story than before."""
    made = watched(fleet, pyz)
    away, healed = made.hosts.values()
    made.variables.update(selfheal_mirror=str(tmp_path / "fleet"), selfheal_report=str(tmp_path / "report"))
    healed.sh("kill -KILL %s" % web_pid(healed))
    wait_for(healed, "recover")

    def told() -> Any:
        return json.loads((tmp_path / "report" / "report.json").read_text())

    made.ok("report")
    total = told()["total"]
    assert (2, 0, {"intact": 2}) == (total["hosts"], total["unreached"], total["chains"])
    assert 1 == total["incidents"] == total["recovered"]
    assert "one2" in (tmp_path / "report" / "index.html").read_text()
    away.sh("systemctl stop ssh.socket ssh; pkill -x sshd || true", expect=None)
    made.play("report")
    found = {host["host"]: host for host in told()["hosts"]}
    assert "intact" == found["one1"]["chain"] and "port 22" in found["one1"]["note"] and not found["one2"]["note"]
    healed.sh("systemctl stop selfheal-watchdog; rm -r /var/lib/selfheal/timeline; systemctl start selfheal-watchdog", within=60)
    wait_for(healed, "watchdog_start")
    tampered = made.play("report")
    assert tampered.code != 0 and "one2 are not what they were" in " ".join(tampered.text.split()), tampered.text[-3000:]
    assert 1 == told()["total"]["incidents"], "what it said before is kept"


@pytest.mark.long(90)
def test_uninstalling(fleet: Callable[..., Fleet]) -> None:
    """Nobody named: refused. An incident is open: refused by name. Otherwise the watchdog goes, the service and the records stay."""
    made = serving(fleet, *BOTH)
    made.ok("install")
    nobody = made.play("uninstall")
    assert nobody.code != 0 and "Nobody said where" in nobody.text
    first, second = made.hosts.values()
    first.sh("touch /srv/web/bad")
    incident = wait_for(first, "failure")["incident"]
    refused = made.play("uninstall", selfheal_hosts="all")
    assert refused.code != 0 and incident in refused.text.replace("\n", "")
    assert "active" == first.show("selfheal-watchdog", "ActiveState")["ActiveState"]
    first.sh("rm /srv/web/bad")
    wait_for(first, "recover")
    made.ok("uninstall", selfheal_hosts="all")
    for host in (first, second):
        assert "not-found" == host.show("selfheal-watchdog", "LoadState")["LoadState"]
        assert "0" != web_pid(host) and events(host, "watchdog_stop")
    made.ok("uninstall", selfheal_hosts="all", watchdog_purge=True)
    for host in (first, second):
        assert not host.sh("find /etc /usr /var /run -xdev -name '*selfheal*'")
