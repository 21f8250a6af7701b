# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Traffic at a real HAProxy: how soon it is on the backup, and how many requests a fault costs.

    python tests/bench/bench_traffic.py [--quick]

HAProxy runs by the configuration that the role failover_proxy writes; the anchor is the same without retries and without a watchdog. One
watchdog heals the primary and moves its traffic. From the decision until all is read back is measured in this process, over the real
timeline and state files; until the last request to the primary, at the whole watchdog, while a client asks without a pause. Then 10,000
requests, every tenth a POST, for each fault. Some four minutes.
"""

from __future__ import annotations

import datetime
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import jinja2
import yaml
from stage import HERE, Stage, Watchdog, wait
from table import Row, show, told

REQUESTS = 10000
MOVES = 300
WHOLE_MOVES = 20
MOVED_WITHIN = 0.050
LAB = HERE.parent / "lab" / "traffic"
ROLE = HERE.parents[1] / "roles" / "failover_proxy"
BARE = """
global
    stats socket %(socket)s mode 600 level admin
defaults
    mode http
    retries 0
    timeout connect 1s
    timeout client 30s
    timeout server 1s
    timeout check 500ms
    default-server inter 1s fall 2 rise 2 weight 100
frontend in
    bind 127.0.0.1:%(port)d
    default_backend web
backend web
    balance roundrobin
    option httpchk GET /ready
    server a 127.0.0.1:%(a)d check
    server b 127.0.0.1:%(b)d check
"""


def haproxy(unpacked: pathlib.Path) -> List[str]:
    """How HAProxy is called: named by HAPROXY, installed, or unpacked from Debian's packages, which needs no root."""
    found = os.environ.get("HAPROXY") or shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found:
        return [found]
    if not (unpacked / "usr" / "sbin" / "haproxy").exists():
        simulated = subprocess.run(
            ["apt-get", "install", "-s", "--no-install-recommends", "haproxy"], capture_output=True, text=True, check=False
        )
        names = [line.split()[1] for line in simulated.stdout.splitlines() if line.startswith("Inst ")]
        unpacked.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *names], cwd=unpacked, check=False)
        if not names or done.returncode != 0:
            raise SystemExit("haproxy is missing: apt-get install haproxy, or name it in HAPROXY")
        for package in unpacked.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(unpacked)], check=True)
            package.unlink()
    libraries = ":".join(sorted({str(path.parent) for path in unpacked.glob("usr/lib/**/*.so*")}))
    return ["/usr/bin/env", "LD_LIBRARY_PATH=" + libraries, str(unpacked / "usr" / "sbin" / "haproxy")]


class Answer(NamedTuple):
    began: float
    ended: float
    method: str
    id: int
    status: int
    by: str


class Site:
    """A primary `a`, which a watchdog heals or nobody does, and `b`, behind one HAProxy."""

    def __init__(self, stage: Stage, name: str, program: List[str], bare: bool = False) -> None:
        self.stage = stage
        self.name = name
        self.home = stage.folder / name
        self.home.mkdir()
        self.port = stage.port()
        self.ports = {"a": stage.port(), "b": stage.port()}
        self.socket = str(self.home / "admin.sock")
        self.states = str(self.home / "states")
        self.b = stage.run(self.argv("b"), name + "b")
        self.watchdog: Optional[Watchdog] = None
        config = self.home / "haproxy.cfg"
        config.write_text(BARE % {"socket": self.socket, "port": self.port, **self.ports} if bare else self._config())
        stage.run([*program, "-W", "-f", str(config)], name + "-haproxy")
        if bare:
            self.a = stage.run(self.argv("a"), name + "a")
        else:
            self.watchdog = stage.watchdog(name + "-watchdog", [self._contract()])
        wait(lambda: {"a", "b"} <= {self.ask() for _each in range(4)}, 60, "both servers of %s serve" % name)

    def argv(self, which: str) -> List[str]:
        return [self.stage.python, "-I", str(LAB / "app.py"), which, str(self.ports[which]), str(self.home / which)]

    def _config(self) -> str:
        texts = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True)
        texts.filters["bool"] = bool
        values: Dict[str, Any] = {}
        for name, value in yaml.safe_load((ROLE / "defaults" / "main.yml").read_text()).items():
            values[name] = texts.from_string(value).render() if isinstance(value, str) else value
        servers = [{"name": name, "address": "127.0.0.1:%d" % port} for name, port in self.ports.items()]
        service = {"name": "web", "bind": ["127.0.0.1:%d" % self.port], "check": "/ready", "timeout_server": "1s", "servers": servers}
        values.update(failover_proxy_services=[service], failover_proxy_global=[], ansible_managed="a measurement")
        values.update(failover_proxy_socket=self.socket, failover_proxy_state_file=self.states)
        return texts.from_string((ROLE / "templates" / "selfheal.cfg.j2").read_text()).render(**values)

    def fallback(self) -> Dict[str, Any]:
        return {"socket": self.socket, "backend": "web", "primary": "a", "backup": "b", "state_file": self.states}

    def _contract(self) -> Dict[str, Any]:
        probe = {"role": "liveness", "http": {"url": "http://127.0.0.1:%d/live" % self.ports["a"]}, "period": 0.5, "timeout": 0.4}
        return {
            "name": "web",
            "resource": {"process": {"argv": self.argv("a"), "stop_timeout": 1}},
            "probes": [probe],
            "confirm_period": 0.1,
            "failing_for": 3,
            "recovered_after": 1,
            "fallback": {"haproxy": self.fallback()},
            "guard": {"actions": 1000},
        }

    def ask(self) -> str:
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d/" % self.port, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return "-"

    def main_pid(self) -> int:
        """The primary's process."""
        mark = os.fsencode(str(self.home / "a"))
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue  # gone meanwhile
                if mark in words and b"app.py" in words[2]:
                    return int(entry.name)
        raise SystemExit("the primary of %s does not run" % self.name)

    def posts(self) -> List[int]:
        return [int(line) for which in self.ports for line in (self.home / which / "posts").read_text().split()]


