# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP probes against servers that answer properly: what is sent, what is asserted, what is followed, what is shown."""

from __future__ import annotations

import json
import threading

import pytest

from selfheal._core.model import HttpTarget
from selfheal._core.reasons import Reason
from selfheal._probes import http_body
from selfheal._probes.http import HttpProbe
from selfheal._probes.http_request import first_request

DOCUMENT = {"status": "green", "count": 3, "ok": True, "ratio": 1.0, "nodes": [{"ready": True}, {"ready": False}], "none": None}


@pytest.mark.parametrize(
    ("status", "accepted", "healthy"),
    [
        ("200 OK", ((200, 299),), True),
        ("204 No Content", ((200, 299),), True),
        ("299 Odd", ((200, 299),), True),
        ("300 Choices", ((200, 299),), False),
        ("404 Not Found", ((200, 299),), False),
        ("404 Not Found", ((200, 200), (404, 404)), True),
        ("302 Found", ((302, 302),), True),
        ("500 Oops", ((500, 599),), True),
    ],
)
def test_status(ask, replies, answer, status, accepted, healthy):
    """200-299 is healthy unless the contract says otherwise; the code is kept as data."""
    outcome = ask(replies(answer(status, ["Location: /elsewhere"])), timeout=5, status=accepted)
    assert outcome.status == ("ok" if healthy else "bad")
    assert outcome.reason is (None if healthy else Reason.BAD_STATUS)
    assert outcome.data["http_status"] == int(status[:3])


@pytest.mark.parametrize(
    ("assertion", "reason"),
    [
        ({"body_text": "green"}, None),
        ({"body_text": "grün"}, Reason.BODY_MISMATCH),
        ({"body_regex": r'"count":\s*\d'}, None),
        ({"body_regex": "^count"}, Reason.BODY_MISMATCH),
        ({"body_text": "green", "body_regex": "amber"}, Reason.BODY_MISMATCH),
        ({"json": (("status", "green"),)}, None),
        ({"json": (("status", "red"),)}, Reason.JSON_MISMATCH),
        ({"json": (("count", 3), ("ratio", 1), ("none", None))}, None),
        ({"json": (("count", "3"),)}, Reason.JSON_MISMATCH),
        ({"json": (("ok", True),)}, None),
        ({"json": (("ok", 1),)}, Reason.JSON_MISMATCH),
        ({"json": (("ratio", True),)}, Reason.JSON_MISMATCH),
        ({"json": (("nodes.0.ready", True), ("nodes.-1.ready", False))}, None),
        ({"json": (("nodes.2.ready", True),)}, Reason.JSON_MISMATCH),
        ({"json": (("nodes", [{"ready": True}, {"ready": False}]),)}, None),
        ({"json": (("nodes", [{"ready": 1}, {"ready": False}]),)}, Reason.JSON_MISMATCH),
        ({"json": (("missing.key", None),)}, Reason.JSON_MISMATCH),
    ],
)
def test_body(ask, replies, answer, assertion, reason):
    """Text, pattern and JSON paths are all held against the body; types count."""
    outcome = ask(replies(answer(body=json.dumps(DOCUMENT).encode())), timeout=5, **assertion)
    assert (outcome.status, outcome.reason) == ("ok" if reason is None else "bad", reason), outcome


@pytest.mark.parametrize(
    ("body", "assertion", "reason"),
    [
        (b"x" * 20 + b"needle", {"body_text": "needle"}, Reason.BODY_MISMATCH),
        (b"x" * 4 + b"needle", {"body_text": "needle"}, None),
        (b'{"a": "%s"}' % (b"x" * 50), {"json": (("a", 1),)}, Reason.BODY_TOO_LARGE),
        (b'{"a": 1}', {"json": (("a", 1),)}, None),
        (b'{"a": 1', {"json": (("a", 1),)}, Reason.JSON_MISMATCH),
        (b"\xff\xfe\x00", {"json": (("a", 1),)}, Reason.JSON_MISMATCH),
        (b"[" * 9, {"json": (("a", 1),)}, Reason.JSON_MISMATCH),
    ],
)
@pytest.mark.parametrize("length", [True, False])
def test_body_limit(ask, replies, answer, body, assertion, reason, length):
    """Assertions see at most `body_limit` bytes; JSON that is longer cannot be read."""
    outcome = ask(replies(answer(body=body, length=length)), timeout=5, body_limit=10, **assertion)
    assert outcome.reason is reason, outcome


