# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real hosts of the lab for measurements: the watchdog, services of systemd to break, and the observer that breaks and times them.

A measurement that needs something else on its hosts (an engine of containers, HAProxy) starts from here: `bench_hosts` gives fresh ones and
removes them, `BenchHost.order` has the observer do its work.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
from typing import Any, Dict, Iterator, List, Optional, Sequence

from observer import Healed, beside
from stage import HERE, PERIOD, TIMEOUT, build_victim, end_on_signals, wait

sys.path.insert(0, str(HERE.parent / "lab"))

import engine
import lab
from engine import Unavailable

PREFIX = "selfheal-bench-"
DISTRIBUTIONS = {"debian12": "Debian 12", "debian13": "Debian 13"}
PLACE = "/usr/local/lib/selfheal-bench"
PYZ = "/usr/local/lib/selfheal/selfheal.pyz"
UNITS = "/usr/local/lib/systemd/system"
TIMELINE = "/var/lib/selfheal/timeline/000001.jsonl"
WATCHDOG = ("Type=notify", "ExecStart=/usr/bin/python3 -I %s watch" % PYZ, "Restart=always", "RestartSec=100ms", "WatchdogSec=10")
FIRST_PORT = 8000


class Unit:
    """A victim that systemd runs."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.port = port

    def contract(self, **more: Any) -> Dict[str, Any]:
        """What a user would write, with the period and timeout of the measurement; everything else is the default."""
        probe = {"role": "liveness", "http": {"url": "http://127.0.0.1:%d/" % self.port}, "period": PERIOD, "timeout": TIMEOUT}
        return {"name": self.name, "resource": {"unit": self.name + ".service"}, "probes": [probe], **more}

    def order(self, how: str, after: float, log: Optional[str] = None, words: Sequence[str] = ()) -> Dict[str, Any]:
        """For the observer."""
        return {"name": self.name, "port": self.port, "how": how, "after": after, "log": log, "words": list(words)}


class BenchHost(lab.Host):
    """A host with the victim's program and the observer on it."""

    def __init__(self, host: lab.Host) -> None:
        super().__init__(host.name, host.distribution)
        self.units: List[Unit] = []

    def equip(self, folder: pathlib.Path) -> None:
        program = build_victim(folder)
        words = ["%s/victim" % PLACE] if program is not None else ["/usr/bin/python3", "-I", "-S", "%s/victim.py" % PLACE]
        self.copy(str(program or HERE / "victim.py"), words[-1])
        self.copy(str(HERE / "observer.py"), PLACE + "/observer.py")
        self.victim = " ".join(words)

    def install(self, *packages: str) -> None:
        """Have packages of the distribution; none of their services runs by itself."""
        self.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", "0755")
        self.sh("apt-get -q update", within=180)
        self.sh("DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends %s" % " ".join(packages), within=300)

    def services(self, name: str, count: int, *lines: str, mode: str = "answer", arguments: str = "") -> List[Unit]:
        """So many units, written and not yet started; `lines` go into [Service]. ``{name}`` in `arguments` is each one's name."""
        made = []
        for index in range(count):
            unit = Unit("%s%02d" % (name, index), FIRST_PORT + len(self.units))
            start = "ExecStart=%s %d %s %s" % (self.victim, unit.port, mode, arguments.format(name=unit.name))
            self.write("%s/%s.service" % (UNITS, unit.name), "\n".join(["[Service]", start, *lines]) + "\n")
            self.units.append(unit)
            made.append(unit)
        return made

    def unit(self, name: str, *lines: str) -> None:
        """One more unit, of `lines` in its [Service], running."""
        self.write("%s/%s.service" % (UNITS, name), "\n".join(["[Service]", *lines]) + "\n")
        self.sh("systemctl daemon-reload && systemctl start %s" % name, within=180)

    def start(self, units: Sequence[Unit]) -> None:
        self.sh("systemctl daemon-reload && systemctl start %s" % " ".join(unit.name for unit in units), within=60)

    def watch(self, archive: str, contracts: Sequence[Dict[str, Any]]) -> None:
        """Have the watchdog watch these services, and wait until it says that all are fine."""
        self.copy(archive, PYZ)
        self.write("/etc/selfheal/watchdog.json", json.dumps({"schema": 1, "host": self.name}))
        self.write("/etc/selfheal/contracts.json", json.dumps({"services": list(contracts)}))
        self.sh("mkdir -p -m 0700 /var/lib/selfheal /run/selfheal")
        self.unit("selfheal-watchdog", *WATCHDOG)
        wait(lambda: set(self.states().values()) == {"healthy"}, 120, "every service on %s is healthy" % self.name)

    def states(self) -> Dict[str, str]:
        """What the watchdog publishes: the state of each service."""
        text = self.sh("curl -s --max-time 5 http://127.0.0.1:9877/services", expect=None)
        return {each["name"]: each["state"] for each in json.loads(text)["services"]} if text else {}

    def events(self, type: str) -> List[Dict[str, Any]]:
        events = [json.loads(line) for line in self.sh("cat %s" % TIMELINE).splitlines()]
        return [event for event in events if event["type"] == type]

    def pid(self, unit: str) -> int:
        return int(self.show(unit, "MainPID")["MainPID"])

    # -- the observer

    def order(self, verb: str, orders: Sequence[Dict[str, Any]], within: float = 300.0) -> List[Healed]:
        """`injure`: one fault after the other; `beside`: all at once."""
        done = self.run("python3", "-I", PLACE + "/observer.py", verb, within=within, expect=None, text=json.dumps(orders))
        if done.returncode:
            raise SystemExit("the observer on %s: %s" % (self.name, done.stderr.strip()))
        return [Healed(*found) for found in json.loads(done.stdout)]

    def usage(self, seconds: float, *pids: int) -> List[List[float]]:
        """CPU seconds within `seconds`, and MB at their end, of each process."""
        argv = ["python3", "-I", PLACE + "/observer.py", "usage", str(seconds), *map(str, pids)]
        found: List[List[float]] = json.loads(self.run(*argv, within=seconds + 30).stdout)
        return found


