# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watchdog's own life: start, reload, stop, one at a time, and what it tells systemd."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import socket
import time
from typing import Any, List


def test_stopping_it_stops_no_service(bed: Any) -> None:
    """C11: SIGTERM ends the watchdog at once, with an event; what it watches goes on, and the next one does not start it twice."""
    bed.contracts(bed.service())
    watchdog = bed.watch()
    bed.healthy()
    pid = bed.pid()
    watchdog.send_signal(signal.SIGTERM)
    assert 0 == watchdog.wait(5)
    assert "SIGTERM" == bed.events("watchdog_stop")[0]["data"]["reason"]
    assert bed.alive(pid)
    bed.watch()
    bed.healthy()
    assert pid == bed.pid() and 1 == bed.starts() and 1 == len(bed.events("start"))


def test_broken_contracts_are_refused_by_name_and_the_old_stay(bed: Any) -> None:
    """SIGHUP with a broken file: `contract_refused` names the problems, and the old contracts still heal. A good file is taken."""
    web = bed.service()
    bed.contracts(web)
    watchdog = bed.watch()
    bed.healthy()
    bed.contracts({**web, "name": "Not A Name", "probes": []})
    watchdog.send_signal(signal.SIGHUP)
    refused = bed.event("contract_refused")
    assert 2 == len(refused["data"]["problems"]) and "services[0].name" in refused["data"]["problems"][0]
    assert json.loads(bed.get("/health")[1])["contracts_refused"]
    os.kill(bed.pid(), signal.SIGKILL)
    bed.event("recover")
    checks = bed.json("status", "web")["services"][0]["checks"]["all"]
    bed.contracts(web, bed.service("second"))
    watchdog.send_signal(signal.SIGHUP)
    loaded = bed.event("contract_loaded", count=2)
    assert ["second"] == loaded["data"]["added"] and [] == loaded["data"]["changed"]
    bed.healthy("web", "second")
    assert json.loads(bed.get("/health")[1])["contracts_refused"] is None
    assert checks <= bed.json("status", "web")["services"][0]["checks"]["all"], "an unchanged service keeps its healer"
    bed.contracts(bed.service("second"))
    watchdog.send_signal(signal.SIGHUP)
    assert ["web"] == bed.event("contract_loaded", count=3)["data"]["removed"]
    bed.until(lambda: bed.get("/services/web")[0] == 404, 5, "web is watched no more")
    assert bed.alive(bed.pid()), "a service that is watched no more goes on"


def test_a_changed_contract_keeps_what_is_remembered(bed: Any) -> None:
    """A contract changed during an incident is taken into force without forgetting the incident or its place on the ladder."""
    web = bed.service(ladder=[{"rung": "restart", "attempts": 3, "timeout": 3}])
    bed.contracts(web)
    watchdog = bed.watch()
    bed.healthy()
    (bed.home("web") / "bad").touch()
    bed.event("restart")
    bed.contracts({**web, "recovered_after": 0.7})
    watchdog.send_signal(signal.SIGHUP)
    assert ["web"] == bed.event("contract_loaded", count=2)["data"]["changed"]
    assert 2 == bed.event("restart", count=2, within=20)["data"]["attempt"]
    assert 1 == len(bed.events("failure"))


def test_a_second_watchdog_gives_way(bed: Any) -> None:
    """A second watch on the same run_dir exits with 4 and says the pid of the first."""
    bed.contracts(bed.service())
    first = bed.watch()
    second = bed.run("watch", expect=4)
    assert "pid %d" % first.pid in second.stderr


def test_a_taken_port_is_an_error_that_names_it(bed: Any) -> None:
    """Without its endpoints it does not run: the dead-man metric would lie. The message names the port."""
    bed.contracts(bed.service())
    with socket.socket() as other:
        other.bind(("127.0.0.1", bed.port))
        other.listen()
        done = bed.run("watch", expect=4)
    assert "port %d" % bed.port in done.stderr and 0 == bed.starts()


def test_it_does_not_start_on_broken_contracts_and_names_every_problem(bed: Any) -> None:
    """At the start there is no old contract to fall back on: exit 2, all problems on stderr, no traceback."""
    web = bed.service()
    bed.contracts({**web, "modus": "auto", "failing_for": -1})
    done = bed.run("watch", expect=2)
    assert "modus" in done.stderr and "failing_for" in done.stderr and "Traceback" not in done.stderr


def test_it_tells_systemd_how_it_is(bed: Any) -> None:
    """READY after the first cycle, signs of life twice in each WatchdogSec, RELOADING around a reload, STOPPING with a sentence."""
    address = str(bed.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(address)
        notify.settimeout(10)
        said: List[str] = []

        def wait_for(word: str) -> None:
            end = time.monotonic() + 60
            while not any(word in each for each in said):
                assert time.monotonic() < end, (word, said[-5:])
                said.append(notify.recv(4096).decode())

        bed.contracts(bed.service())
        watchdog = bed.watch(NOTIFY_SOCKET=address, WATCHDOG_USEC="1000000")
        wait_for("READY=1")
        bed.healthy()
        wait_for("nothing to do: 1 of 1 services healthy")
        began, said[:] = time.monotonic(), []
        while sum("WATCHDOG=1" in each for each in said) < 4:
            said.append(notify.recv(4096).decode())
        assert 1.0 < time.monotonic() - began < 3.0
        said.clear()
        watchdog.send_signal(signal.SIGHUP)
        wait_for("RELOADING=1")
        wait_for("READY=1")
        watchdog.send_signal(signal.SIGTERM)
        wait_for("STOPPING=1")
        assert 0 == watchdog.wait(5)


def test_it_is_small_and_sleeps(bed: Any) -> None:
    """With endpoints asked and a few services watched: at most 24 MB, and between probes it does not wake up."""
    bed.contracts(*[bed.service("s%d" % number) for number in range(3)])
    for contract in (contracts := json.loads((bed.etc / "contracts.json").read_text())["services"]):
        contract["probes"][0]["period"] = 10
    bed.contracts(*contracts)
    watchdog = bed.watch()
    bed.healthy("s0", "s1", "s2")
    for path in ("/", "/metrics", "/services", "/artifacts", "/health"):
        assert 200 == bed.get(path)[0]
    before = _switches(watchdog.pid)
    time.sleep(6)
    # One round of three probes may fall into the time, with a few wake-ups each.
    assert _switches(watchdog.pid) - before < 60
    assert _resident(watchdog.pid) <= 24 * 1024


def _switches(pid: int) -> int:
    return int(_field(pid, "voluntary_ctxt_switches"))


def _resident(pid: int) -> int:
    return int(_field(pid, "VmRSS").split()[0])


def _field(pid: int, name: str) -> str:
    text = pathlib.Path("/proc/%d/status" % pid).read_text()
    return next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(name + ":"))
