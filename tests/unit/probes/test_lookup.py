# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names: what is known at once, what is asked in workers, and a resolver that hangs."""

from __future__ import annotations

import os
import select
import socket
import threading
import types

import pytest

from selfheal._core.model import HttpTarget, TcpTarget
from selfheal._core.reasons import Reason
from selfheal._probes import connect, lookup
from selfheal._probes.http import HttpProbe
from selfheal._probes.lookup import Address, Answer, HostsFile, Resolver, literal
from selfheal._probes.tcp import TcpProbe

V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", Address(V4, "127.0.0.1")),
        ("::1", Address(V6, "::1")),
        ("fe80::1%1", Address(V6, "fe80::1", 1)),
        ("fe80::1%lo", Address(V6, "fe80::1", socket.if_nametoindex("lo"))),
        ("fe80::1%none", None),
        ("1.2.3", None),
        ("example", None),
        ("256.1.1.1", None),
        ("", None),
    ],
)
def test_literal(host, address):
    """Literal addresses are told from names without asking anybody."""
    assert literal(host) == address


def test_hosts_file(tmp_path):
    """Names in the hosts file are known at once, in its order, and again when it has changed."""
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost Web # x\n::1 localhost\n10.0.0.1\tweb\nbroken line\n# 1.1.1.1 no\n")
    hosts = HostsFile(str(path))
    assert hosts.find("localhost", 0) == (Address(V4, "127.0.0.1"), Address(V6, "::1"))
    assert hosts.find("WEB", 0) == (Address(V4, "127.0.0.1"), Address(V4, "10.0.0.1"))
    assert hosts.find("no", 0) == ()
    path.write_text("10.0.0.2 web and more\n")
    assert hosts.find("web", 0.5)[0].host == "127.0.0.1", "not looked at more than once a second"
    assert hosts.find("web", 1.5) == (Address(V4, "10.0.0.2"),)
    path.unlink()
    assert hosts.find("web", 3) == ()
    assert [address.host for address in hosts.find("localhost", 3)] == ["127.0.0.1", "::1"]


class Stub:
    """Stands in for the system's resolver: names wait until they are released."""

    def __init__(self, monkeypatch):
        self.asked = []
        self.release = threading.Event()
        self.answers = {}
        monkeypatch.setattr(lookup, "resolve", self.resolve)
        monkeypatch.setattr(lookup, "_resolvers", [])

    def resolve(self, name):
        self.asked.append(name)
        if name.startswith("hang"):
            self.release.wait(20)
        return self.answers.get(name, Answer((Address(V4, "127.0.0.1"),)))


@pytest.fixture
def stub(monkeypatch):
    made = Stub(monkeypatch)
    yield made
    made.release.set()


def wait(waiter):
    assert select.select([waiter.fd], [], [], 5)[0]
    answer = waiter.answer
    waiter.close()
    return answer


def test_one_question_for_all_who_wait(stub):
    """Many who ask for one name at once cost one question, and one who asks soon after gets the same answer."""
    resolver = Resolver(workers=2)
    waiters = [resolver.ask("hang.example", 0) for _each in range(10)]
    stub.release.set()
    assert {wait(waiter) for waiter in waiters} == {Answer((Address(V4, "127.0.0.1"),))}
    again = resolver.ask("hang.example", 0)
    assert wait(again).addresses
    assert stub.asked == ["hang.example"]


