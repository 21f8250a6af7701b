# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments of images on a real engine, behind a real HAProxy, under load that logs every request.

The images hold links only: programs are those of the host, mounted read-only, so nothing has to be pulled. HAProxy is told `retries 0`, so
that what it would mend counts as failed.
"""

from __future__ import annotations

import io
import json
import pathlib
import subprocess
import tarfile
import uuid
from typing import Any, Callable, Dict, List, Optional

import pytest
from bed import PYZ, Bed, until

HERE = pathlib.Path(__file__).resolve().parent
REQUESTS = 10000
ROOT = "/srv/www"
FRONT = "http://127.0.0.1:80"
MAIN = """
global
    stats socket /run/haproxy/admin.sock mode 600 level admin expose-fd listeners
defaults
    mode http
    retries 0
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend shop
    bind 127.0.0.1:80
    default_backend web
"""
BACKEND = "backend web\n    server web @container:80@\n"
ROUTE = {
    "path": "/etc/haproxy/web.cfg",
    "content": BACKEND,
    "validate": ["/usr/sbin/haproxy", "-c", "-q", "-f", "/etc/haproxy/haproxy.cfg", "-f", "%s"],
    "reload": ["/usr/bin/systemctl", "reload", "haproxy"],
}
ITSELF = {"name": "itself", "http": {"url": "http://container/live"}, "timeout": 2}
WORD = {"name": "word", "exec": {"argv": ["/usr/bin/test", "-e", "/srv/go"]}, "timeout": 2}
READER = """
import http.client, os, sys, time
stop, log = sys.argv[1:]
with open(log, "w") as file:
    number = 0
    while number == 0 or not os.path.exists(stop):
        number, began = number + 1, time.time()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=10)
            connection.request("GET", "/")
            answer = connection.getresponse()
            status, who = answer.status, answer.read().decode() or "-"
            connection.close()
        except OSError as error:
            status, who = 0, type(error).__name__
        file.write("%.4f %.4f GET %d %d %s\\n" % (began, time.time(), number, status, who))
        file.flush()
        time.sleep(0.02)
"""
DEPLOY = """
import json, sys
sys.path.insert(0, sys.argv[1])
from selfheal._core.model import WatchdogConfig
from selfheal._engine.deploy_report import attempted
from selfheal._engine.deploy_site import DeploySite
from selfheal._engine.deployer import Deployer
from selfheal._probes.engine import LocalHost
order = json.loads(sys.argv[3])
with LocalHost() as host:
    site = DeploySite("/etc/selfheal", WatchdogConfig("lab", state_dir="/var/lib/selfheal", run_dir="/run/selfheal"), host, "module")
    deployer = Deployer(site, "/srv/www", "web", check=bool(order.get("check")))
    if sys.argv[2] == "start":
        ended = [attempted(lambda: deployer.start(order["request"]))]
    elif sys.argv[2] == "rollback":
        ended = [attempted(lambda: deployer.rollback(order.get("to")))]
    else:
        ended = deployer.resume(0.0)
    site.close()
