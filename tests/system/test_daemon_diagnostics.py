# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real watchdog keeps diagnostics of what failed, before it does anything to what lives and beside what it starts."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import signal
import socket
from typing import Any


def _bundle(event: Any) -> Any:
    data = pathlib.Path(event["data"]["diagnostics"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == event["data"]["sha256"] and len(data) < 262144
    return json.loads(data)


def test_a_hung_process_is_described_before_it_is_restarted(bed: Any) -> None:
    """The bundle stands in the timeline before the restart, describes the old process while it was there, and is root's only."""
    bed.contracts(bed.service())
    bed.watch()
    bed.healthy()
    old = bed.pid()
    os.kill(old, signal.SIGSTOP)
    bed.event("recover", within=20)
    restart = bed.event("restart")
    bundle = _bundle(restart)
    assert bundle["incident"] == restart["incident"] and bundle["probable_cause"] == restart["data"]["probable_cause"]
    assert bundle["alive"] and bundle["sections"]["process"]["State"].startswith("T")
    assert bundle["sections"]["probes"][0]["reason"] == "timeout"
    assert oct(os.stat(restart["data"]["diagnostics"]).st_mode & 0o777) == "0o600"


def test_a_killed_process_is_started_first_and_looked_into_beside(bed: Any) -> None:
    """A dead process does not wait for its diagnostics; how it ended is in them all the same, and `incidents` names them."""
    bed.contracts(bed.service(recovered_after=3))
    bed.watch()
    bed.healthy()
    os.kill(bed.pid(), signal.SIGKILL)
    recover = bed.event("recover", within=20)
    assert "diagnostics" not in bed.events("start")[-1]["data"]
    bundle = _bundle(recover)
    assert not bundle["alive"] and "SIGKILL" in bundle["sections"]["resource"]["ended"]
    found = next(each for each in bed.json("incidents")["incidents"] if each["incident"] == recover["incident"])
    assert found["diagnostics"] == recover["data"]["diagnostics"] and found["probable_cause"] == recover["data"]["probable_cause"]


def test_a_service_that_cannot_start_is_explained_to_the_person_who_is_called(bed: Any) -> None:
    """The page says what the service said: here that its port was taken before."""
    service = bed.service(ladder=[{"rung": "restart", "attempts": 2, "timeout": 1}])
    bed.contracts(service)
    port = int(service["resource"]["process"]["argv"][-1])
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", port))
        thief.listen(1)
        bed.watch()
        page = bed.event("page", within=30)
    assert page["data"]["probable_cause"] == "port_taken" and "(pid %d)" % os.getpid() in page["data"]["probable_detail"]
    assert "port taken" in bed.run("explain", "web").stdout
