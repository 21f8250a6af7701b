# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments of images against an engine of the test's own, and what must hold whenever one looks."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

from deploy_helpers import LocalHost, Stage
from killing import ILL, OK, Theatre

from selfheal._records import files

IMAGES = {"web:v1": "sha256:v1", "web:v2": "sha256:v2", "web:v3": "sha256:v3", "web:ill": "sha256:ill"}
POLICY = {"Name": "unless-stopped", "MaximumRetryCount": 0}
NAME = "web"
HEALTHCHECK = {"Test": ["CMD", "true"], "Interval": 10**9}


class Engine:
    """The process of `dock.py`, and what it is told."""

    def __init__(self, folder):
        self.path = str(folder / "engine.sock")
        script = str(pathlib.Path(__file__).parent / "dock.py")
        self._process = subprocess.Popen([sys.executable, script, self.path])
        end = time.monotonic() + 20
        while not self._answers():
            if time.monotonic() > end:
                self.end()
                raise AssertionError("the engine that is played does not answer")
            time.sleep(0.01)
        self.put(images=IMAGES)

    def _answers(self):
        """Its socket lies there a moment before anybody listens."""
        try:
            return bool(self.state())
        except OSError:
            return False

    def end(self):
        self._process.kill()
        self._process.wait()

    def _ask(self, method, body=None):
        data = b"" if body is None else json.dumps(body).encode()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(self.path)
            sock.sendall(b"%s /_test HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (method.encode(), len(data), data))
            answer = b"".join(iter(lambda: sock.recv(1 << 20), b""))
        return json.loads(answer.partition(b"\r\n\r\n")[2])

    def state(self):
        return self._ask("GET")

    def put(self, **state):
        self._ask("PUT", state)

    def harm(self, number, kind, when):
        """From now on count anew: at the `number`-th change."""
        self.put(**{**self.state(), "changes": 0, "at": number, "harm": kind, "when": when, "log": [], "most": 0})

    def at_rest(self):
        """Everything that goes on by itself has ended."""
        end = time.monotonic() + 20
        while any("EndsAt" in told for told in self.state()["containers"].values()):
            assert time.monotonic() < end, "what was being stopped has not ended"
            time.sleep(0.01)

    def by_name(self):
        return {told["Name"][1:]: told for told in self.state()["containers"].values()}


def request(stage, identity, version, kind="route", health=None, **image):
    """What is asked for, with a container that is led to in one of the ways there are."""
    definition = {"Healthcheck": HEALTHCHECK, "HostConfig": {"RestartPolicy": POLICY}, "Labels": {"shop": "yes"}}
    routes = []
    if kind == "route":
        routes = [{"path": str(stage.base / "route"), "content": "server web @container:80@\n"}]
    elif kind == "swap":
        definition["HostConfig"]["PortBindings"] = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}
    elif kind == "alias":
        definition["NetworkingConfig"] = {"EndpointsConfig": {"shop": {"Aliases": ["shop"]}, "back": {"Aliases": ["deep"]}}}
    wanted = {"reference": "web:" + version, "container": NAME, "definition": definition, "drain": 0, **image}
    request = {"root": str(stage.root), "project": "web", "id": identity, "source": {"image": wanted}, "routes": routes}
    return {**request, "health": health or OK, "health_within": 0.0}


class Harbour(Theatre):
    """A project whose v1 serves; each scene starts from the same files and containers. `kind`: route, swap or alias."""

    def __init__(self, place, engine, kind):
        self.base, self.template, self.route = place, place / "template", place / "route"
        self.engine, self.kind = engine, kind
        engine.put(images=IMAGES)
        self.route.write_text("server nobody\n")
        with LocalHost() as host:
            stage = Stage(place, host)
            stage.project.mkdir(mode=0o755)
            told = self.deploy(stage, "v1")
            assert told.outcome == "changed", told
        self.keep()

    def keep(self):
        """From here every scene begins."""
        if self.template.exists():
            shutil.rmtree(self.template)
        shutil.copytree(self.base / "www", self.template / "www", symlinks=True)
        shutil.copytree(self.base / "state", self.template / "state")
        self._text = self.route.read_text()
        self._state = self.engine.state()

    def reset(self):
        for name in ("www", "state", "run", "etc"):
            if (self.base / name).exists():
                shutil.rmtree(self.base / name)
        shutil.copytree(self.template / "www", self.base / "www", symlinks=True)
        shutil.copytree(self.template / "state", self.base / "state")
        self.route.write_text(self._text)
        self.engine.put(**self._state)
        files._swept.clear()

    def deploy(self, stage, name="v2", health=None, version=None):
        return stage.deployer().start(request(stage, name, version or name, self.kind, health))

    # -- what must hold

    def serving(self):
        """The containers that anybody is led to."""
        running = [told for told in self.engine.by_name().values() if told["State"]["Status"] == "running"]
        if self.kind == "route":
            port = re.search(r":(\d+)", self.route.read_text()).group(1)
            return [told for told in running if told["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"] == port]
        if self.kind == "alias":
            return [told for told in running if "shop" in (told["NetworkSettings"]["Networks"].get("shop") or {}).get("Aliases", ())]
        return [told for told in running if (told["HostConfig"].get("PortBindings") or {}).get("80/tcp", [{}])[0].get("HostPort") == "8080"]

    def holds_at_any_time(self):
        """Somebody serves who has passed the gate; with one port, at most one."""
        serving = self.serving()
        assert "ill" not in " ".join(told["Image"] for told in serving) or self.kind == "swap", serving
        if self.kind == "swap":
            assert len(serving) <= 1, serving
        else:
            assert serving, self.engine.state()["log"]

    def holds_at_rest(self, stage):
        """Everything is over, one container serves, of the release that is current, and nothing stays but what is kept for a reason."""
        self.engine.at_rest()
        entries = stage.entries()
        assert all(entry.over for entry in entries.values()), {entry.id: entry.phase for entry in entries.values()}
        name = os.path.basename(stage.current)
        there = self.engine.by_name()
        here = there.pop(NAME)
        assert [here["Id"]] == [told["Id"] for told in self.serving()], (self.engine.state()["log"], there)
        assert here["Config"]["Labels"]["selfheal.release"] == name and here["Config"]["Labels"]["shop"] == "yes"
        assert here["HostConfig"]["RestartPolicy"] == POLICY
        assert set(there) <= {NAME + ".selfheal-old", NAME + ".selfheal-failed"}, sorted(there)
        for told in there.values():
            assert told["State"]["Status"] == "exited" and told["HostConfig"]["RestartPolicy"]["Name"] == "no", told
        acts = [entry for entry in entries.values() if entry.activated_at]
        assert max(acts, key=lambda entry: entry.activated_at).release == name
        held = stage.site().leases.list()
        assert [str(each) for each in held if each.owner is None or each.owner.alive() is not False] == []
        return name


__all__ = ["ILL", "NAME", "OK", "Engine", "Harbour", "request"]
