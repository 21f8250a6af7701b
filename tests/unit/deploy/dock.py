# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container engine in a process of its own, which keeps its containers in a dictionary: `dock.py SOCKET`.

It refuses what Docker Engine refuses: a name or a port that is taken, what is not there. Beside the engine's interface it answers
``/_test``: GET tells everything, PUT replaces it. ``at``: the number of the request that changes something at which ``harm`` is done,
before it or after it: ``kill`` whoever asks, or ``drop`` the connection and the next few (or so `long`), as if the
engine were restarted. With ``lasting`` seconds a stop whose asker is killed after it was begun goes on for so long: running, as Docker
calls it, or with ``podman`` stopping, when nothing starts it.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import struct
import sys
import time
import urllib.parse

DROPS = 3
EMPTY = {
    "containers": {},
    "images": {},
    "serial": 0,
    "changes": 0,
    "at": 0,
    "harm": "",
    "when": "",
    "drops": 0,
    "long": 0,
    "log": [],
    "most": 0,
    "lasting": 0.0,
    "podman": False,
    "libpod": "",
    "events": [],
}


class Refused(Exception):
    def __init__(self, status, words):
        super().__init__(words)
        self.status = status


class Dock:
    def __init__(self):
        self.state = dict(EMPTY)

    @property
    def containers(self):
        return self.state["containers"]

    def find(self, name):
        for told in self.containers.values():
            if name in (told["Id"], told["Name"][1:]):
                return told
        raise Refused(404, "No such container: %s" % name)

    # -- what goes on by itself

    def tell(self, told, action, **attributes):
        actor = {"ID": told["Id"], "Attributes": {"name": told["Name"][1:], **attributes}}
        event = {"Type": "container", "Action": action, "Actor": actor, "timeNano": time.time_ns()}
        self.state["events"] = self.state["events"][-20:] + [event]

    def stopping(self, told):
        """Its end was asked for, and comes whoever may die meanwhile."""
        told["EndsAt"] = time.time() + self.state["lasting"]
        if self.state["podman"]:
            told["State"]["Status"] = "stopping"
        else:
            self.tell(told, "kill", signal="15")

    def settle(self):
        for told in self.containers.values():
            if told.get("EndsAt", math.inf) <= time.time():
                self.ended(told)

    def ended(self, told):
        told.pop("EndsAt", None)
        told["State"].update(Status="exited", ExitCode=143, FinishedAt="2026-01-01T00:01:00Z")
        if not self.state["podman"]:
            self.tell(told, "die", exitCode="143")
            self.tell(told, "stop")

    # -- requests

    def answer(self, method, path, query, body):
        parts = path.strip("/").split("/")
        if parts[0] == "images":
            name = "/".join(parts[1:-1])
            for reference, identity in self.state["images"].items():
                if name in (reference, identity):
                    return 200, {"Id": identity, "Config": {}}
            raise Refused(404, "No such image: %s" % name)
        if parts[0] == "events":
            since, until = float(query["since"]) * 1e9, float(query["until"]) * 1e9
            who = json.loads(query["filters"])["container"]
            return 200, [each for each in self.state["events"] if each["Actor"]["ID"] in who and since <= each["timeNano"] <= until]
        if parts[0] == "networks":
            return self.network(parts[1], parts[2], body)
        if method == "GET":
            return 200, self.find(parts[1])
        if method == "DELETE":
            told = self.find(parts[1])
            del self.containers[told["Id"]]
            return 204, None
        if parts[1] == "create":
            return self.create(query["name"], body)
        getattr(self, parts[2])(self.find(parts[1]), query, body)
        return 204, None

    def create(self, name, body):
        if any(told["Name"] == "/" + name for told in self.containers.values()):
            raise Refused(409, 'Conflict. The container name "/%s" is already in use' % name)
        if body["Image"] not in self.state["images"].values():
            raise Refused(404, "No such image: %s" % body["Image"])
        self.state["serial"] += 1
        identity = "%064x" % self.state["serial"]
        networks = (body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {"bridge": {}}
        self.containers[identity] = {
            "Id": identity,
            "Name": "/" + name,
            "Image": body["Image"],
            "Created": "2026-01-01T00:00:00Z",
            "RestartCount": 0,
            "Config": {key: body.get(key) or {} for key in ("Labels", "Healthcheck")},
            "HostConfig": {"RestartPolicy": {"Name": "no"}, **(body.get("HostConfig") or {})},
            "NetworkSettings": {
                "Ports": {},
                "Networks": {net: {**(told or {}), "IPAddress": "10.0.0.9"} for net, told in networks.items()},
            },
            "State": {"Status": "created", "Pid": 0, "ExitCode": 0, "StartedAt": "", "FinishedAt": "", "Error": ""},
            "Mounts": [],
        }
        self.containers[identity]["Config"].update(StopTimeout=1, Image=body["Image"])
        return 201, {"Id": identity}

    def ports(self, told):
        bindings = told["HostConfig"].get("PortBindings") or {}
        return [each["HostPort"] for each in sum(bindings.values(), []) if each.get("HostPort")]

    def start(self, told, _query, _body):
        if told["State"]["Status"] == "running":
            return
        if told["State"]["Status"] == "stopping":
            raise Refused(500, "container state improper: it is stopping")
        for other in self.containers.values():
            if other["State"]["Status"] == "running" and set(self.ports(other)) & set(self.ports(told)):
                raise Refused(500, "driver failed: Bind for 127.0.0.1:%s failed: port is already allocated" % self.ports(told)[0])
        self.state["serial"] += 1
        self.tell(told, "start")
        told["State"].update(Status="running", StartedAt="2026-01-01T00:00:%09.6fZ" % (self.state["serial"] / 1000))
        if told["Config"]["Healthcheck"]:
            told["State"]["Health"] = {"Status": "unhealthy" if told["Image"].startswith("sha256:ill") else "healthy", "Log": []}
        running = [each for each in self.containers.values() if each["State"]["Status"] == "running"]
        self.state["most"] = max(self.state["most"], len(running))

    def stop(self, told, _query, _body):
        if "EndsAt" in told:
            time.sleep(max(0.0, told["EndsAt"] - time.time()))
        if told["State"]["Status"] in ("running", "stopping"):
            self.ended(told)

    def unpause(self, told, _query, _body):
        told["State"]["Status"] = "running"

    def rename(self, told, query, _body):
        if any(other["Name"] == "/" + query["name"] for other in self.containers.values()):
            raise Refused(409, 'Conflict. The container name "/%s" is already in use' % query["name"])
        told["Name"] = "/" + query["name"]

    def update(self, told, _query, body):
        told["HostConfig"].update(body)

    def network(self, name, verb, body):
        networks = self.find(body["Container"])["NetworkSettings"]["Networks"]
        if (name in networks) is (verb == "connect"):
            raise Refused(403, "endpoint with name in network %s: already exists, or is not connected" % name)
        if verb == "connect":
            networks[name] = {**(body.get("EndpointConfig") or {}), "IPAddress": "10.0.0.8"}
        else:
            del networks[name]
        return 200, None


def read(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return None
        data += piece
    head, _end, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head.lower())
    while len(body) < (int(found.group(1)) if found else 0):
        body += connection.recv(65536)
    method, target = head.split(b" ", 2)[:2]
    parts = urllib.parse.urlsplit(target.decode())
    return method.decode(), urllib.parse.unquote(parts.path), dict(urllib.parse.parse_qsl(parts.query)), json.loads(body) if body else None


def say(connection, status, body, libpod=""):
    lines = isinstance(body, list)  # events are one document a line
    data = b"" if body is None else b"".join(json.dumps(each).encode() + b"\n" for each in (body if lines else [body]))
    version = b"Libpod-Api-Version: %s\r\n" % libpod.encode() if libpod else b""
    connection.sendall(b"HTTP/1.1 %d X\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, version, len(data), data))


def harm(dock, connection):
    """What was ordered happens to whoever asks."""
    if dock.state["harm"] == "kill":
        pid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        os.kill(pid, signal.SIGKILL)
    else:
        dock.state["drops"] = dock.state["long"] or DROPS


def one(dock, connection):
    asked = read(connection)
    if asked is None:
        return
    method, path, query, body = asked
    state = dock.state
    dock.settle()
    if path == "/_test":
        if method == "PUT":
            dock.state = {**EMPTY, **body}
        say(connection, 200, dock.state)
        return
    if state["drops"]:
        state["drops"] -= 1
        return
    now = False
    if method != "GET":
        state["changes"] += 1
        state["log"] = state["log"] + ["%s %s %s" % (method, path.split("/")[-1], query.get("name", ""))]
        now = state["changes"] == state["at"]
        if now and state["when"] == "before":
            harm(dock, connection)
            return
        if now and state["lasting"] and path.endswith("/stop") and state["harm"] == "kill":
            dock.stopping(dock.find(path.split("/")[2]))
            harm(dock, connection)
            return
    try:
        status, told = dock.answer(method, path, query, body)
    except Refused as error:
        status, told = error.status, {"message": str(error)}
    if now:
        harm(dock, connection)
        return
    say(connection, status, told, state["libpod"])


def main(path):
    dock = Dock()
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(path)
    server.listen(64)
    parent = os.getppid()
    server.settimeout(1.0)
    while os.getppid() == parent:
        try:
            connection, _address = server.accept()
        except socket.timeout:
            continue
        with connection:
            connection.settimeout(10.0)
            try:
                one(dock, connection)
            except (BrokenPipeError, ConnectionResetError):
                time.sleep(0)  # whoever asked was killed


if __name__ == "__main__":
    main(sys.argv[1])
