# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of the lab with the watchdog's unit, and services to break."""

from __future__ import annotations

import json
import time
from typing import Any, Callable, Dict, List, Optional

import lab
from engine import PATIENCE

PYZ = "/usr/local/lib/selfheal/selfheal.pyz"
UNITS = "/usr/local/lib/systemd/system"
"""Not /etc: a unit there could not be masked."""
SERVICE = "/usr/local/lib/lab-service.py"
WATCHDOG = """
[Service]
Type=notify
ExecStart=/usr/bin/python3 -I %s watch
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=100ms
WatchdogSec=10
TimeoutAbortSec=2
TimeoutStopSec=20
[Install]
WantedBy=multi-user.target
"""


def until(true: Callable[[], Any], seconds: float, what: Callable[[], str]) -> Any:
    """Wait for something that really happens elsewhere, at most so long; returns what was found."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        found = true()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError("not within %g s: %s" % (seconds * PATIENCE, what()))
        time.sleep(0.25)  # every question is a process in the host


class Bed(lab.Host):
    """A host with the watchdog installed."""

    @classmethod
    def on(cls, host: lab.Host, pyz: str) -> "Bed":
        made = cls(host.name, host.distribution)
        made.copy(pyz, PYZ)
        made.write(UNITS + "/selfheal-watchdog.service", WATCHDOG % PYZ)
        made.write("/etc/selfheal/watchdog.json", json.dumps({"schema": 1, "host": host.name}))
        made.sh("mkdir -p -m 0700 /var/lib/selfheal /run/selfheal")
        return made

    # -- services

    def unit(
        self, name: str, *lines: str, options: str = "", kind: str = "notify", unit: str = "", stop: str = "20s", within: float = 30.0
    ) -> Dict[str, Any]:
        """Write and start a unit that runs the lab's service; its contract with short times. `lines`: of [Service]; `unit`: of [Unit]."""
        port = 8000 + len(self.sh("ls %s" % UNITS).split())
        text = "[Unit]\n%s\n[Service]\nType=%s\nTimeoutStopSec=%s\nExecStart=/usr/bin/python3 -I %s /srv/%s %d %s\n%s\n" % (
            unit,
            kind,
            stop,
            SERVICE,
            name,
            port,
            options,
            "\n".join(lines),
        )
        self.write("%s/%s.service" % (UNITS, name), text)
        self.sh("systemctl daemon-reload && systemctl start %s" % name, within=within)
        return self.contract(name, port)

    def contract(self, name: str, port: int, **more: Any) -> Dict[str, Any]:
        # On a busy machine a probe may fail twice in a row for want of a processor.
        probe = {
            "role": "liveness",
            "http": {"url": "http://127.0.0.1:%d/live" % port},
            "period": 1,
            "timeout": 0.9,
            "failure_threshold": 4,
        }
        return {
            "name": name,
            "resource": {"unit": name + ".service"},
            "probes": [probe],
            "confirm_period": 0.5,
            "failing_for": 1,
            "recovered_after": 1,
            "ladder_reset_after": 3600,
            "retry_every": 300,
            **more,
        }

    def contracts(self, *services: Dict[str, Any]) -> None:
        self.write("/etc/selfheal/contracts.json", json.dumps({"services": list(services)}))

    def watch(self, *services: Dict[str, Any]) -> None:
        """Start the watchdog over these services and wait until it says that they are fine."""
        self.contracts(*services)
        self.sh("systemctl daemon-reload && systemctl start selfheal-watchdog")
        for service in services:
            self.healthy(service["name"])

    def selfheal(self, *argv: str, expect: Optional[int] = 0, within: float = 60.0) -> str:
        return self.run("python3", "-I", PYZ, *argv, expect=expect, within=within).stdout

    def healthy(self, name: str, within: float = 20.0) -> None:
        url = "http://127.0.0.1:9877/services/%s/ready" % name
        ask = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5", url)
        until(lambda: self.ask(*ask, expect=None) == "200", within, lambda: "%s is healthy; %s" % (name, self.story()))

    def state(self, name: str) -> str:
        text = self.ask("curl", "-s", "--max-time", "5", "http://127.0.0.1:9877/services")
        found: str = {each["name"]: each["state"] for each in json.loads(text)["services"]}[name]
        return found

    def in_state(self, name: str, state: str, within: float = 15.0) -> None:
        until(lambda: self.state(name) == state, within, lambda: "%s is %s, not %s; %s" % (name, self.state(name), state, self.story()))

    def pid(self, unit: str) -> int:
        return int(self.show(unit, "MainPID")["MainPID"])

    def kill(self, unit: str, signal: str = "KILL") -> int:
        """Send its main process a signal, as nobody told systemd; its pid."""
        pid = self.pid(unit)
        assert pid > 0, (unit, self.show(unit, "ActiveState", "SubState"))
        self.sh("kill -%s %d" % (signal, pid))
        return pid

    def lines(self, path: str) -> List[str]:
        return self.ask("sh", "-c", "cat %s 2>/dev/null || true" % path).split()

    # -- the timeline

    def events(self, *types: str, service: Optional[str] = None) -> List[Dict[str, Any]]:
        text = self.ask("sh", "-c", "cat /var/lib/selfheal/timeline/0*.jsonl 2>/dev/null || true")
        found = [json.loads(line) for line in text.splitlines()]
        return [event for event in found if (not types or event["type"] in types) and service in (None, event.get("service"))]

    def event(self, *types: str, count: int = 1, within: float = 20.0, service: Optional[str] = None) -> Dict[str, Any]:
        """Wait for the `count`-th event of these types."""
        found: Dict[str, Any] = until(
            lambda: self.events(*types, service=service)[count - 1 :], within, lambda: "event %d of %s; %s" % (count, types, self.story())
        )[0]
        return found

    def story(self) -> str:
        """What a failed wait should tell."""
        events = ["%s %s %s %s" % (e["seq"], e["type"], e.get("service"), e["data"]) for e in self.events()]
        log = self.sh("systemctl --no-pager status selfheal-watchdog; journalctl -q -n 25 --no-pager", expect=None)
        return "%s\n%s\n%s" % (self.name, "\n".join(events), log)


__all__ = ["PYZ", "SERVICE", "UNITS", "Bed", "until"]
