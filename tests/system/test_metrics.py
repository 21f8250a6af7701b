# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics of a real watchdog, as Prometheus' own tool judges them; at the endpoint and in the node exporter's file."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
from typing import Any, Set

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "faultline-selfheal" / "promtool"


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus' tool: an installed one, the cached one, or that of the distribution's package, unpacked and not installed."""
    found = shutil.which("promtool") or (str(CACHE) if CACHE.exists() else None)
    if found is not None:
        return found
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("no promtool here, and only root on Debian can fetch it")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        got = subprocess.run(["apt-get", "download", "prometheus"], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        packages = list(pathlib.Path(folder).glob("prometheus_*.deb"))
        assert packages, "promtool cannot be had: %s%s" % (got.stdout, got.stderr)
        subprocess.run(["dpkg", "-x", str(packages[0]), folder], check=True, timeout=120)
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        unpacked = pathlib.Path(folder) / "usr" / "bin" / "promtool"
        part = CACHE.with_suffix(".part%d" % os.getpid())
        shutil.copy2(unpacked, part)
        part.rename(CACHE)
    return str(CACHE)


def _judged(promtool: str, text: str) -> None:
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stdout + done.stderr


def _names(text: str) -> Set[str]:
    return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}


def test_prometheus_own_tool_has_no_complaint_and_every_metric_is_documented(bed: Any, promtool: str) -> None:
    """Names, units and types follow the conventions, at the endpoint and in the file; what is documented is exactly what is exported."""
    textfile = bed.folder / "metrics" / "selfheal.prom"
    textfile.parent.mkdir()
    bed.configure(
        metrics_file=str(textfile),
        network_reference={"tcp": {"host": "127.0.0.1", "port": 9}},
        notify=[{"command": {"argv": ["/bin/true"]}}],
    )
    port = bed.port
    bed.contracts(
        bed.service(
            dependencies=[{"name": "payments", "probe": {"tcp": {"host": "127.0.0.1", "port": port}}}],
            keep_warm={"http": {"url": "http://127.0.0.1:%d/health/live" % port}, "period": 1},
            guard={"peers": ["http://127.0.0.1:%d/health/live" % port]},
            ladder=[{"rung": "restart", "attempts": 1, "timeout": 1}],
        )
    )
    bed.watch()
    bed.healthy()
    bed.until(lambda: 'selfheal_keep_warm_requests_total{service="web",result="ok"} 0' not in bed.get("/metrics")[1], 10, "it is kept warm")
    bed.run("hold", "web")
    os.kill(bed.pid(), signal.SIGKILL)
    bed.event("blocked", within=20)
    bed.run("unhold", "web")
    bed.event("recover", within=20)
    text = bed.get("/metrics")[1]
    _judged(promtool, text)
    for line in (
        'selfheal_blocked_total{service="web",reason="hold"} 1',
        'selfheal_actions_total{service="web",rung="restart",reason="gone",outcome="ok"} 1',
        'selfheal_breaker_state{service="web",dependency=""} 0',
        'selfheal_service_rung{service="web",rung="restart"} 0',
        'selfheal_held{service="web"} 0',
    ):
        assert line in text.splitlines()
    documented = set(re.findall(r"^\| `(selfheal_\w+)` \|", (ROOT / "docs" / "endpoints.md").read_text(), re.MULTILINE))
    assert _names(text) == documented
    bed.until(textfile.exists, 20, "the textfile is written")
    assert oct(textfile.stat().st_mode & 0o777) == "0o644" and os.listdir(textfile.parent) == ["selfheal.prom"]
    written = textfile.read_text()
    _judged(promtool, written)
    assert _names(written) <= documented and "selfheal_last_cycle_timestamp_seconds" in written


def test_a_textfile_that_cannot_be_written_keeps_nothing_from_being_healed(bed: Any) -> None:
    """Said once in the log, and the watchdog goes on; in a place that does not exist."""
    bed.configure(metrics_file=str(bed.folder / "nowhere" / "selfheal.prom"))
    bed.contracts(bed.service())
    bed.watch()
    bed.healthy()
    os.kill(bed.pid(), signal.SIGKILL)
    bed.event("recover", within=20)
    assert json.loads(bed.get("/health")[1])["status"] == "healthy"


@pytest.mark.parametrize("path", ["metrics.prom", "/x/metrics.txt", "/x/.prom", 7])
def test_a_textfile_no_node_exporter_would_read_is_refused(bed: Any, path: Any) -> None:
    """Named with what is expected, before anything runs."""
    bed.configure(metrics_file=path)
    bed.contracts(bed.service())
    assert "metrics_file" in bed.run("check", expect=2).stdout + bed.run("check", expect=2).stderr