def test_deep_json_does_not_break_the_loop(ask, replies, answer):
    """JSON nested too deep to be read is a mismatch, not a crash."""
    outcome = ask(replies(answer(body=b"[" * 200000)), timeout=5, body_limit=1048576, json=(("a", 1),))
    assert (outcome.status, outcome.reason) == ("bad", Reason.JSON_MISMATCH)


def test_catastrophic_pattern_is_stopped(ask, replies, answer):
    """A pattern that would take years takes a quarter of a second and is unknown: nothing was learnt."""
    assert threading.current_thread() is threading.main_thread()
    outcome = ask(replies(answer(body=b"a" * 64 + b"!")), timeout=0.3, body_regex=r"(a+)+$")
    assert (outcome.status, outcome.reason) == ("unknown", Reason.RESOURCE_LIMIT), outcome
    assert "simplify" in outcome.detail


def test_pattern_leaves_timers_as_they_were(ask, replies, answer):
    """The guard around a pattern gives the alarm signal and its timer back."""
    import signal

    def mine(_number, _frame):
        raise AssertionError("fired too early")

    before = signal.signal(signal.SIGALRM, mine)
    signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        assert ask(replies(answer(body=b"abc")), timeout=5, body_regex="b").status == "ok"
        assert signal.getsignal(signal.SIGALRM) is mine
        left, _interval = signal.getitimer(signal.ITIMER_REAL)
        assert 50 < left <= 60
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_request_bytes(serve, replies, answer, run):
    """What is sent: one request, its own headers instead of the usual ones, closed afterwards."""
    server = serve(replies(answer()))
    target = HttpTarget(
        url=server.url("/a/b?c=d"),
        method="POST",
        headers=(("Host", "app.example"), ("X-One", "1"), ("user-agent", "mine")),
        body="grün",
    )
    assert run(HttpProbe(target)).outcome.status == "ok"
    server.close()
    head, _blank, _rest = server.seen[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /a/b?c=d HTTP/1.1",
        b"Host: app.example",
        b"Accept: */*",
        b"Accept-Encoding: identity",
        b"X-One: 1",
        b"user-agent: mine",
        b"Content-Length: 5",
        b"Connection: close",
    ]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://a.example", "a.example"),
        ("http://a.example:80/", "a.example"),
        ("https://a.example:443/", "a.example"),
        ("https://a.example:80/", "a.example:80"),
        ("http://[::1]:8080/", "[::1]:8080"),
    ],
)
def test_host_header(url, host):
    """The Host header carries the port only where it is not the scheme's own."""
    wire = first_request(HttpTarget(url=url)).wire
    assert ("\r\nHost: %s\r\n" % host).encode() in wire
    assert b"\r\nUser-Agent: faultline-selfheal\r\n" in wire


@pytest.mark.parametrize("header", [("X-A", "b\r\nX-C: d"), ("X\nA", "b")])
def test_line_breaks_are_refused(header):
    """No header can smuggle in another one."""
    with pytest.raises(ValueError, match="line breaks"):
        first_request(HttpTarget(url="http://127.0.0.1/", headers=(header,)))


def test_head_has_no_body(ask, replies, answer):
    """The answer to HEAD ends with its headers, whatever length they promise."""
    assert ask(replies(answer(headers=["Content-Length: 5000"], length=False)), timeout=5, method="HEAD").status == "ok"


