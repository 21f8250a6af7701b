# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pager over real sockets and processes: servers that refuse, hang, drip, fail first; proofs that receivers can check."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Iterator, List

import pytest

from selfheal._actuators import notify as telling
from selfheal._core.model import Notify
from selfheal._core.reasons import Reason
from selfheal._engine.paged import PagedRecords
from selfheal._engine.pager import Pager
from selfheal._host import Outcome
from selfheal._probes.engine import LocalHost
from selfheal._records.pages import Pages
from selfheal._records.timeline import Timeline

TOKEN = "a-token-nobody-may-see"
KEY = "a-key-nobody-may-see"
WEB = "web-20261121T210330.001Z"


class Receiver:
    """Takes requests on loopback, one thread each. behaviour(number) says how the number-th is answered: a status, "hang" or "drip"."""

    def __init__(self, *behaviours: Any) -> None:
        self.behaviours = list(behaviours)
        self.requests: List[Any] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.over = threading.Event()
        self.news = threading.Condition()
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]

    def _listen(self) -> None:
        number = 0
        while not self.over.is_set():
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            behaviour = self.behaviours[min(number, len(self.behaviours) - 1)]
            number += 1
            threading.Thread(target=self._answer, args=(client, behaviour), daemon=True).start()

    def _answer(self, client: socket.socket, behaviour: Any) -> None:
        with client:
            data = b""
            while b"\r\n\r\n" not in data:
                data += client.recv(65536)
            head, _blank, body = data.partition(b"\r\n\r\n")
            headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head.decode().split("\r\n")[1:]}
            while len(body) < int(headers.get("content-length", 0)):
                body += client.recv(65536)
            with self.news:
                self.requests.append((head.decode().split("\r\n")[0], headers, body))
                self.news.notify_all()
            if behaviour == "hang":
                self.over.wait(60)
            elif behaviour == "drip":
                slowly = iter(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000)
                while not self.over.wait(0.05):
                    try:
                        client.send(bytes([next(slowly)]))
                    except OSError:
                        return
            else:
                echo = headers.get("authorization", "") + " " + headers.get("x-hub-signature-256", "")
                client.sendall(("HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s" % (behaviour, len(echo), echo)).encode())

    def close(self) -> None:
        if not self.over.is_set():
            self.over.set()
            self.listener.shutdown(socket.SHUT_RDWR)  # a mere close leaves it open as long as somebody accepts
            self.listener.close()


