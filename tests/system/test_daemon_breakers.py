# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""People take breakers in hand through the command line; a real watchdog sees it, and its successor, too."""

from __future__ import annotations

import socket
import time
from typing import Any


def _state(bed: Any) -> Any:
    service = bed.json("status", "web", expect=0)["services"][0]
    return service["breaker"], service["dependencies"][0]["breaker"]


def test_what_is_forced_is_seen_within_a_second_and_by_the_next_watchdog(bed: Any) -> None:
    """Recorded with who and why, in force within a second, in force again after kill -9, and lifted."""
    with socket.create_server(("127.0.0.1", 0)) as payments:
        probe = {"tcp": {"host": "127.0.0.1", "port": payments.getsockname()[1]}, "period": 60}
        bed.contracts(bed.service(dependencies=[{"name": "payments", "probe": probe}]))
        watchdog = bed.watch()
        bed.healthy()
        assert _state(bed) == ("closed", "closed")
        said = time.monotonic()
        bed.run("breaker", "web/payments", "open", "--reason", "they migrate")
        bed.until(lambda: _state(bed) == ("closed", "forced_open"), 5, "the watchdog has seen it")
        assert time.monotonic() - said < 2.5, "a second, and two calls of the command line"
        event = bed.event("breaker_forced")
        told = {key: event["data"][key] for key in ("breaker", "dependency", "to", "reason")}
        assert told == {"breaker": "web/payments", "dependency": "payments", "to": "open", "reason": "they migrate"}
        assert event["source"] == "operator" and event["service"] == "web" and event["data"]["owner"]
        watchdog.kill()
        watchdog.wait(10)
        bed.watch()
        bed.healthy()
        bed.until(lambda: _state(bed) == ("closed", "forced_open"), 5, "its successor knows")
        assert bed.json("breaker")["forced"][0]["breaker"] == "web/payments"
        bed.run("breaker", "web/payments", "auto")
        bed.until(lambda: _state(bed) == ("closed", "closed"), 5, "lifted")
        assert [each["data"]["to"] for each in bed.events("breaker_forced")] == ["open", "auto"]
        assert 'selfheal_breaker_state{service="web",dependency="payments"} 0' in bed.get("/metrics")[1]


def test_a_breaker_nobody_has_is_not_forced(bed: Any) -> None:
    """A misspelt name would force nothing, silently; closing is for dependencies."""
    bed.contracts(bed.service())
    assert "no dependency payment" in bed.run("breaker", "web/payment", "open", expect=2).stderr
    assert "wbe" in bed.run("breaker", "wbe", "open", expect=2).stderr
    assert "disable" in bed.run("breaker", "web", "close", expect=2).stderr
    assert "say what it is to be" in bed.run("breaker", "web", expect=2).stderr
    assert "was not forced" in bed.run("breaker", "web", "auto").stdout
    assert "no breaker is forced" in bed.run("breaker").stdout