print(json.dumps([{"outcome": each.outcome, "reason": each.reason, "detail": each.detail, "warnings": each.warnings} for each in ended]))
"""


def image(folder: pathlib.Path, version: str) -> str:
    """A tar of a root that says which version it is, and has the host's programs where they are mounted."""
    path = folder / ("%s.tar" % version)
    with tarfile.open(path, "w") as tar:
        for name in ("bin", "lib", "lib64"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, "usr/" + name
            tar.addfile(link)
        for name in ("usr", "tmp", "flags"):
            made = tarfile.TarInfo(name)
            made.type, made.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(made)
        for name, data in (("app.py", (HERE / "traffic" / "app.py").read_bytes()), ("version", version.encode())):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
    return str(path)


class Shop(Bed):
    """A host with an engine, HAProxy and images v1, v2 and bad."""

    def ready(self, folder: pathlib.Path) -> None:
        self.sh("systemctl start docker", within=60)
        for version in ("v1", "v2"):
            self.copy(image(folder, version), "/var/tmp/%s.tar" % version)
            self.docker("import", "/var/tmp/%s.tar" % version, "shop/web:" + version)
        self.write("/etc/haproxy/haproxy.cfg", MAIN)
        self.write("/etc/haproxy/web.cfg", "backend web\n")
        self.write("/etc/default/haproxy", 'EXTRAOPTS="-f /etc/haproxy/web.cfg"\n')
        self.copy(str(HERE / "traffic" / "client.py"), "/usr/local/lib/traffic-client.py")
        self.sh("mkdir -p /srv/www /srv/flags && systemctl restart haproxy", within=60)

    def docker(self, *argv: str, expect: Any = 0, within: float = 60.0) -> str:
        return self.run("docker", *argv, expect=expect, within=within).stdout.strip()

    def told(self, name: str) -> Dict[str, Any]:
        found: Dict[str, Any] = json.loads(self.docker("inspect", name))[0]
        return found

    def containers(self) -> Dict[str, str]:
        """Every container with its state."""
        lines = self.docker("ps", "-a", "--format", "{{.Names}} {{.State}}").splitlines()
        return dict(line.split() for line in lines)

    # -- deploying

    def request(self, identity: str, version: str, **more: Any) -> Dict[str, Any]:
        """What is asked for: beside the one before, led to by HAProxy, asked itself and through HAProxy."""
        image = {"reference": "shop/web:" + version, "container": "web", "definition": self.definition(version), "drain": 10}
        image.update(more.pop("image", {}))
        health = [
            ITSELF,
            {"name": "through HAProxy", "http": {"url": FRONT + "/live"}, "timeout": 2},
        ]
        wanted = {"root": ROOT, "project": "web", "id": identity, "source": {"image": image}, "routes": [ROUTE], "health": health}
        return {**wanted, "health_within": 60, **more}

    def definition(self, version: str, **host: Any) -> Dict[str, Any]:
        check = "test ! -e /tmp/web/sick && test ! -e /flags/no-%s" % version
        return {
            "Cmd": ["/bin/sh", "-c", "exec python3 -I /app.py $(cat /version) 80 /tmp/web"],
            "Healthcheck": {"Test": ["CMD-SHELL", check], "Interval": 10**9, "Timeout": 20 * 10**9, "Retries": 2},
            "StopTimeout": 1,
            "HostConfig": {"Binds": ["/usr:/usr:ro", "/srv/flags:/flags:ro"], "RestartPolicy": {"Name": "unless-stopped"}, **host},
        }

    def deployment(self, verb: str, order: Optional[Dict[str, Any]] = None) -> List[Dict[str, Any]]:
        argv = ("python3", "-I", "-c", DEPLOY, PYZ, verb, json.dumps(order or {}))
        found: List[Dict[str, Any]] = json.loads(self.run(*argv, within=120).stdout.splitlines()[-1])
        return found

    def deploy(self, identity: str, version: str, **more: Any) -> Dict[str, Any]:
        return self.deployment("start", {"request": self.request(identity, version, **more)})[0]

    def good(self, identity: str, version: str, **more: Any) -> Dict[str, Any]:
        """A deployment that becomes active."""
        done = self.deploy(identity, version, **more)
        assert "changed" == done["outcome"], (done, self.containers())
        return done

    def begin(self, identity: str, version: str, **more: Any) -> "subprocess.Popen[str]":
        """A deployment under way."""
        order = json.dumps({"request": self.request(identity, version, **more)})
        argv = ["docker", "exec", self.name, "python3", "-I", "-c", DEPLOY, PYZ, "start", order]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def journal(self, identity: str) -> Dict[str, Any]:
        text = self.sh("cat %s/web/.selfheal/deployments/%s.json 2>/dev/null || echo '{}'" % (ROOT, identity))
        found: Dict[str, Any] = json.loads(text)
        return found

    def in_phase(self, identity: str, phase: str) -> None:
        until(lambda: self.journal(identity).get("phase") == phase, 30, lambda: "%s is in %s: %s" % (identity, phase, self.story()))

    def serves(self, path: str = "/") -> str:
        """Which version answers through HAProxy."""
        return self.sh("curl -s --max-time 5 %s%s" % (FRONT, path), expect=None)

    def current(self) -> str:
        return self.sh("readlink %s/web/current" % ROOT).strip()


@pytest.fixture
def shop(new_bed: Callable[..., Bed], distribution: str, tmp_path: pathlib.Path) -> Shop:
    """A fresh host of each Debian with an engine and HAProxy inside."""
    bed = new_bed(distribution, docker=True, packages=("haproxy",))
    made = Shop(bed.name, bed.distribution)
    made.ready(tmp_path)
    return made


class Load:
    """Requests under way, from the host itself. count: as fast as can be, until there are so many; None: fifty a second."""

    def __init__(self, shop: Shop, count: Optional[int] = None) -> None:
        self.shop = shop
        name = uuid.uuid4().hex[:8]
        self.stop, self.log = "/run/stop-" + name, "/srv/log-" + name
        client = ["python3", "-I", "/usr/local/lib/traffic-client.py", "127.0.0.1", "80", str(count), self.stop, self.log]
        if count is None:
            client = ["python3", "-I", "-c", READER, self.stop, self.log]
        self._process = subprocess.Popen(["docker", "exec", shop.name, *client], stderr=subprocess.PIPE, text=True)
        until(lambda: shop.sh("test -s %s && echo yes || true" % self.log), 15, lambda: "requests are made")

    def end(self) -> List[List[str]]:
        """Every request: began, ended, method, id, status, by."""
        self.shop.sh("touch %s" % self.stop)
        _out, errors = self._process.communicate(timeout=660)
        assert 0 == self._process.returncode, errors
        return [line.split() for line in self.shop.sh("cat %s" % self.log, within=60).splitlines()]


def unchecked(definition: Dict[str, Any]) -> Dict[str, Any]:
    """Without a health check of its own: whether it works is asked from outside."""
    return {key: value for key, value in definition.items() if key != "Healthcheck"}


def served(requests: List[List[str]]) -> List[str]:
    """Who answered, in the order of the answers, each once in a row of its own."""
    found: List[str] = []
    for request in sorted(requests, key=lambda each: float(each[1])):
        if request[5] not in found:
            found.append(request[5])
    return found


@pytest.mark.long(120)
def test_nobody_notices(shop: Shop, measured: Callable[[str], None]) -> None:
    """C60 deployed, redeployed by the ladder, rolled back by the ladder and by a person under load: no request fails."""
    shop.good("one", "v1")
    assert "v1" == shop.serves()
    contract = {**shop.contract("web", 1), "resource": {"container": "web"}, "release": {"root": ROOT, "project": "web"}}
    contract["probes"] = [{"role": "liveness", "process": {}, "period": 1, "timeout": 3}]
    contract["ladder"] = [{"rung": rung, "attempts": 1, "timeout": 60} for rung in ("redeploy", "rollback")]
    shop.watch(contract)
    load = Load(shop, REQUESTS)

    assert [] == shop.good("two", "v2")["warnings"]
    assert {"web": "running", "web.selfheal-old": "exited"} == shop.containers()
    assert "v2" == shop.serves() and "no" == shop.told("web.selfheal-old")["HostConfig"]["RestartPolicy"]["Name"]

    # Its own health check calls it unhealthy, and it serves all the same: made anew.
    shop.docker("exec", "web", "/bin/sh", "-c", "touch /tmp/web/sick")
    shop.event("recover", within=90)
    assert ["redeploy"] == [each["type"] for each in shop.events("redeploy", "rollback")], shop.story()
    assert "deployments/two.r1" == shop.current() and {"web": "running", "web.selfheal-old": "exited"} == shop.containers()

    # Something on this host that v2 cannot stand: the ladder goes on, back to v1.
    shop.sh("touch /srv/flags/no-v2")
    shop.event("recover", count=2, within=120)
    assert ["redeploy", "rollback"] == [each["type"] for each in shop.events("redeploy", "rollback")], shop.story()
    assert "deployments/one" == shop.current() and "v1" == shop.serves()
    until(lambda: shop.journal("two")["standing"]["word"] == "bad", 30, shop.story)

    shop.sh("rm /srv/flags/no-v2; systemctl stop selfheal-watchdog")
    shop.good("three", "v2")
    assert "changed" == shop.deployment("rollback")[0]["outcome"] and "v1" == shop.serves()
    requests = load.end()
    failed = [each for each in requests if each[4] != "200"]
    measured("image: %d requests over 2 deployments, a redeployment, 2 rollbacks, %d failed" % (len(requests), len(failed)))
    assert REQUESTS <= len(requests) and [] == failed
    assert ["v1", "v2"] == served(requests)


@pytest.mark.long(60)
def test_what_does_not_do_never_serves(shop: Shop) -> None:
    """C47 C49 C52 a missing image, a name that is taken and an image that does not work: what serves goes on, and why is said."""
    shop.docker("create", "--name", "web", "shop/web:v1", "/bin/true")
    refused = shop.deploy("taken", "v1")
    assert ("failed", "name_conflict") == (refused["outcome"], refused["reason"]), refused
    assert "shop/web:v1" in refused["detail"] and "not ours" in refused["detail"] and {"web": "created"} == shop.containers()
    shop.docker("rm", "web")
    shop.good("one", "v1")
    load = Load(shop)
    missing = shop.deploy("missing", "v9")
    assert ("failed", "image_missing") == (missing["outcome"], missing["reason"]) and {"web": "running"} == shop.containers()

    # It runs and answers, but not as it should.
    shop.sh("touch /srv/flags/no-v2")
    sick = shop.deploy("sick", "v2")
    assert ("failed", "unhealthy") == (sick["outcome"], sick["reason"]), sick
    assert {"web": "running", "web.selfheal-failed": "exited"} == shop.containers() and "deployments/one" == shop.current()

    # It dies at once, and its policy would start it for ever.
    crashing = {**shop.definition("v2"), "Cmd": ["/bin/sh", "-c", "exit 3"]}
    crash = shop.deploy("crash", "v2", image={"definition": crashing})
    assert ("failed", "unhealthy") == (crash["outcome"], crash["reason"]), crash
    assert "exit code 3" in crash["detail"] or "by its policy" in crash["detail"], crash

    # Well by itself, and nobody gets to it through HAProxy: back, by the same way.
    shop.sh("rm /srv/flags/no-v2")
    probes = [ITSELF, {"name": "front", "http": {"url": FRONT + "/live", "body_text": "v3"}, "timeout": 2}]
    judged = shop.deploy("judged", "v2", health=probes, health_within=15, image={"definition": unchecked(shop.definition("v2"))})
    assert ("failed", "unhealthy") == (judged["outcome"], judged["reason"]), judged
    assert {"web": "running", "web.selfheal-failed": "exited"} == shop.containers() and "v1" == shop.serves()
    assert "bad" == shop.journal("judged")["standing"]["word"]
    assert [] == [each for each in load.end() if each[4] != "200"]
    broken = [{**ROUTE, "content": "backend web\n    no such word @container:80@\n"}]
    routed = shop.deploy("routed", "v2", routes=broken)
    assert ("failed", "route_failed") == (routed["outcome"], routed["reason"]) and "v1" == shop.serves()


@pytest.mark.long(60)
@pytest.mark.parametrize("well", [True, False], ids=["well", "ill"])
def test_killed_between_swap_and_proof(shop: Shop, well: bool) -> None:
    """C51 kill -9 of the deployer when the new one has the traffic and is not proven: resumed it becomes active, or all is put back."""
    shop.good("one", "v1")
    load = Load(shop)
    plain = {"definition": unchecked(shop.definition("v2"))}
    under_way = shop.begin("two", "v2", health=[ITSELF, WORD], health_within=120 if well else 20, image=plain)
    shop.in_phase("two", "health_check")
    shop.sh("kill -KILL %d" % shop.journal("two")["owner"]["pid"])
    under_way.communicate(timeout=60)
    assert {"web": "running", "web.selfheal-old": "running"} == shop.containers()
    if well:
        shop.sh("touch /srv/go")
    (ended,) = shop.deployment("resume")
    version = "v2" if well else "v1"
    assert ("changed" if well else "failed") == ended["outcome"], ended
    kept = {"web.selfheal-old": "exited"} if well else {"web.selfheal-failed": "exited"}
    assert {"web": "running", **kept} == shop.containers() and version == shop.serves()
    assert [] == shop.deployment("resume")
    assert [] == [each for each in load.end() if each[4] != "200"]


@pytest.mark.long(60)
def test_the_engine_restarts_in_the_middle(shop: Shop) -> None:
    """C04 the engine is restarted while a deployment waits for proof: it goes on when the engine is back, and one container serves."""
    shop.good("one", "v1")
    under_way = shop.begin("two", "v2", health=[WORD], health_within=120)
    shop.in_phase("two", "health_check")
    shop.sh("systemctl restart docker", within=90)
    shop.sh("touch /srv/go")
    out, errors = under_way.communicate(timeout=240)
    (ended,) = json.loads(out.splitlines()[-1])
    assert "changed" == ended["outcome"], (ended, errors)
    assert {"web": "running", "web.selfheal-old": "exited"} == shop.containers() and "v2" == shop.serves()
    shop.sh("systemctl restart docker", within=90)
    until(lambda: shop.containers()["web"] == "running", 30, shop.story)
    assert "exited" == shop.containers()["web.selfheal-old"], "what is kept has no policy any more"
    until(lambda: shop.serves() == "v2", 30, shop.story)


@pytest.mark.long(60)
def test_a_fixed_port_and_a_network_alias(shop: Shop) -> None:
    """Two cannot have one port: tried beside, then swapped in a moment. An alias is found by others at once, old or new."""
    host = {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}}
    fixed = {"definition": shop.definition("v1", **host)}
    probes = [{"http": {"url": "http://127.0.0.1:8080/live"}, "timeout": 2}, {"http": {"url": "http://container/live"}, "timeout": 2}]
    plain = {"routes": [], "health": probes, "image": fixed}
    shop.good("one", "v1", **plain)
    first = shop.told("web")["Id"]
    shop.sh("touch /srv/flags/no-v2")
    ill = shop.deploy("ill", "v2", routes=[], health=probes, image={"definition": shop.definition("v2", **host)})
    assert "failed" == ill["outcome"] and {"web": "running"} == shop.containers(), "the rehearsal has told, and nothing of it is left"
    assert first == shop.told("web")["Id"] and 0 == shop.told("web")["RestartCount"]
    shop.sh("rm /srv/flags/no-v2")
    shop.good("two", "v2", routes=[], health=probes, image={"definition": shop.definition("v2", **host)})
    assert "v2" == shop.sh("curl -s http://127.0.0.1:8080/") and {"web": "running", "web.selfheal-old": "exited"} == shop.containers()
    assert "changed" == shop.deployment("rollback")[0]["outcome"] and "v1" == shop.sh("curl -s http://127.0.0.1:8080/")

    shop.docker("network", "create", "shop")
    ask = "import urllib.request as r; print(r.urlopen('http://shop-web/', timeout=5).read().decode())"

    def found() -> str:
        argv = ("run", "--rm", "--network", "shop", "-v", "/usr:/usr:ro", "shop/web:v1", "/bin/python3", "-I", "-c", ask)
        return shop.docker(*argv)

    for identity, version in (("three", "v1"), ("four", "v2")):
        network = {"NetworkingConfig": {"EndpointsConfig": {"shop": {"Aliases": ["shop-web"]}}}}
        definition = {**shop.definition(version), **network}
        definition["HostConfig"]["NetworkMode"] = "shop"
        named = {"container": "named", "definition": definition}
        health = [{"http": {"url": "http://container/live"}, "timeout": 2}]
        shop.good(identity, version, routes=[], health=health, image=named)
        assert version == found()
    assert "shop" not in shop.told("named.selfheal-old")["NetworkSettings"]["Networks"]
