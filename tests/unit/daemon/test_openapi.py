# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/openapi.json says what the endpoints really answer, in every state a service can be in, and to whatever is asked."""

from __future__ import annotations

import json
import pathlib
import re
import time
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from daemon_stage import Stage
from hypothesis import given, settings
from hypothesis import strategies as st

from selfheal._engine.ports import Held
from selfheal._records.timeline import Timeline
from selfheal.daemon.http import PHRASES, Refused, Request, Response, parse, render

TYPES: Dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
KEYWORDS = {
    *("type", "enum", "pattern", "minimum", "maximum", "required", "properties", "additionalProperties", "items", "anyOf", "$ref"),
    *("description", "default"),
}


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads((pathlib.Path(__file__).resolve().parents[3] / "docs" / "openapi.json").read_text())


def problems(document: Any, schema: Any, value: Any, where: str = "") -> Iterator[str]:
    """What does not fit, by the keywords this document uses; an unknown keyword is a problem of the document."""
    assert set(schema) <= KEYWORDS, schema
    if "$ref" in schema:
        yield from problems(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], value, where)
        return
    if "anyOf" in schema:
        found = [list(problems(document, each, value, where)) for each in schema["anyOf"]]
        yield from min(found, key=len)
        return
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    fits = any(isinstance(value, TYPES[name]) and not (name in ("integer", "number") and isinstance(value, bool)) for name in names)
    if not fits:
        yield "%s: %r is no %s" % (where, value, names)
    elif "enum" in schema and value not in schema["enum"]:
        yield "%s: %r is none of %s" % (where, value, schema["enum"])
    elif isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield "%s: %r does not match %s" % (where, value, schema["pattern"])
    elif isinstance(value, (int, float)) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield "%s: %r is out of bounds" % (where, value)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from problems(document, schema["items"], each, "%s[%d]" % (where, number))
    elif isinstance(value, dict) and "properties" in schema:
        yield from ("%s.%s is missing" % (where, key) for key in schema["required"] if key not in value)
        yield from ("%s.%s is not documented" % (where, key) for key in value if key not in schema["properties"])
        for key in value:
            if key in schema["properties"]:
                yield from problems(document, schema["properties"][key], value[key], "%s.%s" % (where, key))


def fits(document: Any, path: str, answer: Response) -> List[str]:
    """What of an answer is not as documented for that path."""
    known = document["paths"][path]["get"]["responses"].get(str(answer.status))
    if known is None:
        return ["%s answered %d" % (path, answer.status)]
    ((kind, content),) = known["content"].items()
    if kind != answer.type:
        return ["%s: %s is no %s" % (path, answer.type, kind)]
    if not kind.startswith("application/json"):
        return []
    return list(problems(document, content["schema"], json.loads(answer.body), path))


def stages(tmp_path: pathlib.Path) -> Iterator[Stage]:
    """One daemon in every state it and its services can be in."""
    stage = Stage("web", "db", "stopped", "dead", "broken", "foreign")
    timeline = Timeline(str(tmp_path / "timeline"), "h1")
    timeline.append("failure", "web", "web-1", "liveness", {"reason": "liveness_failed"})
    timeline.append("watchdog_start", data={"pid": 1})
    stage.board.config = stage.board.config.__class__("h1", state_dir=str(tmp_path))
    yield stage
    stage.run(5)
    yield stage
    world = stage.world
    world.bodies["web"].results["liveness"] = "bad"
    world.bodies["db"].results["liveness"] = "slow"
    world.bodies["stopped"].stopped = True
    world.bodies["dead"].alive = False
    for body in world.bodies.values():
        body.ends(stage.host)
    stage.rounds._fault(stage.services["broken"], stage.rounds.find("broken"), RuntimeError("out of ideas"))
    stage.rounds.leave("foreign")
    stage.board.unsupported["foreign"] = stage.services["foreign"], "nothing here can act on it"
    world.desk.holds["db"] = Held("held by ada: fire")
    stage.board.refused = "services[0]: wrong"
    for until in (20.0, 30.0, 45.0, 100.0, 400.0):
        stage.run(until)
        yield stage


def test_every_answer_is_as_documented_in_every_state(document: Any, tmp_path: pathlib.Path) -> None:
    """Statuses, types and every key of every answer: none more, none less."""
    seen: set[Tuple[str, int]] = set()
    for stage in stages(tmp_path):
        for path in document["paths"]:
            for name in ("web", "db", "stopped", "dead", "broken", "foreign", "nobody") if "{name}" in path else ("",):
                answer = stage.endpoints.answer(Request("GET", path.replace("{name}", name), {}, {}, "localhost"))
                seen.add((path, answer.status))
                assert fits(document, path, answer) == []
    assert ("/health/ready", 503) in seen and ("/services/{name}", 404) in seen and ("/services/{name}/ready", 503) in seen


