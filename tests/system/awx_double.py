# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the API of AWX 24: objects in memory, the checks AWX is known for, and every request that changed something kept.

It answers what awx.awx asks; docs/awx.md says what it shows and what not. `python3 awx_double.py PORT` runs one and says where.
"""

from __future__ import annotations

import http.server
import json
import re
import sys
import threading
import urllib.parse
from typing import Any, Dict, List, Optional, Tuple

TOKEN = "t0ken-of-the-fake"
PREFIX = "/api/v2/"
UNIFIED = ("job_templates", "workflow_job_templates", "projects")
SECRETS = ("password", "token", "grafana_key", "account_token", "aws_secret_access_key")
QUESTIONS = ("text", "textarea", "password", "integer", "float", "multiplechoice", "multiselect")
NEEDED: Dict[str, Tuple[str, ...]] = {
    "organizations": ("name",),
    "execution_environments": ("name", "image"),
    "projects": ("name", "organization", "scm_type", "scm_url"),
    "inventories": ("name", "organization"),
    "inventory_sources": ("name", "inventory", "source", "source_project"),
    "notification_templates": ("name", "organization", "notification_type", "notification_configuration"),
    "job_templates": ("name", "project", "inventory", "playbook"),
    "workflow_job_templates": ("name",),
    "workflow_job_template_nodes": ("identifier", "workflow_job_template"),
    "schedules": ("name", "unified_job_template", "rrule"),
    "credentials": ("name",),
    "instance_groups": ("name",),
}
POINTERS = {"organization": "organizations", "project": "projects", "source_project": "projects", "inventory": "inventories"}

Thing = Dict[str, Any]


class Refused(Exception):
    """Answered with `status` and `body`."""

    def __init__(self, status: int, body: Thing) -> None:
        super().__init__(status)
        self.status, self.body = status, body


class Store:
    """What this AWX holds. `requests`: what was to change it: method, path, body.

    trouble: (method, beginning of the path, status) that is answered with that status.
    """

    def __init__(self) -> None:
        self.things: Dict[str, Dict[int, Thing]] = {kind: {} for kind in NEEDED}
        self.related: Dict[str, List[int]] = {}
        self.surveys: Dict[str, Thing] = {}
        self.requests: List[Tuple[str, str, Thing]] = []
        self.trouble: Optional[Tuple[str, str, int]] = None
        self._serial = 0
        for kind, name in (("credentials", "fleet-key"), ("instance_groups", "onsite")):
            self.add(kind, {"name": name})

    def add(self, kind: str, body: Thing) -> Thing:
        missing = [key for key in NEEDED[kind] if not body.get(key)]
        if missing:
            raise Refused(400, {key: ["This field is required."] for key in missing})
        for key, target in POINTERS.items():
            if body.get(key) is not None and body[key] not in self.things[target]:
                raise Refused(400, {key: ["Invalid pk - object does not exist."]})
        if self._key(body) in [self._key(thing) for thing in self.things[kind].values()]:
            raise Refused(400, {"__all__": ["%s with this Organization and Name already exists." % kind]})
        if kind == "schedules" and not re.match(r"DTSTART\S* .*RRULE:.*INTERVAL=", body["rrule"]):
            raise Refused(400, {"rrule": ["One or more rule required in rrule."]})
        self._serial += 1
        address = "%s%s/%d/" % (PREFIX, kind, self._serial)
        thing = {**_hidden(body), "id": self._serial, "url": address, "type": kind.rstrip("s").replace("inventorie", "inventory")}
        thing["related"] = {"survey_spec": address + "survey_spec/", "launch": address + "launch/"}
        thing.update({"scm_revision": "", "summary_fields": {}})
        for prompt in ("limit", "variables", "job_type"):
            thing.setdefault("ask_%s_on_launch" % prompt, False)
        self.things[kind][self._serial] = thing
        return thing

    def search(self, kind: str, query: Dict[str, str]) -> List[Thing]:
        kinds = UNIFIED if kind == "unified_job_templates" else (kind,)
        things = [thing for one in kinds for thing in self.things[one].values()]
        return [thing for thing in things if all(str(thing.get(key)) == value for key, value in query.items() if value != "None")]

    def _key(self, thing: Thing) -> Tuple[Any, ...]:
        owner = [thing.get(key) for key in ("organization", "inventory", "workflow_job_template", "unified_job_template") if key in thing]
        return (thing.get("name"), thing.get("identifier"), tuple(owner))

    # -- requests

    def answer(self, method: str, path: str, query: Dict[str, str], body: Thing) -> Tuple[int, Thing]:
        if method != "GET":
            self.requests.append((method, path[len(PREFIX) :], body))
        if self.trouble is not None and method == self.trouble[0] and path.startswith(PREFIX + self.trouble[1]):
            raise Refused(self.trouble[2], {"detail": "scripted trouble with %s" % json.dumps(body)})
        kind, number, part = [*path[len(PREFIX) :].strip("/").split("/"), "", ""][:3]
        if not number:
            return (201, self.add(kind, body)) if method == "POST" else _listed(self.search(kind, query))
        thing = self.things[kind].get(int(number))
        if thing is None:
            raise Refused(404, {"detail": "Not found."})
        if part == "survey_spec":
            return self._survey(path, method, body)
        if part == "launch":
            spec = self.surveys.get(thing["related"]["survey_spec"], {"spec": []})["spec"]
            needed = {question["variable"] for question in spec if question["required"]} - set(body.get("extra_vars", {}))
            if needed:
                raise Refused(400, {"variables_needed_to_start": sorted(needed)})
            return 201, {"id": 1, "status": "pending", "url": PREFIX + "jobs/1/"}
        if part:
            return self._associate(path, kind, part, method, body)
        if method == "PATCH":
            thing.update(_hidden(body))
        return 200, thing

    def _survey(self, path: str, method: str, body: Thing) -> Tuple[int, Thing]:
        for question in body.get("spec", []):
            lacking = {"question_name", "variable", "type", "required"} - set(question)
            if lacking or question["type"] not in QUESTIONS or (question["type"].startswith("multi") and not question.get("choices")):
                raise Refused(400, {"error": "survey question %s is not valid" % question})
        if method == "POST":
            self.surveys[path] = body
        return 200, self.surveys.get(path, {})

    def _associate(self, path: str, kind: str, part: str, method: str, body: Thing) -> Tuple[int, Thing]:
        there = self.related.setdefault(path, [])
        if method == "POST":
            (there.remove if body.get("disassociate") else there.append)(body["id"])
            return 204, {}
        target = kind if part.endswith("_nodes") else re.sub(r"_(error|success|started)$", "", part)
        return _listed([self.things[target][number] for number in there])


def _hidden(body: Thing) -> Thing:
    """As AWX shows it: secrets of a notification are never seen again."""
    settings = body.get("notification_configuration", {})
    shown = {key: "$encrypted$" if key in SECRETS and value else value for key, value in settings.items()}
    return {**body, "notification_configuration": shown} if settings else dict(body)


def _listed(things: List[Thing]) -> Tuple[int, Thing]:
    return 200, {"count": len(things), "next": None, "results": things}


class Double:
    """The server, on a free port of this machine by default. A context manager; `store` may be looked at and changed meanwhile."""

    def __init__(self, port: int = 0) -> None:
        store = self.store = Store()

        class Handler(http.server.BaseHTTPRequestHandler):
            def _do(self) -> None:
                address = urllib.parse.urlsplit(self.path)
                text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    if self.headers.get("Authorization") != "Bearer " + TOKEN:
                        raise Refused(401, {"detail": "Authentication credentials were not provided."})
                    body = json.loads(text) if text else {}
                    status, answer = store.answer(self.command, address.path, dict(urllib.parse.parse_qsl(address.query)), body)
                except Refused as refused:
                    status, answer = refused.status, refused.body
                data = b"" if status == 204 else json.dumps(answer).encode()
                self.send_response(status)
                headers = {"X-API-Product-Name": "AWX", "X-API-Product-Version": "24.6.1", "Content-Type": "application/json"}
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = _do

            def log_message(self, format: str, *words: Any) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = "http://127.0.0.1:%d" % self._server.server_address[1]

    def serve(self) -> None:
        self._server.serve_forever(0.05)

    def __enter__(self) -> Double:
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_words: Any) -> None:
        self._server.shutdown()
        self._server.server_close()


if __name__ == "__main__":
    alone = Double(int(sys.argv[1]))
    print(alone.url, flush=True)
    alone.serve()