def test_proxy_variables_are_ignored(ask, replies, answer, monkeypatch):
    """A proxy in the environment is not used: it would be probed instead of the target."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ask(replies(answer()), timeout=5).status == "ok"


# Redirects.


def redirecting(locations, answer):
    """A handler: each path in `locations` redirects to its value, every other one is fine."""

    def handler(peer):
        got = peer.request()
        path = got.split(b" ")[1].decode()
        if path in locations:
            status, location = locations[path]
            peer.send(answer(status, ["Location: " + location]))
        else:
            peer.send(answer(body=b"arrived at " + path.encode()))
        return got

    return handler


@pytest.mark.parametrize("location", ["/end", "end", "?x=/end", "http://127.0.0.1:{port}/end", "//127.0.0.1:{port}/end", "/end#part"])
def test_redirect_on_the_same_host(serve, run, answer, location):
    """A redirect on the same host name is followed, however it is written."""
    locations = {}
    server = serve(redirecting(locations, answer))
    locations["/"] = ("302 Found", location.format(port=server.port))
    assert run(HttpProbe(HttpTarget(url=server.url(), body_text="end"))).outcome.status == "ok"


def test_redirect_to_another_port(serve, run, answer, replies):
    """Another port of the same host is followed, but neither the Host nor a secret goes there."""
    other = serve(replies(answer(body=b"other")))
    first = serve(redirecting({"/": ("301 Moved Permanently", other.url())}, answer))
    headers = (("Host", "app.example"), ("Authorization", "Bearer abcdef"), ("Accept", "text/html"))
    assert run(HttpProbe(HttpTarget(url=first.url(), headers=headers, body_text="other"))).outcome.status == "ok"
    other.close()
    assert b"Host: 127.0.0.1:%d\r\n" % other.port in other.seen[0]
    assert b"Accept: text/html" in other.seen[0]
    assert b"Authorization" not in other.seen[0]


@pytest.mark.parametrize(
    "location", ["http://other.example/", "https://user:pw@elsewhere.example/x?token=abc", "ftp://127.0.0.1/", "http://["]
)
def test_redirect_elsewhere_counts_by_its_own_status(ask, answer, location):
    """C52: a redirect to another host is not followed; the detail says where it leads, without secrets."""
    outcome = ask(redirecting({"/": ("302 Found", location)}, answer), timeout=5)
    assert (outcome.status, outcome.reason) == ("bad", Reason.BAD_STATUS)
    assert "redirect to" in outcome.detail
    assert "pw@" not in outcome.detail
    assert "abc" not in outcome.detail


@pytest.mark.parametrize(("redirects", "reason"), [(0, Reason.BAD_STATUS), (1, Reason.TOO_MANY_REDIRECTS), (10, Reason.TOO_MANY_REDIRECTS)])
def test_redirect_loop(serve, run, answer, redirects, reason):
    """A loop ends at the limit, and was asked that often and once more."""
    server = serve(redirecting({"/": ("307 Temporary Redirect", "/")}, answer))
    outcome = run(HttpProbe(HttpTarget(url=server.url(), redirects=redirects)), 5).outcome
    assert (outcome.status, outcome.reason) == ("bad", reason)
    server.close()
    assert len(server.seen) == redirects + 1


@pytest.mark.parametrize(
    ("status", "method"), [("301 A", b"GET"), ("302 A", b"GET"), ("303 A", b"GET"), ("307 A", b"POST"), ("308 A", b"POST")]
)
def test_redirected_method(serve, run, answer, status, method):
    """After 301, 302 and 303 a POST becomes a GET without a body, after 307 and 308 it stays what it is."""
    server = serve(redirecting({"/": (status, "/end")}, answer))
    assert run(HttpProbe(HttpTarget(url=server.url(), method="POST", body="data")), 5).outcome.status == "ok"
    server.close()
    assert server.seen[1].startswith(method + b" /end ")
    assert (b"Content-Length: 4" in server.seen[1]) == (method == b"POST")


# What is shown.


def test_failure_shows_request_and_answer(ask, replies, answer):
    """C52: a failed probe says exactly what was asked, under which Host, and what came back."""
    handler = replies(answer("503 Service Unavailable", body=b'{"db": "down"}'))
    outcome = ask(handler, timeout=5, path="/ready?deep=1", headers=(("Host", "app.example"),))
    assert outcome.detail.startswith("GET http://127.0.0.1:")
    assert "/ready?deep=1 (Host: app.example): expected HTTP 200-299, got HTTP/1.1 503 Service Unavailable" in outcome.detail
    assert '{"db": "down"}' in outcome.detail


SECRET = "tr0ub4dor-and-3-more-words-and-a-tail-that-is-long-enough-to-be-cut-off-in-a-snippet-of-one-hundred-characters"


@pytest.mark.parametrize("status", ["500 Oops", "200 OK"])
@pytest.mark.parametrize("pad", [0, 30, 70, 95])
def test_secrets_are_never_shown(ask, status, pad, answer):
    """A server that echoes the request does not get a header's value or a secret query key into the detail."""

    def echo(peer):
        peer.send(answer(status, body=b"." * pad + SECRET.encode() + b"?token=hush-in-the-query" + peer.request()))

    outcome = ask(echo, timeout=5, path="/?token=hush-in-the-query", headers=(("X-Api-Key", SECRET),), body_text="never there")
    assert outcome.status == "bad"
    assert "tr0ub4dor" not in outcome.detail
    assert "hush" not in outcome.detail


def test_mismatch_is_told_in_few_words():
    """An assertion that fails says what was expected and what was found, cut to a line."""
    check = http_body.BodyCheck(HttpTarget(url="http://x/", json=(("a.b", "up"),)))
    assert check.judge(b'{"a": {"b": "down"}}', False).finding == 'expected "up" at a.b, found "down"'
    assert check.judge(b'{"a": {}}', False).finding == 'expected "up" at a.b, which is not there: "{"a": {}}"'