def test_the_document_names_exactly_what_is_there(document: Any) -> None:
    """Every path there is, every status there can be, and what is open without a token."""
    stage = Stage("web")
    assert set(stage.endpoints._pages) | {"/services/{name}", "/services/{name}/ready"} == set(document["paths"])
    said = {int(status) for path in document["paths"].values() for status in path["get"]["responses"]}
    assert said | {500} == set(PHRASES)
    stage.endpoints.token = "open-sesame-open"
    stage.board.config = stage.board.config.__class__("h1", listen=("10.0.0.1", 9877))
    for path, says in document["paths"].items():
        status = stage.endpoints.answer(Request("GET", path.replace("{name}", "web"), {}, {})).status
        assert (status != 401) is ("401" not in says["get"]["responses"]) is (says["get"]["security"] == [{}]), path


def test_parameters_are_judged_as_documented(document: Any, tmp_path: pathlib.Path) -> None:
    """`limit`, `type` and `service` of /artifacts: what fits the document is answered, what does not is a 400."""
    stage = list(stages(tmp_path))[-1]
    for query, status in (
        ({"limit": "1"}, 200),
        ({"limit": "1000", "type": "failure", "service": "web"}, 200),
        ({"limit": "0"}, 400),
        ({"limit": "1001"}, 400),
        ({"limit": "-1"}, 400),
        ({"limit": "1e3"}, 400),
        ({"limit": "٣"}, 400),
        ({"limit": "9" * 5000}, 400),
        ({"colour": "red"}, 400),
    ):
        answer = stage.endpoints.answer(Request("GET", "/artifacts", query, {}))
        assert status == answer.status, query
        assert fits(document, "/artifacts", answer) == []


SNIPPETS = [
    *(
        b"GET ",
        b"HEAD ",
        b"POST ",
        b"OPTIONS ",
        b"PRI * HTTP/2.0",
        b" HTTP/1.1",
        b" HTTP/1.0",
        b" HTTP/9",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
    ),
    *(
        b"/",
        b"//",
        b"/health",
        b"/health/live",
        b"/services/",
        b"web",
        b"/ready",
        b"/artifacts?",
        b"limit=",
        b"5",
        b"-1",
        b"&",
        b"=",
        b"type=failure",
    ),
    *(b"%", b"%00", b"%2e%2e%2f", b"%ff%fe", b"%zz", b"..", b"\x00", b"\xff", b"Host: ", b"localhost", b"evil.example", b":9877", b"[::1]"),
    *(
        b"http://",
        b"Authorization: Bearer x",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"Upgrade: h2c",
        b": ",
        b"x" * 300,
    ),
]


@settings(max_examples=600, deadline=None, derandomize=True)
@given(st.lists(st.one_of(st.sampled_from(SNIPPETS), st.binary(max_size=12)), max_size=14).map(b"".join))
def test_whatever_is_asked_is_answered_as_documented(head: bytes) -> None:
    """600 requests of pieces and rubbish: a documented status each, never a fault of ours, never more than an instant."""
    began = time.monotonic()
    try:
        request = parse(head)
    except Refused as refusal:
        assert refusal.status in (400, 405, 505)
        return
    answer = FUZZED.endpoints.answer(request)
    assert answer.status in (200, 400, 401, 404, 421, 503)
    raw = render(answer, request.method == "GET")
    assert raw.startswith(b"HTTP/1.1 %d " % answer.status)
    head_lines = raw.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert all(b"\r" not in line and b"\n" not in line for line in head_lines), "nothing of a request becomes a header"
    assert time.monotonic() - began < 1.0


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    st.sampled_from(["/", "/health", "/services", "/services/web", "/services/web/ready", "/metrics"])
    | st.text(max_size=30).map("/".__add__),
    st.dictionaries(st.sampled_from(["limit", "type", "service"]) | st.text(max_size=5), st.text(max_size=8), max_size=3),
    st.dictionaries(st.sampled_from(["authorization", "host", "x"]), st.text(max_size=40), max_size=3),
)
def test_no_path_query_or_header_breaks_a_page(path: str, query: Dict[str, str], headers: Dict[str, str]) -> None:
    """Decoded text of every kind, lone surrogates too: an answer that can be sent."""
    for token in (None, "open-sesame-open"):
        FUZZED.endpoints.token = token
        answer = FUZZED.endpoints.answer(Request("GET", path, query, headers))
        assert answer.status in PHRASES and answer.status != 500
        assert render(answer, True).endswith(answer.body)
    FUZZED.endpoints.token = None


def _fuzzed() -> Stage:
    stage = Stage("web", "db")
    stage.board.config = stage.board.config.__class__("h1", state_dir="/nonexistent")
    stage.run(12)
    return stage


FUZZED = _fuzzed()
