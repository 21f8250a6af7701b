# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real watchdog moves traffic: at HAProxy's runtime socket, and through its own agent checks. The service itself goes on running."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import sys
from typing import Any, Dict, Iterator

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "unit"))

from haproxy_double import Double


@pytest.fixture
def proxy(bed: Any) -> Iterator[Double]:
    made = Double(str(bed.folder / "admin.sock"))
    yield made
    made.close()


def suspected(bed: Any, fallback: Dict[str, Any]) -> Dict[str, Any]:
    """A service that can be suspected for minutes before it is restarted."""
    return bed.service(failing_for=300, fallback=fallback)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as agent:
            return b"".join(iter(lambda: agent.recv(100), b"")).decode()
    except OSError:
        return ""


def test_traffic_leaves_at_haproxy_and_returns(bed: Any, proxy: Double) -> None:
    """C60 away at the threshold, told again when HAProxy forgets, back after proof; nothing was restarted for it."""
    states = bed.folder / "states"
    options = {"socket": proxy.path, "backend": "web", "primary": "a", "backup": "b", "state_file": str(states)}
    bed.contracts(suspected(bed, {"haproxy": options}))
    bed.watch()
    bed.healthy()
    (bed.home("web") / "bad").touch()
    assert "web/a" == bed.event("failover")["data"]["backend"]
    bed.until(lambda: proxy.servers["a"] == "MAINT", 5, "a is out of the traffic")
    bed.until(states.exists, 5, "the states are saved")
    bed.until(lambda: json.loads(bed.get("/services/web")[1])["traffic"] == "backup", 5, "the watchdog shows it")
    proxy.servers["a"] = "UP"
    bed.until(lambda: proxy.servers["a"] == "MAINT", 15, "a balancer that forgot is told again")
    (bed.home("web") / "bad").unlink()
    bed.event("failback")
    bed.until(lambda: proxy.servers["a"] == "UP", 5, "a has its traffic again")
    assert 1 == bed.starts() and [] == bed.events("restart")
    bed.run("timeline", "verify")


def test_no_backup_is_told_and_a_hung_haproxy_stops_nothing(bed: Any, proxy: Double) -> None:
    """C56 C58 the service beside it is healed while HAProxy does not answer."""
    options = {"socket": proxy.path, "backend": "web", "primary": "a", "backup": "b", "state_file": str(bed.folder / "states")}
    proxy.servers["b"] = "DOWN"
    bed.contracts(suspected(bed, {"haproxy": options}), bed.service("other"))
    bed.watch()
    bed.healthy("web", "other")
    (bed.home("web") / "bad").touch()
    assert "no_backup" == bed.event("blocked")["data"]["reason"]
    assert "UP" == proxy.servers["a"] and [] == bed.events("failover")
    proxy.hangs = True
    other = bed.pid("other")
    os.kill(other, 9)
    bed.event("recover")
    assert other != bed.pid("other")


def test_the_host_drains_itself(bed: Any) -> None:
    """C37 an agent check hears up, drain, drain again from the watchdog after a kill -9, and ready."""
    port = free_port()
    bed.contracts(suspected(bed, {"agent_check": {"port": port}}))
    daemon = bed.watch()
    bed.healthy()
    assert "up ready\n" == ask(port)
    (bed.home("web") / "bad").touch()
    bed.until(lambda: ask(port) == "drain\n", 10, "the balancer hears drain")
    bed.event("failover")
    daemon.kill()
    daemon.wait(10)
    assert "" == ask(port)
    bed.watch()
    bed.until(lambda: ask(port) == "drain\n", 10, "the next watchdog says the same")
    (bed.home("web") / "bad").unlink()
    bed.until(lambda: ask(port) == "up ready\n", 15, "the balancer hears ready")
    assert 1 == len(bed.events("failover")) and 1 == len(bed.events("failback"))
    assert 1 == bed.starts()


def test_an_agent_port_of_a_contract_that_is_gone_is_closed(bed: Any) -> None:
    """A reload opens and closes ports with the contracts."""
    first, second = free_port(), free_port()
    bed.contracts(suspected(bed, {"agent_check": {"port": first}}))
    daemon = bed.watch()
    bed.until(lambda: ask(first) == "up ready\n", 10, "the first port answers")
    bed.contracts(suspected(bed, {"agent_check": {"port": second}}))
    daemon.send_signal(1)
    bed.until(lambda: ask(second) == "up ready\n", 10, "the second port answers")
    assert "" == ask(first)


def test_traffic_that_a_removed_contract_leaves_away_is_told(bed: Any, proxy: Double) -> None:
    """Whoever takes the contract of a failing service away is told that nobody gives its traffic back; the traffic is not touched."""
    options = {"socket": proxy.path, "backend": "web", "primary": "a", "backup": "b", "state_file": str(bed.folder / "states")}
    bed.contracts(suspected(bed, {"haproxy": options}), bed.service("other"))
    daemon = bed.watch()
    bed.healthy("web", "other")
    (bed.home("web") / "bad").touch()
    bed.until(lambda: proxy.servers["a"] == "MAINT", 15, "a is out of the traffic")
    bed.contracts(bed.service("other"))
    daemon.send_signal(1)
    note = bed.event("note")
    assert ("web", "fallback_removed") == (note["service"], note["data"]["reason"])
    assert "haproxy" in note["data"]["text"] and "MAINT" == proxy.servers["a"]
