# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints of the real daemon: what they answer, who may ask, and that no client costs a probe its time."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import threading
import time
from typing import Any, List


def test_every_path_answers_as_documented(bed: Any) -> None:
    """Each path has its status, type and shape; nothing can be changed; what is not there is a 404."""
    bed.contracts(bed.service())
    bed.watch()
    bed.healthy()
    os.kill(bed.pid(), signal.SIGKILL)
    bed.event("recover")
    assert json.loads(bed.get("/health/live")[1])["live"] is True
    assert json.loads(bed.get("/health/ready")[1])["ready"] is True
    assert 200 == bed.get("/health/startup")[0]
    summary = json.loads(bed.get("/health")[1])
    assert ("bed1", "healthy", 1) == (summary["host"], summary["status"], summary["services"]["total"])
    services = json.loads(bed.get("/services")[1])["services"]
    assert ["web"] == [each["name"] for each in services] == [json.loads(bed.get("/services/web")[1])["name"]]
    assert {"service": "web", "ready": True, "state": "healthy"} == json.loads(bed.get("/services/web/ready")[1])
    events = json.loads(bed.get("/artifacts?limit=100&type=recover&service=web")[1])["events"]
    assert ["recover"] == [event["type"] for event in events] and 64 == len(events[0]["hash"])
    assert 1 == len(json.loads(bed.get("/artifacts?limit=1")[1])["events"])
    assert [400, 400] == [bed.get(path)[0] for path in ("/artifacts?limit=0", "/artifacts?colour=red")]
    assert [404, 404, 404] == [bed.get(path)[0] for path in ("/nothing", "/services/nobody", "/services/nobody/ready")]
    assert [405, 405] == [bed.get(path, method="POST")[0] for path in ("/", "/services/web")]
    status, page = bed.get("/")
    assert 200 == status and "web is healthy" in page and "<script" not in page
    metrics = bed.get("/metrics")[1]
    for line in (
        'selfheal_service_state{service="web",state="healthy"} 1',
        'selfheal_actions_total{service="web",rung="restart",reason="gone",outcome="ok"} 1',
        'selfheal_incidents_total{service="web"} 1',
        'selfheal_recovery_seconds_count{service="web"} 1',
        'selfheal_budget_remaining{service="web"} 9',
        "selfheal_timeline_head_seq %d" % bed.events()[-1]["seq"],
    ):
        assert line in metrics.splitlines(), line


def test_a_service_that_fails_is_not_ready_and_one_that_answered_is(bed: Any) -> None:
    """Load balancers get 503 from the first start until the first good answer, 200 then, and 503 while it fails."""
    bed.contracts(bed.service(ladder=[{"rung": "restart", "attempts": 1, "timeout": 30}]))
    (bed.home("web") / "bad").touch()
    bed.watch()
    assert 503 == bed.get("/services/web/ready")[0]
    (bed.home("web") / "bad").unlink()
    bed.healthy()
    (bed.home("web") / "bad").touch()
    bed.until(lambda: bed.get("/services/web/ready")[0] == 503, 5, "it is not ready")


def test_off_loopback_a_token_is_needed_for_all_but_two_paths(bed: Any) -> None:
    """On 0.0.0.0 everything but live and ready answers 401 without the token; without a token file it does not even start."""
    bed.contracts(bed.service())
    bed.configure(listen="0.0.0.0:%d" % bed.port)
    assert "token_file" in bed.run("watch", expect=2).stderr
    secret = bed.folder / "token"
    secret.write_text("0123456789abcdef0123\n")
    bed.configure(listen="0.0.0.0:%d" % bed.port, token_file=str(secret))
    secret.chmod(0o644)
    assert "chmod" in bed.run("watch", expect=4).stderr
    secret.chmod(0o600)
    bed.watch(ready=False)
    bed.until(lambda: bed.get("/health/live")[0] == 200, 15, "it is live")
    bed.healthy()
    closed = ("/", "/health", "/health/ready", "/services", "/services/web", "/artifacts", "/metrics", "/nothing")
    assert [401] * len(closed) == [bed.get(path)[0] for path in closed]
    assert [401] * 2 == [bed.get("/health", header)[0] for header in ("Authorization: Bearer wrong\r\n", "Authorization: Basic x\r\n")]
    assert 200 == bed.get("/health", "Authorization: Bearer 0123456789abcdef0123\r\n")[0]
    assert "healthy" == bed.json("status")["services"][0]["state"], "the command line uses the token"


def test_hostile_clients_delay_no_probe_and_crash_nothing(bed: Any) -> None:
    """Four seconds of rubbish and clients that never finish: probes keep their second, questions get answers, memory stays small."""
    bed.contracts(bed.service())
    watchdog = bed.watch()
    bed.healthy()
    before = bed.json("status", "web")["services"][0]["checks"]["all"]
    began = time.monotonic()
    problems: List[BaseException] = []
    refused: List[int] = []
    until = began + 4.0

    def attack(seed: int) -> None:
        dice = random.Random(seed)
        held: List[socket.socket] = []
        while time.monotonic() < until:
            try:
                client = socket.create_connection(("127.0.0.1", bed.port), 2)
                held.append(client)
                client.settimeout(0.2)
                client.sendall(
                    dice.choice(
                        [
                            dice.randbytes(dice.randrange(1, 2000)),
                            b"G",
                            b"GET / HTTP/1.1\r\nX: " + b"a" * 9000,
                            b"GET /metrics HTTP/1.1\r\n\r\n" * 20,
                            b"GET /%00%ff?%=%&limit=-1 HTTP/1.1\r\n\r\n",
                            b"\r\n\r\n",
                            b"",
                        ]
                    )
                )
            except OSError:
                refused.append(seed)  # hung up on: what an attacker must expect
            except BaseException as error:
                problems.append(error)
                return
            if len(held) > 60:
                held.pop(0).close()
            time.sleep(0.01)
        for client in held:
            client.close()

    attackers = [threading.Thread(target=attack, args=(seed,)) for seed in range(4)]
    for attacker in attackers:
        attacker.start()
    asked = []
    while time.monotonic() < until:
        asked.append(bed.get("/health/live")[0])
        time.sleep(0.1)
    for attacker in attackers:
        attacker.join()
    took = time.monotonic() - began
    after = bed.json("status", "web")["services"][0]
    assert [] == problems and watchdog.poll() is None
    assert "healthy" == after["state"] and not bed.events("failure")
    assert after["checks"]["all"] - before >= int(took) - 1, "a probe a second"
    assert asked.count(200) >= len(asked) * 0.9
    with open("/proc/%d/status" % watchdog.pid) as status:
        size = next(line for line in status if line.startswith("VmRSS:"))
    assert int(size.split()[1]) <= 26 * 1024