class Load:
    """Requests under way."""

    def __init__(self, site: Site, count: int) -> None:
        self._stop, self._log = site.home / "stop", site.home / "log"
        client = [site.stage.python, "-I", str(LAB / "client.py"), "127.0.0.1", str(site.port), str(count), str(self._stop), str(self._log)]
        self._process = site.stage.run(client, site.name + "-client")
        wait(lambda: self._log.exists() and self._log.stat().st_size > 0, 30, "requests are made")

    def end(self) -> List[Answer]:
        self._stop.touch()
        if self._process.wait(660) != 0:
            raise SystemExit("the client failed")
        lines = [line.split() for line in self._log.read_text().splitlines()]
        return [
            Answer(float(began), float(ended), method, int(number), int(status), by) for began, ended, method, number, status, by in lines
        ]


# -- how soon


def read_back(site: Site, moves: int) -> Tuple[List[float], List[float]]:
    """Seconds from the decision until the move was read back, and until it was saved as well: the event, the state, HAProxy, its states."""
    sys.path.insert(0, site.stage.archive())
    from selfheal._core.model import Fallback
    from selfheal._engine.fallbacks import HaproxyFallback, fallback_for
    from selfheal._engine.job import Job
    from selfheal._probes.engine import LocalHost
    from selfheal._records.state import StateStore
    from selfheal._records.timeline import Timeline

    timeline, store = Timeline(str(site.home / "timeline"), "bench"), StateStore(str(site.home / "state"))
    fallback = fallback_for(Fallback("haproxy", site.fallback()), str(site.home), str(site.home))
    if not isinstance(fallback, HaproxyFallback):
        raise SystemExit("the fallback cannot be driven")
    seen: List[float] = []
    save = fallback._backend.save

    def noted() -> Any:
        # What is saved has been read back.
        seen.append(time.perf_counter())
        return save()

    fallback._backend.save = noted  # type: ignore[method-assign]
    moved, saved = [], []
    with LocalHost() as host:

        def done(work: Any) -> None:
            ended: List[Any] = []
            job: Any = Job(host, work, None, ended.append, repr)
            job.begin()
            while not ended:
                for handle in host.poll(host.monotonic() + 1):
                    job.ended(handle)
            if getattr(ended[0], "status", "") != "ok":
                raise SystemExit("a move failed: %s" % (ended[0],))

        for _move in range(moves):
            began = time.perf_counter()
            done(fallback.able())
            timeline.append("failover", "web", data={"from": "primary", "to": "backup", "reason": "liveness_failed"})
            store.save("web", {"memory": {"traffic": "to_backup"}})
            done(fallback.open())
            saved.append(time.perf_counter() - began)
            moved.append(seen[-1] - began)
            done(fallback.close())
    timeline.close()
    return moved, saved


def _ask_on(site: Site, asked: List[Tuple[float, str]], ending: threading.Event) -> None:
    while not ending.is_set():
        asked.append((time.time(), site.ask()))


