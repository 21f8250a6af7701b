# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes per CPU-second against the Prometheus blackbox exporter, and deadlines against peers that stall or drip.

    python tests/bench/bench_probes.py

Both probe the same server, in turns, in the same run; what counts is the CPU time of the prober alone (user and system). The
exporter's figure includes being asked over HTTP and rendering its metrics, as that is the only way to use it.

Needs ``prometheus-blackbox-exporter`` (Debian package; or its path in BLACKBOX_EXPORTER), and uses nginx as the target if it is there.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import shutil
import socket
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import types
from typing import Callable, Dict, Iterator, List, Tuple

from table import Row, show

ROOT = pathlib.Path(os.environ.get("SELFHEAL_COLLECTION_ROOT") or pathlib.Path(__file__).resolve().parents[2])
ROUNDS = 5
OURS_A_ROUND = 4000
EXPORTER_A_ROUND = 800
IN_FLIGHT = 20
MUST_RATIO = 5.0
TIMEOUT = 2.0
MARGIN = 0.2
PATIENCE = 8.0

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port} backlog=2048; location / {{ return 200 "ok\\n"; }} }}
}}
"""
EXPORTER = "modules: {http_2xx: {prober: http, timeout: 4s, http: {preferred_ip_protocol: ip4}}}\n"


def library() -> None:
    """Make the library importable as it is in the zip application."""
    package = types.ModuleType("selfheal")
    package.__path__ = [str(ROOT / "plugins" / "module_utils")]
    sys.modules["selfheal"] = package


library()
from selfheal._core.model import HttpTarget  # noqa: E402
from selfheal._probes.engine import LocalHost  # noqa: E402
from selfheal._probes.http import HttpProbe  # noqa: E402


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, child: subprocess.Popen, name: str) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if child.poll() is not None:
            raise SystemExit("%s ended with status %d" % (name, child.returncode))
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit("%s does not listen at port %d" % (name, port))


@contextlib.contextmanager
def running(argv: List[str], port: int, **options) -> Iterator[subprocess.Popen]:
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        wait_for(port, child, argv[0])
        yield child
    finally:
        child.terminate()
        child.wait(10)


class Plain(socketserver.StreamRequestHandler):
    """The target where nginx is not installed: slower, which costs neither prober CPU time."""

    def handle(self) -> None:
        while self.rfile.readline().strip():
            continue
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")


@contextlib.contextmanager
def target(folder: str) -> Iterator[Tuple[str, int]]:
    port = free_port()
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if nginx:
        config = pathlib.Path(folder, "nginx.conf")
        config.write_text(NGINX.format(folder=folder, port=port))
        with running([nginx, "-c", str(config), "-e", folder + "/error.log"], port):
            yield "nginx", port
    else:
        with running([sys.executable, __file__, "--serve", str(port)], port):
            yield "a Python server", port


def probe_many(host: LocalHost, step: HttpProbe, count: int) -> None:
    """Probe `count` times, `IN_FLIGHT` at once; every one must be healthy."""
    begun = done = 0
    while done < count:
        while begun < count and begun - done < IN_FLIGHT:
            host.start(step, host.monotonic() + 10)
            begun += 1
        for handle in host.poll(host.monotonic() + 10):
            done += 1
            if handle.outcome is None or handle.outcome.status != "ok":
                raise SystemExit("a probe failed: %s" % (handle.outcome,))


def cpu_of(pid: int) -> float:
    """User and system seconds of a process with all its threads, from the scheduler's own nanoseconds."""
    threads = pathlib.Path("/proc/%d/task" % pid)
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads.iterdir()) / 1e9


