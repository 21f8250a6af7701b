# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two application hosts and an HAProxy host under load that logs every request: what clients notice of a fault.

HAProxy is configured by the templates of the role failover_proxy; the application hosts drain themselves through its agent checks.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import time
import uuid
from typing import Any, Callable, Dict, Iterator, List, NamedTuple

import jinja2
import pytest
import yaml
from bed import UNITS, Bed, until
from engine import run

HERE = pathlib.Path(__file__).resolve().parent
ROLE = HERE.parents[1] / "roles" / "failover_proxy"
REQUESTS = 10000
APP = """
[Service]
ExecStart=/usr/bin/python3 -I /usr/local/lib/traffic/app.py %s 8080 /srv/web
Restart=no
TimeoutStopSec=5
[Install]
WantedBy=multi-user.target
"""
SOCKET = "/run/haproxy/admin.sock"
SWITCH = (
    """
import sys
sys.path.insert(0, sys.argv[1])
from selfheal._actuators.haproxy import Backend
from selfheal._engine.switch import Switch, Wish
from selfheal._probes.engine import LocalHost
with LocalHost() as host:
    wish = Wish(sys.argv[2], sys.argv[3], wait=30.0)
    print(Switch(Backend("%s", "web"), wish, frozenset(), lambda: None, False).run(host))
"""
    % SOCKET
)


class Request(NamedTuple):
    began: float
    ended: float
    method: str
    id: int
    status: int
    by: str


class Load:
    """Requests under way from the HAProxy host."""

    def __init__(self, proxy: Bed, count: int) -> None:
        self.proxy = proxy
        self.stop = "/run/stop-%s" % uuid.uuid4().hex[:8]
        self.log = "/srv/log-%s" % uuid.uuid4().hex[:8]
        client = ["python3", "-I", "/usr/local/lib/traffic/client.py", "127.0.0.1", "80", str(count), self.stop, self.log]
        self._process = subprocess.Popen(["docker", "exec", proxy.name, *client], stderr=subprocess.PIPE, text=True)
        until(lambda: proxy.sh("test -s %s && echo yes || true" % self.log), 15, lambda: "requests are made")

    def end(self) -> List[Request]:
        """Every request; waits for the last one."""
        self.proxy.sh("touch %s" % self.stop)
        _out, errors = self._process.communicate(timeout=660)
        assert 0 == self._process.returncode, errors
        found = []
        for line in self.proxy.sh("cat %s" % self.log, within=60).splitlines():
            began, ended, method, number, status, by = line.split()
            found.append(Request(float(began), float(ended), method, int(number), int(status), by))
        return found