def last_request(site: Site, moves: int) -> List[float]:
    """Seconds from the failover's time in the timeline until the last request that the primary still got had begun; 0 if it was before."""
    watchdog = site.watchdog
    if watchdog is None:
        raise SystemExit("nobody watches")
    sick = site.home / "a" / "sick"
    found = []
    for move in range(1, moves + 1):
        asked: List[Tuple[float, str]] = []
        ending = threading.Event()
        thread = threading.Thread(target=_ask_on, args=(site, asked, ending))
        thread.start()
        sick.touch()
        wait(lambda move=move: len(watchdog.events("web", "failover")) >= move, 30, "traffic leaves")
        time.sleep(0.3)
        ending.set()
        thread.join()
        decided = stamp(watchdog.events("web", "failover")[move - 1])
        found.append(max([0.0] + [at - decided for at, by in asked if by == "a"]))
        sick.unlink()
        wait(lambda move=move: len(watchdog.events("web", "failback")) >= move, 60, "traffic returns")
        wait(lambda: "a" in {site.ask() for _each in range(3)}, 30, "the primary serves again")
    return found


def stamp(event: Dict[str, Any]) -> float:
    return datetime.datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00")).timestamp()


# -- how many


def kill(site: Site) -> None:
    os.kill(site.main_pid(), signal.SIGKILL)


def hang(site: Site) -> None:
    os.kill(site.main_pid(), signal.SIGSTOP)


def drain(site: Site) -> None:
    from selfheal._actuators.haproxy import Backend
    from selfheal._engine.switch import Switch, Wish
    from selfheal._probes.engine import LocalHost

    for wish in (Wish("drain", "a", wait=30.0), Wish("primary", "a", wait=30.0)):
        with LocalHost() as host:
            made = Switch(Backend(site.socket, "web", site.states), wish, frozenset(), lambda: None, False).run(host)
        if made.status != "ok":
            raise SystemExit("drained in vain: %s" % made.detail)


def fault(site: Site, what: str, requests: int) -> Tuple[int, int, int, int, float]:
    """Requests, failed GETs, failed POSTs, POSTs carried out twice, slowest."""
    load = Load(site, requests)
    {"kill": kill, "hang": hang, "drain": drain}[what](site)
    if site.watchdog is not None and what != "drain":
        wait(lambda: site.watchdog is not None and site.watchdog.events("web", "recover"), 90, "the primary is healed")
    answers = load.end()
    failed = [answer.method for answer in answers if answer.status != 200]
    posts = site.posts()
    slowest = max(answer.ended - answer.began for answer in answers)
    return len(answers), failed.count("GET"), failed.count("POST"), len(posts) - len(set(posts)), slowest


def rows(stage: Stage, quick: bool) -> Iterator[Row]:
    program = haproxy(HERE.parents[1] / ".venv" / "debian" / "haproxy")
    requests = 2000 if quick else REQUESTS
    site = Site(stage, "moves", program)
    moved, saved = map(sorted, read_back(site, MOVES // 10 if quick else MOVES))
    p99 = moved[min(len(moved) - 1, int(len(moved) * 0.99))]
    ours = "%s, p99 %.1f ms; saved as well %s" % (told(moved), p99 * 1000, told(saved))
    yield Row("traffic on the backup: decision to read back", ours, must="p99 ≤ 50 ms", ok=p99 <= MOVED_WITHIN)
    values = last_request(site, 3 if quick else WHOLE_MOVES)
    yield Row("the same, whole watchdog: to the last request", told(values), must="≤ 50 ms", ok=max(values) <= MOVED_WITHIN)
    bare = fault(Site(stage, "bare", program, bare=True), "kill", requests)
    anchor = "no retries: %d of %d" % (bare[1], bare[0])
    for what, words in (("kill", "kill -9"), ("hang", "hang, server timeout 1 s"), ("drain", "drained for planned work")):
        made, gets, posts, twice, slowest = fault(Site(stage, what, program), what, requests)
        ours = "%d of %d GET and POST: %d GET, %d POST in flight; %d POST twice; slowest %.2f s" % (
            gets + posts,
            made,
            gets,
            posts,
            twice,
            slowest,
        )
        good = gets == 0 and twice == 0 and made >= requests and (what != "drain" or posts == 0)
        yield Row("requests failed: " + words, ours, anchor if what == "kill" else "-", must="0 GET, 0 POST twice", ok=good)


def main(argv: List[str]) -> int:
    with Stage() as stage:
        return show(rows(stage, "--quick" in argv))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