def throughput(folder: str) -> Tuple[str, float, float]:
    """What was probed, our probes per CPU-second and the exporter's: medians over interleaved rounds."""
    exporter = os.environ.get("BLACKBOX_EXPORTER") or shutil.which("prometheus-blackbox-exporter")
    if not exporter:
        raise SystemExit("prometheus-blackbox-exporter is missing: apt-get install it, or give its path in BLACKBOX_EXPORTER")
    config = pathlib.Path(folder, "blackbox.yml")
    config.write_text(EXPORTER)
    listen = free_port()
    argv = [exporter, "--config.file=%s" % config, "--web.listen-address=127.0.0.1:%d" % listen]
    with target(folder) as (name, port), running(argv, listen, env=dict(os.environ, GOMAXPROCS="1")) as anchor, LocalHost() as host:
        url = "http://127.0.0.1:%d/" % port
        ours = HttpProbe(HttpTarget(url=url))
        asked = "http://127.0.0.1:%d/probe?module=http_2xx&target=%s" % (listen, url)
        theirs = HttpProbe(HttpTarget(url=asked, body_text="probe_success 1", body_limit=1048576))
        probe_many(host, ours, 300)
        probe_many(host, theirs, 100)
        rates: Dict[str, List[float]] = {"ours": [], "theirs": []}
        for _round in range(ROUNDS):
            before = time.process_time()
            probe_many(host, ours, OURS_A_ROUND)
            rates["ours"].append(OURS_A_ROUND / (time.process_time() - before))
            before = cpu_of(anchor.pid)
            probe_many(host, theirs, EXPORTER_A_ROUND)
            rates["theirs"].append(EXPORTER_A_ROUND / (cpu_of(anchor.pid) - before))
    return name, statistics.median(rates["ours"]), statistics.median(rates["theirs"])


# Peers that stall or drip.

STOP = threading.Event()


def silence(peer: socket.socket) -> None:
    STOP.wait(60)


def header_drip(peer: socket.socket) -> None:
    drip(peer, b"HTTP/1.1 200 OK\r\nX-Drip: " + b"x" * 1000)


def body_drip(peer: socket.socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    drip(peer, b"x" * 1000)


def drip(peer: socket.socket, data: bytes) -> None:
    for byte in data:
        peer.sendall(bytes([byte]))
        if STOP.wait(0.5):
            return


@contextlib.contextmanager
def hostile(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                self.request.recv(65536)
                behave(self.request)
            except OSError:
                STOP.wait(0)  # the prober went away, which is what is measured

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.socket.close()


def our_deadline(port: int) -> float:
    with LocalHost() as host:
        began = host.monotonic()
        host.start(HttpProbe(HttpTarget(url="http://127.0.0.1:%d/" % port)), began + TIMEOUT)
        handles = host.poll(began + PATIENCE)
        if not handles or handles[0].outcome is None or str(handles[0].outcome.reason) != "timeout":
            raise SystemExit("a probe of a hostile peer did not time out: %s" % handles)
        return host.monotonic() - began


def their_deadline(port: int) -> float:
    """http.client with the same timeout; given up after `PATIENCE` seconds."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)

    def ask() -> None:
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return time.monotonic() - began


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="selfheal-bench-") as folder:
        name, ours, theirs = throughput(folder)
    ratio = ours / theirs
    what = "HTTP probes per CPU-second, of %s" % name
    must = "≥ %g ×" % MUST_RATIO
    yield Row(what, "%.0f" % ours, "blackbox exporter %.0f" % theirs, "%.1f" % ratio, must, ratio >= MUST_RATIO)
    limit = TIMEOUT + MARGIN
    for kind, behave in (("silence", silence), ("header drip", header_drip), ("body drip", body_drip)):
        with hostile(behave) as port:
            mine, other = our_deadline(port), their_deadline(port)
        what = "probe with timeout %g s against %s" % (TIMEOUT, kind)
        anchor = "http.client %s%.2f s" % ("> " if other >= PATIENCE else "", other)
        yield Row(what, "%.3f s" % mine, anchor, "%.2f" % (mine / other), "≤ %g s" % limit, mine <= limit)
    STOP.set()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        with socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[2])), Plain) as plain:
            plain.serve_forever()
    sys.exit(show(rows()))
