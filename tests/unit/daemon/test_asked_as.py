# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may ask: by which name (DNS rebinding), with which token, and what the three health paths tell apart."""

from __future__ import annotations

import dataclasses
import json
from typing import List, Optional, Tuple

import pytest
from daemon_stage import Stage

from selfheal.daemon.http import Refused, parse

PATHS = (
    "/",
    "/health",
    "/health/live",
    "/health/ready",
    "/health/startup",
    "/services",
    "/services/web",
    "/services/web/ready",
    "/metrics",
)
NAMES: List[Tuple[Optional[str], int]] = [
    (None, 200),
    ("localhost", 200),
    ("LOCALHOST:9877", 200),
    ("localhost.", 200),
    ("127.0.0.1", 200),
    ("127.0.0.1:9877", 200),
    ("127.9.9.9", 200),
    ("[::1]", 200),
    ("[::1]:9877", 200),
    ("evil.example", 421),
    ("evil.example:9877", 421),
    ("localhost.evil.example", 421),
    ("127.0.0.1.evil.example", 421),
    ("evil@localhost", 421),
    ("", 421),
    ("[::1", 200),
    ("[::2]", 421),
    ("10.0.0.1", 421),
    ("0.0.0.0", 421),
]


def asked(stage: Stage, path: str, host: Optional[str], target: str = "") -> int:
    line = "" if host is None else "\r\nHost: %s" % host
    return stage.endpoints.answer(parse(("GET %s HTTP/1.1%s" % (target or path, line)).encode())).status


@pytest.mark.parametrize(("host", "status"), NAMES)
def test_on_loopback_only_this_hosts_own_names_are_answered(host: Optional[str], status: int) -> None:
    """A page whose name was made to point at 127.0.0.1 gets 421 from every path; a client that names nobody (HTTP/1.0) is no browser."""
    stage = Stage("web")
    stage.run(5)
    assert dict.fromkeys(PATHS, status) == {path: asked(stage, path, host) for path in PATHS}


def test_the_name_in_the_request_line_counts_before_the_header() -> None:
    """RFC 9112: an absolute target names whom the client wanted, whatever its Host header says."""
    stage = Stage("web")
    stage.run(5)
    assert 421 == asked(stage, "", "localhost", "http://evil.example/health")
    assert 200 == asked(stage, "", "evil.example", "http://localhost:9877/health")


def test_two_hosts_are_refused() -> None:
    """What could be understood in two ways is not understood at all."""
    with pytest.raises(Refused) as refusal:
        parse(b"GET / HTTP/1.1\r\nHost: localhost\r\nhost: evil.example")
    assert 400 == refusal.value.status


def test_off_loopback_the_token_keeps_strangers_out_and_the_name_does_not_matter() -> None:
    """Load balancers ask by whatever name they know; everything but live and ready still needs the token."""
    stage = Stage("web")
    stage.run(5)
    stage.board.config = dataclasses.replace(stage.board.config, listen=("0.0.0.0", 9877))
    stage.endpoints.token = "open-sesame-open"
    assert [200, 200] == [asked(stage, path, "web1.example") for path in ("/health/live", "/services/web/ready")]
    closed = [path for path in PATHS if path not in ("/health/live", "/services/web/ready")]
    assert [401] * len(closed) == [asked(stage, path, "localhost") for path in closed]


def test_a_name_that_was_configured_is_its_own() -> None:
    """With a loopback name of one's own in `listen`, that name is answered too."""
    stage = Stage("web")
    stage.run(5)
    stage.board.config = dataclasses.replace(stage.board.config, listen=("::1", 9877))
    assert [200, 200, 421] == [asked(stage, "/health", host) for host in ("[::1]:9877", "localhost", "web1")]


def test_live_startup_and_ready_are_three_questions() -> None:
    """C54 live: the loop turns. startup: contracts and first cycle, once and for all. ready: not every healer is broken now."""
    stage = Stage("web")
    paths = ("/health/live", "/health/startup", "/health/ready")
    assert [200, 503, 503] == [stage.get(path)[0] for path in paths]
    stage.run(5)
    assert [200, 200, 200] == [stage.get(path)[0] for path in paths]
    stage.rounds._fault(stage.services["web"], stage.rounds.find("web"), RuntimeError("out of ideas"))
    assert [200, 200, 503] == [stage.get(path)[0] for path in paths]
    assert ["web"] == json.loads(stage.get("/health/ready")[1])["not_watched"]
    stage.run(10)
    assert [200, 200, 200] == [stage.get(path)[0] for path in paths]
    stage.world.bodies["web"].results["liveness"] = "bad"
    stage.run(40)
    assert [200, 200, 200] == [stage.get(path)[0] for path in paths], "a service that fails is no fault of the watchdog"