class Site:
    """app1 and app2 behind proxy."""

    def __init__(self, new_bed: Callable[..., Bed]) -> None:
        self.apps = {name: new_bed(distribution) for name, distribution in (("app1", "debian12"), ("app2", "debian13"))}
        self.proxy = new_bed("debian12", packages=("haproxy",))
        addresses = {name: host.address() for name, host in self.apps.items()}
        for name, host in self.apps.items():
            self._application(name, host, addresses)
        self._balancer(addresses)
        for name in self.apps:
            self.status(name, "UP")

    def _application(self, name: str, host: Bed, addresses: Dict[str, str]) -> None:
        host.copy(str(HERE / "traffic" / "app.py"), "/usr/local/lib/traffic/app.py")
        host.write(UNITS + "/web.service", APP % name)
        host.sh("systemctl daemon-reload && systemctl start web", within=120)
        probe = {"role": "liveness", "http": {"url": "http://127.0.0.1:8080/live"}, "period": 1, "timeout": 2}
        others = ["http://%s:8080/ready" % address for other, address in addresses.items() if other != name]
        contract = {
            "name": "web",
            "resource": {"unit": "web.service"},
            "probes": [probe],
            "confirm_period": 0.2,
            "failing_for": 6,  # on a busy machine a service that lives may be silent for seconds
            "recovered_after": 3,
            "fallback": {"agent_check": {"port": 9878}},
            "guard": {"peers": others},
        }
        host.contracts(contract)
        host.sh("systemctl daemon-reload && systemctl start selfheal-watchdog", within=120)
        host.healthy("web")

    def _balancer(self, addresses: Dict[str, str]) -> None:
        servers = [{"name": name, "address": address + ":8080", "agent_port": 9878} for name, address in addresses.items()]
        services = [{"name": "web", "bind": ["127.0.0.1:80"], "check": "/ready", "timeout_server": "1s", "servers": servers}]
        values = {**yaml.safe_load((ROLE / "vars" / "main.yml").read_text()), "ansible_managed": "the lab", "selfheal_proxy_x": None}
        texts = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True)
        texts.filters["bool"] = bool
        for name, value in yaml.safe_load((ROLE / "defaults" / "main.yml").read_text()).items():
            values[name] = texts.from_string(value).render() if isinstance(value, str) else value
        values.update(failover_proxy_services=services, failover_proxy_global=[])
        for template, path in (("selfheal.cfg.j2", values["failover_proxy_config"]), ("dropin.conf.j2", values["failover_proxy_dropin"])):
            text = texts.from_string((ROLE / "templates" / template).read_text()).render(**values)
            self.proxy.write(path, text)
        self.proxy.copy(str(ROLE / "files" / "haproxy-save-state.py"), values["failover_proxy_save"])
        self.proxy.copy(str(HERE / "traffic" / "client.py"), "/usr/local/lib/traffic/client.py")
        self.proxy.sh("systemctl daemon-reload && systemctl restart haproxy", within=120)

    def shown(self) -> Dict[str, str]:
        """The status of each server as HAProxy has it."""
        script = 'import socket; s = socket.socket(socket.AF_UNIX); s.connect("%s"); s.sendall(b"show stat web 4 -1\\n")\n' % SOCKET
        script += 'print(b"".join(iter(lambda: s.recv(65536), b"")).decode())'
        lines = [line.split(",") for line in self.proxy.run("python3", "-c", script).stdout.splitlines() if line]
        return {line[1]: line[lines[0].index("status")] for line in lines[1:]}

    def status(self, name: str, begins: str, within: float = 30.0) -> None:
        until(lambda: self.shown()[name].startswith(begins), within, lambda: "%s is %s: %s" % (name, begins, self.shown()))

    def switch(self, state: str, name: str) -> None:
        """What the module traffic_switch does, by the same code."""
        said = self.proxy.run("python3", "-I", "-c", SWITCH, "/usr/local/lib/selfheal/selfheal.pyz", state, name, within=60).stdout
        assert said.startswith("Switched(status='ok'"), said

    def answers(self, name: str) -> None:
        """Wait until an application answers; whoever gives it traffic earlier hands it requests it cannot take."""
        ask = "curl -fs -o /dev/null --max-time 2 http://127.0.0.1:8080/live && echo yes || true"
        until(lambda: "yes" in self.apps[name].sh(ask), 30, lambda: "%s answers" % name)

    def posts(self) -> List[int]:
        """Every POST that was carried out, by whomever."""
        found: List[int] = []
        for host in self.apps.values():
            found += [int(line) for line in host.sh("cat /srv/web/posts 2>/dev/null || true", within=60).split()]
        return found


@pytest.fixture
def site(new_bed: Callable[..., Bed]) -> Iterator[Site]:
    yield Site(new_bed)


def judged(site: Site, requests: List[Request], measured: Callable[[str], None], what: str) -> None:
    """Nobody noticed, but those whose POST was under way at the very moment; and no POST was carried out twice."""
    failed = [request for request in requests if request.status != 200]
    gets, posts = [[request for request in failed if request.method == method] for method in ("GET", "POST")]
    worst = max(request.ended - request.began for request in requests)
    carried = site.posts()
    text = "%s: %d requests, %d GET and %d POST failed, %d POSTs carried out, %d twice, slowest %.2f s"
    measured(text % (what, len(requests), len(gets), len(posts), len(carried), len(carried) - len(set(carried)), worst))
    assert REQUESTS <= len(requests)
    assert [] == gets
    assert len(carried) == len(set(carried))
    assert len(posts) <= 24, "more than were under way at once"


