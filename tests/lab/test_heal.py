# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook `heal` on an alert's word: with a watchdog and without one, once for each alert, and when healing does not help."""

from __future__ import annotations

import json
import pathlib
from typing import Any, Callable, Dict, List

import lab
import pytest
from fleet import Fleet
from test_playbooks import CONTRACT, events, serving, watched, web_pid

ALERT = {"fingerprint": "0123456789abcdef", "starts_at": "2026-11-22T05:00:00.123Z", "alertname": "SelfhealWatchdogDead"}
ASK = """
import socket
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect("/run/haproxy/admin.sock")
    asked.sendall(b"show stat" + bytes([10]))
    print(asked.makefile().read())
"""
PROXY = """global
    stats socket /run/haproxy/admin.sock mode 600 level admin
defaults
    mode tcp
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend in
    bind 127.0.0.1:8000
    default_backend web
backend web
    server one1 %s:22 check inter 500ms weight 100
    server one2 %s:22 check inter 500ms weight 100
"""


def ear(path: pathlib.Path) -> List[Dict[str, Any]]:
    """A target of pages on the controller that writes each message to a line."""
    return [{"command": {"argv": ["/bin/sh", "-c", "cat >> %s; echo >> %s" % (path, path)]}}]


def heard(path: pathlib.Path) -> List[Dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []


def results(host: lab.Host) -> List[Dict[str, Any]]:
    return [event["data"] for event in events(host, "run_result")]


@pytest.mark.long(60)
def test_an_alert_is_seen_to_once(fleet: Callable[..., Fleet], pyz: str, tmp_path: pathlib.Path) -> None:
    """A dead watchdog's service is healed on an alert, the same alert again does nothing, and a service that is well is left alone."""
    made = watched(fleet, pyz, mode_ceiling="observe")
    made.variables.update(selfheal_controller_dir=str(tmp_path / "controller"), selfheal_runbook_notify=ear(tmp_path / "heard"))
    first, second = made.hosts.values()
    first.sh("systemctl kill --signal=KILL selfheal-watchdog; systemctl stop selfheal-watchdog; kill -STOP %s" % web_pid(first))
    asked = {"selfheal_hosts": "one1", "selfheal_names": ["web"], "selfheal_alert": ALERT}
    made.ok("heal", **asked)
    assert 1 == len(events(first, "restart")) and "recovered" == results(first)[0]["services"][0]["outcome"]
    assert ALERT == results(first)[0]["alert"] and results(first)[0]["handled"]
    first.sh("kill -STOP %s" % web_pid(first))
    again = made.ok("heal", **asked)
    assert "seen to before" in again.text and 1 == len(events(first, "restart")) and 1 == len(results(first))
    made.ok("heal", **{**asked, "selfheal_alert": {**ALERT, "starts_at": "2026-11-22T06:00:00Z"}})
    assert 2 == len(events(first, "restart"))
    well = made.ok("heal", **{**asked, "selfheal_hosts": "one2"})
    assert "one2 web: untouched" in well.text and "untouched" == results(second)[0]["services"][0]["outcome"]
    assert not events(second, "failure", "restart") and not heard(tmp_path / "heard")
    for crowd in ("all", "one1:one2", "one*", "*", "nobody"):
        refused = made.play("heal", **{**asked, "selfheal_hosts": crowd})
        assert refused.code != 0 and "not the name of one host" in " ".join(refused.text.split()), refused.text
    for wrong in ({"fingerprint": "../x"}, {"starts_at": "yesterday"}, {"alertname": "a b"}):
        refused = made.play("heal", **{**asked, "selfheal_alert": {**ALERT, **wrong}})
        assert refused.code != 0 and "Refused." in refused.text, refused.text
    assert 2 == len(results(first)) and 1 == len(results(second))


@pytest.mark.long(70)
def test_what_cannot_be_healed(fleet: Callable[..., Fleet], tmp_path: pathlib.Path) -> None:
    """No watchdog, and restarts do not help: traffic is taken away, diagnostics are fetched, one person is called; and back it goes."""
    made = serving(fleet, "debian12", "debian13", "debian12+haproxy")
    first, second, proxy = made.hosts.values()
    contract = {**CONTRACT, "ladder": [{"rung": "restart", "attempts": 1, "timeout": 2}, {"rung": "page"}]}
    made.variables.update(
        selfheal_services=[contract],
        selfheal_controller_dir=str(tmp_path / "controller"),
        selfheal_runbook_notify=ear(tmp_path / "heard"),
        selfheal_proxies="balancers",
    )
    made.groups["balancers"] = ["one3"]
    proxy.write("/etc/haproxy/haproxy.cfg", PROXY % (first.address(), second.address()))
    proxy.sh("systemctl start haproxy")
    first.sh("touch /srv/web/bad")
    asked = {"selfheal_hosts": "one1", "selfheal_names": ["web"], "selfheal_alert": ALERT}
    lost = made.play("heal", **asked)
    assert lost.code != 0 and "one1 web: escalated" in " ".join(lost.text.split()), lost.text[-4000:]
    [told] = results(first)
    assert told["handled"] and "away" == told["services"][0]["traffic"][0]["moved"], lost.text[-4000:]
    assert "drain" in _status(proxy, "one1").lower() and "drain" not in _status(proxy, "one2").lower()
    bundles = list((tmp_path / "controller" / "diagnostics" / "one1").glob("*.json"))
    assert bundles and json.loads(bundles[0].read_text())["sections"]
    [message] = heard(tmp_path / "heard")
    assert ("one1", "web", "firing") == (message["host"], message["service"], message["status"])
    made.play("heal", **{**asked, "selfheal_alert": {**ALERT, "starts_at": "2026-11-22T06:00:00Z"}})
    assert 1 == len(heard(tmp_path / "heard")), "who was called is not called again"
    first.sh("rm /srv/web/bad")
    back = made.ok("heal", selfheal_hosts="one1", selfheal_names=["web"])
    assert "back" == results(first)[-1]["services"][0]["traffic"][0]["moved"], back.text[-4000:]
    assert "drain" not in _status(proxy, "one1").lower()
    assert ["firing", "resolved"] == [each["status"] for each in heard(tmp_path / "heard")]


def _status(proxy: lab.Host, server: str) -> str:
    """What its HAProxy says of a server, such as UP or DRAIN."""
    lines = proxy.sh("python3 -c '%s'" % ASK).splitlines()
    return next(line for line in lines if line.startswith("web,%s," % server)).split(",")[17]