def test_answers_are_not_kept_long(stub, monkeypatch):
    """After two seconds a name is asked again; a failure is asked again at once."""
    clock = [100.0]
    monkeypatch.setattr(lookup, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    resolver = Resolver()
    stub.answers["bad.example"] = Answer((), "not found")
    for now, name in ((100, "a.example"), (101, "a.example"), (103, "a.example"), (103, "bad.example"), (103, "bad.example")):
        clock[0] = now
        wait(resolver.ask(name, now))
    assert stub.asked == ["a.example", "a.example", "bad.example", "bad.example"]


def test_hung_names_do_not_delay_others(stub):
    """C21: names that hang take a worker each; while one is free, others are answered."""
    resolver = Resolver(workers=3)
    hung = [resolver.ask("hang%d" % index, 0) for index in range(2)]
    assert wait(resolver.ask("good.example", 0)).addresses
    more = [resolver.ask("hang9", 0), resolver.ask("late.example", 0)]
    assert [waiter.queued for waiter in more][1]
    assert resolver._threads == 3
    for waiter in hung + more:
        waiter.close()


def test_question_that_nobody_waits_for_is_not_asked(stub):
    """What was given up before a worker was free is never asked."""
    resolver = Resolver(workers=1)
    first = resolver.ask("hang", 0)
    resolver.ask("forgotten.example", 0).close()
    last = resolver.ask("last.example", 0)
    stub.release.set()
    assert wait(first).addresses
    assert wait(last).addresses
    assert stub.asked == ["hang", "last.example"]


def test_probe_of_a_name(stub, serve, replies, answer, run):
    """A name is looked up and the probe goes on with its address."""
    server = serve(replies(answer(body=b"ok")))
    outcome = run(HttpProbe(HttpTarget(url="http://web.example:%d/" % server.port))).outcome
    assert outcome.status == "ok", outcome
    server.close()
    assert b"Host: web.example:%d\r\n" % server.port in server.seen[0]


def test_name_that_does_not_exist_is_unknown(stub, run):
    """A name that cannot be looked up says nothing about the target."""
    stub.answers["gone.example"] = Answer((), "Name or service not known")
    outcome = run(TcpProbe(TcpTarget("gone.example", 80))).outcome
    assert (outcome.status, outcome.reason) == ("unknown", Reason.NAME_LOOKUP_FAILED)
    assert "gone.example was not found: Name or service not known" in outcome.detail


def test_real_resolver_says_no():
    """The system's own resolver, asked for a name that cannot exist."""
    answer = lookup.resolve("no-such-name.invalid")
    assert answer.addresses == ()
    assert answer.problem
    assert lookup.resolve("a" * 70 + ".invalid").problem


def test_hung_resolver_holds_the_deadline(stub, host):
    """C21 C28: a resolver that hangs is unknown at the deadline; when every worker is stuck, that is said."""
    lookup._resolvers.append(Resolver(workers=1))
    began = host.monotonic()
    stuck = host.start(HttpProbe(HttpTarget(url="http://hang.example/")), began + 0.2)
    while not stub.asked:
        assert host.poll(host.monotonic() + 0.01) == []
    queued = host.start(TcpProbe(TcpTarget("good.example", 80)), began + 0.25)
    assert host.poll(began + 5) + host.poll(began + 5) == [stuck, queued]
    assert host.monotonic() - began <= 0.25 + 0.2
    assert (stuck.outcome.status, stuck.outcome.reason) == ("unknown", Reason.NAME_LOOKUP_FAILED)
    assert (queued.outcome.status, queued.outcome.reason) == ("unknown", Reason.TOO_MANY_STUCK)
    stub.release.set()


# Several addresses.


def several(stub, *hosts):
    stub.answers["many.example"] = Answer(tuple(Address(V6 if ":" in host else V4, host) for host in hosts))


def test_next_address_after_a_refusal(stub, serve, replies, answer, run):
    """C57: an address that refuses is no failure while another one answers, also across families."""
    server = serve(replies(answer(body=b"ok")), host="127.0.0.3")
    several(stub, "::1", "127.0.0.1", "127.0.0.3")
    assert run(HttpProbe(HttpTarget(url="http://many.example:%d/" % server.port))).outcome.status == "ok"
    assert run(TcpProbe(TcpTarget("many.example", server.port))).outcome.status == "ok"


def test_all_addresses_refuse(stub, serve, run):
    """When every address refuses, the detail names each."""
    server = serve(lambda peer: None)
    server.close()
    several(stub, "127.0.0.2", "127.0.0.3")
    for step in (HttpProbe(HttpTarget(url="http://many.example:%d/" % server.port)), TcpProbe(TcpTarget("many.example", server.port))):
        outcome = run(step).outcome
        assert (outcome.status, outcome.reason) == ("bad", Reason.CONNECTION_REFUSED)
        assert "127.0.0.2:%d before" % server.port in outcome.detail
        assert "connecting to 127.0.0.3:%d" % server.port in outcome.detail


@pytest.fixture
def black_hole():
    """A port at 127.0.0.2 whose queue of connections is full: it does not answer at all. And its port."""
    listener = socket.socket()
    listener.bind(("127.0.0.2", 0))
    listener.listen(0)
    fillers = []
    for _each in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    yield listener.getsockname()[1]
    for one in [listener, *fillers]:
        one.close()


def test_address_that_does_not_answer(stub, black_hole, run, monkeypatch):
    """An address that swallows packets is left for the next one; the last one has all the time that is left."""
    monkeypatch.setattr(connect, "NEXT_ADDRESS_MS", 100)
    several(stub, "127.0.0.2", "127.0.0.1")
    with socket.socket() as good:
        good.bind(("127.0.0.1", black_hole))
        good.listen()
        assert run(TcpProbe(TcpTarget("many.example", black_hole)), 4).outcome.status == "ok"


def test_connection_that_is_never_accepted(black_hole, run):
    """C28: a connection that never comes about is a failure at the deadline, for both kinds."""
    for step in (TcpProbe(TcpTarget("127.0.0.2", black_hole)), HttpProbe(HttpTarget(url="http://127.0.0.2:%d/" % black_hole))):
        outcome = run(step).outcome
        assert (outcome.status, outcome.reason) == ("bad", Reason.TIMEOUT), outcome


def test_ipv6(serve, replies, answer, run):
    """IPv6 addresses are probed as they are written in URLs."""
    server = serve(replies(answer(body=b"ok")), host="::1")
    assert run(HttpProbe(HttpTarget(url="http://[::1]:%d/" % server.port))).outcome.status == "ok"
    outcome = run(TcpProbe(TcpTarget("::1", server.port))).outcome
    assert outcome.detail == "[::1]:%d accepts connections" % server.port


@pytest.mark.parametrize(
    ("number", "status", "reason"),
    [
        ("ECONNREFUSED", "bad", Reason.CONNECTION_REFUSED),
        ("ECONNRESET", "bad", Reason.CONNECTION_RESET),
        ("EPIPE", "bad", Reason.CONNECTION_RESET),
        ("EHOSTUNREACH", "bad", Reason.UNREACHABLE),
        ("ENETUNREACH", "bad", Reason.UNREACHABLE),
        ("ETIMEDOUT", "bad", Reason.TIMEOUT),
        ("EACCES", "unknown", Reason.NO_PERMISSION),
        ("EPERM", "unknown", Reason.NO_PERMISSION),
        ("EMFILE", "unknown", Reason.RESOURCE_LIMIT),
        ("ENFILE", "unknown", Reason.RESOURCE_LIMIT),
        ("EADDRNOTAVAIL", "unknown", Reason.RESOURCE_LIMIT),
    ],
)
def test_what_errors_mean(number, status, reason):
    """C57: what is wrong with the target is bad, what is wrong with this host is unknown."""
    import errno

    outcome = connect.outcome_of(getattr(errno, number), "x")
    assert (outcome.status, outcome.reason) == (status, reason)
    assert os.strerror(getattr(errno, number)) in outcome.detail