def at(event: Dict[str, Any]) -> float:
    import datetime

    return datetime.datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00")).timestamp()


@pytest.mark.long(120)
def test_killed(site: Site, measured: Callable[[str], None]) -> None:
    """C60 kill -9 under load: no GET fails, no POST is carried out twice, and the service is started again."""
    load = Load(site.proxy, REQUESTS)
    site.apps["app1"].kill("web")
    recovered = site.apps["app1"].event("recover", within=60)
    judged(site, load.end(), measured, "kill -9")
    begun = site.apps["app1"].events("start", "restart")
    assert [recovered["incident"]] == [event["incident"] for event in begun], "started again, once"


@pytest.mark.long(140)
def test_hung(site: Site, measured: Callable[[str], None]) -> None:
    """C55 a hang under load: traffic leaves on suspicion, before the restart, and returns only after proof."""
    load = Load(site.proxy, REQUESTS)
    app1 = site.apps["app1"]
    app1.kill("web", "STOP")
    failover = app1.event("failover")
    until(lambda: not site.shown()["app1"].startswith("UP"), 15, lambda: "HAProxy has heard it: %s" % site.shown())
    drained = time.time()  # all hosts have this machine's clock
    restart = app1.event("restart", within=60)
    assert at(failover) < at(restart)
    failback = app1.event("failback", within=90)
    recover = app1.event("recover", within=90)
    assert at(failback) >= at(recover) - 0.05
    site.status("app1", "UP")
    requests = load.end()
    judged(site, requests, measured, "hang, server timeout 1 s")
    away = [each for each in requests if each.began > drained and each.ended < at(failback)]
    assert {"app2"} == {each.by for each in away if each.status == 200}
    assert "app1" in {each.by for each in requests if each.began > at(failback) + 2.5} or requests[-1].began < at(failback) + 3


@pytest.mark.long(120)
def test_drained_for_a_restart(site: Site, measured: Callable[[str], None]) -> None:
    """C60 a planned restart costs nobody anything: drained until its last session has ended, restarted, given traffic again."""
    load = Load(site.proxy, REQUESTS)
    site.switch("drain", "app1")
    site.apps["app1"].sh("systemctl restart web")
    site.answers("app1")
    site.switch("primary", "app1")
    requests = load.end()
    judged(site, requests, measured, "drain for a restart")
    assert [] == site.apps["app1"].events("restart", "start") + site.apps["app2"].events("restart", "start"), (
        "nothing but ours was restarted"
    )
    assert [] == [each for each in requests if each.status != 200], "not even a POST"


@pytest.mark.long(150)
def test_the_whole_host_stops(site: Site, measured: Callable[[str], None]) -> None:
    """C60 docker stop of an application host under load, and its return."""
    load = Load(site.proxy, REQUESTS)
    run("docker", "stop", "-t", "5", site.apps["app1"].name, within=60)
    site.status("app1", "DOWN")
    requests = load.end()
    failed = [each for each in requests if each.status != 200 and each.method == "GET"]
    run("docker", "start", site.apps["app1"].name, within=60)
    until(lambda: site.apps["app1"].run("true", expect=None).returncode == 0, 30, lambda: "the host is back")
    judged(site, requests, measured, "host stopped")
    assert [] == failed
    assert "app2" == requests[-1].by


@pytest.mark.long(60)
def test_the_last_one_is_not_drained(site: Site) -> None:
    """C56 with the other host gone, a host that is suspected keeps its traffic, and says why."""
    run("docker", "kill", site.apps["app2"].name, within=60)
    site.status("app2", "DOWN")
    app1 = site.apps["app1"]
    app1.sh("touch /srv/web/bad")
    blocked = app1.event("blocked", within=30)
    assert "last_available" == blocked["data"]["reason"], blocked
    assert [] == app1.events("failover")
    assert json.loads(app1.selfheal("status", "--json", expect=None)) is not None