class Site:
    """A pager on the real loop, its spool and its timeline."""

    def __init__(self, folder: pathlib.Path, *targets: Notify) -> None:
        self.folder = folder
        self.host = LocalHost()
        self.timeline = Timeline(str(folder / "timeline"), "web1", ballast=False)
        self.records: Any = TimelineRecords(self.timeline)
        self.pager = Pager(self.host, "web1", Pages(str(folder), lambda *words: None), self.records, lambda service: targets)
        self.told = PagedRecords(self.records, self.pager)

    def page(self) -> None:
        self.told.record("page", "web", WEB, data={"reason": "ladder_exhausted", "detail": "nothing helped"})

    def until(self, true: Any, seconds: float = 15.0) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, self.events()
            self.spin(min(end, time.monotonic() + 0.1))

    def spin(self, until: float) -> None:
        self.pager.turn(time.monotonic())
        for handle in self.host.poll(min(until, self.pager.wake)):
            handle.owner.ended(handle)
            handle.owner.healer.wake = -1.0

    def events(self, *types: str) -> List[Any]:
        lines = (self.folder / "timeline" / "000001.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if not types or event["type"] in types]

    def everything(self) -> str:
        """All that this host keeps of it outside the spool."""
        return (self.folder / "timeline" / "000001.jsonl").read_text() + repr(self.pager.counts)


class TimelineRecords(PagedRecords):
    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline

    def record(self, type: str, service: Any = None, incident: Any = None, source: str = "watchdog", data: Any = None) -> Any:
        return self.timeline.append(type, service=service, incident=incident, source=source, data=data)


@pytest.fixture
def receivers() -> Iterator[Any]:
    made: List[Receiver] = []

    def make(*behaviours: Any) -> Receiver:
        made.append(Receiver(*behaviours))
        return made[-1]

    yield make
    for each in made:
        each.close()


def hook(receiver: Receiver, folder: pathlib.Path, path: str = "/services/SECRETPATH") -> Notify:
    (folder / "token").write_text(TOKEN + "\n")
    (folder / "key").write_text(KEY + "\n")
    return Notify("webhook", {"url": receiver.url + path, "token_file": str(folder / "token"), "hmac_file": str(folder / "key")})


def test_a_webhook_can_prove_who_called(tmp_path: pathlib.Path, receivers: Any) -> None:
    """The bearer token is the file's, and openssl computes the same HMAC over the body as it arrived."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl as the second opinion on the signature")
    receiver = receivers(200)
    site = Site(tmp_path, hook(receiver, tmp_path))
    site.page()
    site.until(lambda: not site.pager.waiting)
    line, headers, body = receiver.requests[0]
    assert ("POST /services/SECRETPATH HTTP/1.1", "application/json", "Bearer " + TOKEN) == (
        line,
        headers["content-type"],
        headers["authorization"],
    )
    done = subprocess.run([openssl, "dgst", "-sha256", "-hmac", KEY], input=body, capture_output=True, check=True)
    assert "sha256=" + done.stdout.decode().split()[-1] == headers["x-hub-signature-256"]
    assert "firing" == json.loads(body)["status"]
    for secret in (TOKEN, KEY, "SECRETPATH"):
        assert secret not in site.everything() and secret.encode() not in body


def test_a_server_that_fails_first_is_told_in_the_end_and_only_once(tmp_path: pathlib.Path, receivers: Any) -> None:
    """500, then 200: tried again after about a second, then never again; what the 500 echoed of our proofs is nowhere."""
    receiver = receivers(500, 200)
    site = Site(tmp_path, hook(receiver, tmp_path))
    site.page()
    site.until(lambda: not site.pager.waiting)
    began = time.monotonic()
    site.until(lambda: time.monotonic() > began + 1.5)
    assert 2 == len(receiver.requests)
    assert ["page", "page_failed", "note"] == [event["type"] for event in site.events()]
    failed = site.events("page_failed")[0]["data"]
    assert ("bad_status", "page") == (failed["reason"], failed["message"]) and "500" in failed["detail"]
    signature = receiver.requests[0][1]["x-hub-signature-256"]
    for secret in (TOKEN, KEY, "SECRETPATH", signature[:30]):
        assert secret not in site.everything()


def test_a_refused_connection_delays_nobody_and_is_tried_again(tmp_path: pathlib.Path, receivers: Any) -> None:
    """Nobody listens at one target: the other has its page at once; the first has it as soon as somebody listens."""
    late, there = receivers(200), receivers(200)
    port = late.listener.getsockname()[1]
    late.close()
    site = Site(tmp_path, hook(late, tmp_path), hook(there, tmp_path, "/b"))
    site.page()
    site.until(lambda: site.events("page_failed") and there.requests, 2)
    assert "connection_refused" == site.events("page_failed")[0]["data"]["reason"]
    again = Receiver.__new__(Receiver)
    again.__dict__.update(
        behaviours=[200],
        requests=[],
        over=threading.Event(),
        news=threading.Condition(),
        listener=socket.create_server(("127.0.0.1", port)),
    )
    threading.Thread(target=again._listen, daemon=True).start()
    site.until(lambda: not site.pager.waiting)
    again.close()
    assert (1, 1) == (len(again.requests), len(there.requests))


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_silence_ends_at_the_deadline(tmp_path: pathlib.Path, receivers: Any, monkeypatch: pytest.MonkeyPatch, behaviour: str) -> None:
    """C58 a receiver that hangs or drips holds one delivery until its total deadline, and nothing else."""
    monkeypatch.setattr(telling, "HTTP_SECONDS", 0.5)
    receiver, there = receivers(behaviour), receivers(200)
    site = Site(tmp_path, hook(receiver, tmp_path), hook(there, tmp_path))
    began = time.monotonic()
    site.page()
    assert time.monotonic() - began < 0.3, "a page waits for nobody"
    site.until(lambda: there.requests, 0.45)
    site.until(lambda: site.events("page_failed"), 2)
    assert 0.4 < time.monotonic() - began < 1.0
    assert "timeout" == site.events("page_failed")[0]["data"]["reason"]
    site.pager.stop()
    site.host.close()


def test_a_command_gets_the_message_on_its_input(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of JSON on standard input, nothing of it in argv; what it leaves of the page is the page."""
    monkeypatch.setattr("selfheal._transient.systemd_runs", lambda: False)
    script = tmp_path / "page.py"
    script.write_text("import sys\nopen(sys.argv[1], 'w').write(repr(sys.argv[2:]) + '\\n' + sys.stdin.read())\n")
    site = Site(tmp_path, Notify("command", {"argv": (sys.executable, str(script), str(tmp_path / "out"))}))
    site.page()
    site.until(lambda: not site.pager.waiting)
    arguments, line = (tmp_path / "out").read_text().splitlines()
    assert ("[]", WEB, "firing") == (arguments, json.loads(line)["incident"], json.loads(line)["status"])


def test_a_command_that_fails_or_hangs_is_killed_and_tried_again(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 3 and silence are failures with their reasons; the silent one and its children are gone at the deadline."""
    monkeypatch.setattr("selfheal._transient.systemd_runs", lambda: False)
    monkeypatch.setattr(telling, "COMMAND_SECONDS", 0.5)
    hanging = "echo $$ > %s; exec sleep 100" % (tmp_path / "pid")
    site = Site(tmp_path, Notify("command", {"argv": ("/bin/sh", "-c", hanging)}), Notify("command", {"argv": ("/bin/false",)}))
    site.page()
    site.until(lambda: len(site.events("page_failed")) == 2, 5)
    assert {"timeout", "exit_status"} == {event["data"]["reason"] for event in site.events("page_failed")}
    site.pager.stop()
    site.host.close()
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    "content, found",
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        ("s\u00fc\u00df".encode(), "no ASCII"),
        (b"two\nlines", "no single line"),
    ],
)
def test_a_secret_that_is_not_there_is_a_failed_attempt(tmp_path: pathlib.Path, receivers: Any, content: Any, found: str) -> None:
    """A missing, empty or unusable token: nothing is sent without it, and the timeline names the file."""
    receiver = receivers(200)
    target = hook(receiver, tmp_path)
    (tmp_path / "token").unlink() if content is None else (tmp_path / "token").write_bytes(content)
    site = Site(tmp_path, target)
    site.page()
    site.pager.turn(time.monotonic())
    failed = site.events("page_failed")[0]["data"]
    assert "no_permission" == failed["reason"] and found in failed["detail"] and str(tmp_path / "token") in failed["detail"]
    assert [] == receiver.requests
    (tmp_path / "token").write_text(TOKEN)
    site.until(lambda: not site.pager.waiting)
    assert "Bearer " + TOKEN == receiver.requests[0][1]["authorization"]


def test_what_a_failure_shows_of_a_target_is_no_password() -> None:
    """Table of details as the steps give them: paths and parameters of a webhook's URL are left out, also when a server echoes them."""
    target = Notify("webhook", {"url": "https://h.example/services/T0/abc?token=v1", "token_file": None, "hmac_file": None})
    table = [
        ("POST https://h.example/services/T0/abc?token=v1: timeout", "POST https://h.example/***: timeout"),
        ("POST https://h.example/services/T0/abc?token=[redacted]: got 'no /services/T0/abc'", "POST https://h.example/***: got 'no /***'"),
    ]
    for detail, shown in table:
        assert shown == telling.told(target, Outcome("bad", Reason.TIMEOUT, detail))
    root = Notify("webhook", {"url": "https://h.example/", "token_file": None, "hmac_file": None})
    assert "POST https://h.example/: x" == telling.told(root, Outcome("bad", None, "POST https://h.example/: x"))


def test_an_alertmanager_below_a_path_is_found() -> None:
    """Alertmanager behind a prefix, with or without a slash at the end."""
    for url in ("http://a.example/am", "http://a.example/am/"):
        message = {
            "host": "h",
            "service": None,
            "status": "firing",
            "incident": "i",
            "reason": "storm",
            "sentence": "s",
            "failure_time": "t",
        }
        step: Any = telling.telling(Notify("alertmanager", {"url": url}), message, 0.0, 0.0)[0]
        assert "http://a.example/am/api/v2/alerts" == step.target.url
        assert {"alertname": "SelfhealEscalated", "host": "h", "severity": "critical"} == json.loads(step.target.body)[0]["labels"]
