# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers on loopback that misbehave as told, and a way to run one step to its end."""

from __future__ import annotations

import os
import re
import socket
import struct
import sys
import threading
import time

import pytest

from selfheal._core.model import HttpTarget
from selfheal._probes.engine import LocalHost
from selfheal._probes.http import HttpProbe

sys.path.insert(0, os.path.dirname(__file__))  # for the helpers beside these tests


class Peer:
    """One accepted connection, as a handler sees it."""

    def __init__(self, connection, stop):
        self.connection = connection
        self._stop = stop

    def request(self):
        """Read one request with its body: what is left unread would make closing a reset."""
        got = b""
        while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < self._length(got):
            piece = self.connection.recv(65536)
            if not piece:
                break
            got += piece
        return got

    @staticmethod
    def _length(got):
        found = re.search(rb"\r\nContent-Length: (\d+)", got)
        return int(found.group(1)) if found else 0

    def send(self, data):
        self.connection.sendall(data)

    def drip(self, data, every=0.02):
        """One byte at a time, until told to stop or the peer has gone."""
        for byte in data:
            if self._stop.wait(every):
                return
            self.connection.sendall(bytes([byte]))

    def flood(self, data):
        while not self._stop.is_set():
            self.connection.sendall(data)

    def silence(self):
        self._stop.wait(10)

    def reset(self):
        """Close with RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


class Server:
    """Answers every connection by `handler(peer)` in a thread of its own. `seen` collects what handlers return, in order of connecting."""

    def __init__(self, handler, host="127.0.0.1", wrap=None):
        self._handler, self._wrap = handler, wrap
        self._stop = threading.Event()
        self._listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((host, 0))
        self._listener.listen(512)
        self.port = self._listener.getsockname()[1]
        self.seen = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self):
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return  # closed
            thread = threading.Thread(target=self._serve, args=(connection, len(self.seen)), daemon=True)
            self.seen.append(None)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection, place):
        try:
            if self._wrap is not None:
                connection = self._wrap(connection)
            self.seen[place] = self._handler(Peer(connection, self._stop))
        except OSError as error:
            self.seen[place] = error  # the probe went away, as it should
        finally:
            connection.close()

    def url(self, path="/"):
        return "http://127.0.0.1:%d%s" % (self.port, path)

    def close(self):
        if self._stop.is_set():
            return
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)


@pytest.fixture
def serve():
    """serve(handler) → a running `Server`."""
    servers = []

    def start(handler, **options):
        servers.append(Server(handler, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def host():
    with LocalHost() as local:
        yield local
        assert local.errors == 0, local.last_error


@pytest.fixture
def run(host):
    """run(step, timeout) → the ended handle; `elapsed` is checked against the deadline in the same place for all."""

    def run_one(step, timeout=0.3):
        handle = host.start(step, host.monotonic() + timeout)
        began = time.monotonic()
        ended = []
        while not ended:
            ended = host.poll(began + timeout + 5)
        assert ended == [handle]
        assert time.monotonic() - began <= timeout + 0.2, "the deadline did not hold"
        return handle

    return run_one


@pytest.fixture
def ask(serve, run):
    """ask(handler, **options of the target) → the outcome of one HTTP probe of a server that answers by `handler`."""

    def ask_one(handler, timeout=0.3, path="/", **options):
        server = serve(handler)
        return run(HttpProbe(HttpTarget(url=server.url(path), **options)), timeout).outcome

    return ask_one


def answer(status="200 OK", headers=(), body=b"", length=True):
    """The bytes of a proper answer."""
    lines = ["HTTP/1.1 " + status, *headers] + (["Content-Length: %d" % len(body)] if length else [])
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


@pytest.fixture
def replies():
    """replies(data) → a handler that reads a request, sends `data`, closes, and returns the request."""

    def make(data):
        def handler(peer):
            got = peer.request()
            peer.send(data)
            return got

        return handler

    return make


@pytest.fixture(name="answer")
def answer_fixture():
    return answer