@contextlib.contextmanager
def bench_hosts(distributions: Sequence[str], docker: bool = False) -> Iterator[List[BenchHost]]:
    """Fresh hosts, started beside each other, and removed at the end. Raises Unavailable, saying exactly why."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
    hosts: List[BenchHost] = []
    adding = threading.Lock()
    started = False
    end_on_signals()

    def have(distribution: str) -> None:
        host = BenchHost(lab.start_host(distribution, docker=docker))
        with adding:
            hosts.append(host)

    try:
        started = engine.start_engine()
        lab.sweep()
        for distribution in sorted(set(distributions)):
            lab.image(distribution, docker)
        if len(distributions) > 2 * lab.FEW:
            lab.allow_many()
        beside(*[lambda distribution=each: have(distribution) for each in distributions])  # type: ignore[misc]
        build_victim(folder)
        for host in hosts:
            host.equip(folder)
        yield hosts
    finally:
        beside(*[host.remove for host in hosts])
        if len(distributions) > 2 * lab.FEW:
            lab.as_before()
        if started:
            engine.stop_engine()
        shutil.rmtree(folder)


def address(host: lab.Host) -> str:
    """Where it is reached from this machine."""
    shown = engine.run("docker", "inspect", "--format", "{{.NetworkSettings.IPAddress}}", host.name)
    return shown.stdout.strip()


def let_in(hosts: Sequence[lab.Host], folder: pathlib.Path) -> pathlib.Path:
    """A key in `folder` with which root is reached by SSH on these hosts."""
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    public = key.with_name("key.pub").read_text()
    for host in hosts:
        host.run("sh", "-c", "umask 077 && mkdir -p ~/.ssh && cat > ~/.ssh/authorized_keys", text=public)
    return key


__all__ = ["DISTRIBUTIONS", "PREFIX", "TIMELINE", "UNITS", "BenchHost", "Unavailable", "Unit", "address", "bench_hosts", "let_in"]
