# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop at its limits: hanging targets, descriptors that must come back, none left."""

from __future__ import annotations

import os
import resource

from selfheal._core.model import HttpTarget, TcpTarget
from selfheal._core.reasons import Reason
from selfheal._probes.http import HttpProbe
from selfheal._probes.tcp import TcpProbe


def test_hanging_targets_delay_nobody(serve, host, answer, replies):
    """C13 C58: with 50 of 100 targets hanging, the other 50 answer at once, and the hanging ones end at their deadline."""
    good, bad = serve(replies(answer(body=b"ok"))), serve(lambda peer: peer.silence())
    began = host.monotonic()
    for index in range(100):
        host.start(HttpProbe(HttpTarget(url=(bad if index % 2 else good).url())), began + 0.5, owner=index)
    ended = []
    while len(ended) < 100:
        ended += host.poll(began + 5)
    fine = [handle for handle in ended if handle.outcome.status == "ok"]
    assert sorted(handle.owner for handle in fine) == list(range(0, 100, 2))
    assert max(handle.ended for handle in fine) - began < 0.45
    late = [handle for handle in ended if handle.outcome.reason is Reason.TIMEOUT]
    assert len(late) == 50
    assert max(handle.ended for handle in late) - began <= 0.5 + 0.2


def test_descriptors_are_not_leaked(serve, host, answer, replies):
    """Thousands of probes, good, refused, cancelled and expired, leave no descriptor behind and no heap that grows."""
    server = serve(replies(answer(body=b"ok")))
    silent = serve(lambda peer: peer.silence())
    probes = [HttpProbe(HttpTarget(url=url)) for url in (server.url(), "http://127.0.0.1:1/")]
    probes.append(TcpProbe(TcpTarget("127.0.0.1", server.port)))
    hanging = HttpProbe(HttpTarget(url=silent.url()))
    before = len(os.listdir("/proc/self/fd"))
    for _round in range(20):
        for probe in probes * 5:
            host.start(probe, host.monotonic() + 10)
        host.cancel(host.start(hanging, host.monotonic() + 10))
        left = 15
        while left:
            left -= len(host.poll(host.monotonic() + 5))
    host.start(hanging, host.monotonic() + 0.01)
    assert host.poll(host.monotonic() + 5)[0].outcome.reason is Reason.TIMEOUT
    server.close()
    silent.close()
    assert len(os.listdir("/proc/self/fd")) <= before
    assert len(host._heap) < 200


def test_out_of_descriptors_is_unknown(host):
    """C57: a host that has no descriptor left says unknown, not that its targets are down."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    steps = [TcpProbe(TcpTarget("127.0.0.1", 1)), HttpProbe(HttpTarget(url="http://no-such-name.invalid/"))]
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))
    held = []
    try:
        while True:
            try:
                held.append(os.dup(0))
            except OSError:
                break
        handles = [host.start(step, host.monotonic() + 1) for step in steps]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)
    assert host.poll(host.monotonic() + 1) == handles
    assert [(handle.outcome.status, handle.outcome.reason) for handle in handles] == [("unknown", Reason.RESOURCE_LIMIT)] * 2
