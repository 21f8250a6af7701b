# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the contract parser accepts, and the values it gives to what is not written."""

from __future__ import annotations

import copy
import dataclasses
import time

import pytest

from selfheal._core import contract, model
from selfheal._core.errors import ContractError

LIVE = {"role": "liveness", "http": {"url": "http://127.0.0.1:8080/live"}}
PLAIN = {"name": "web", "resource": {"unit": "web.service"}, "probes": [LIVE]}
FULL = {
    "name": "web",
    "resource": {"unit": "web.service"},
    "probes": [LIVE, {"role": "readiness", "http": {"url": "http://127.0.0.1:8080/ready"}}],
    "fallback": {"agent_check": {"port": 9878}},
    "release": {"root": "/var/www", "project": "web"},
    "dependencies": [{"name": "payments", "probe": {"http": {"url": "https://pay.example/ready"}}}],
    "notify": [{"alertmanager": {"url": "http://127.0.0.1:9093"}}],
}


def parse(**changes: object) -> model.Service:
    """The plain contract with some keys changed."""
    return contract.parse_services([{**copy.deepcopy(PLAIN), **changes}])[0]


def ladder_of(service: model.Service) -> list:
    return [(rung.rung, rung.attempts, rung.timeout) for rung in service.ladder]


def test_defaults_of_a_plain_contract() -> None:
    """Every default is the one the contract reference promises."""
    service = parse()
    assert service.resource == model.UnitResource("web.service")
    found = dataclasses.asdict(service)
    for key in ("resource", "probes", "ladder", "slow", "guard"):
        del found[key]
    assert found == {
        "name": "web",
        "mode": "auto",
        "desired": "by_admin",
        "confirm_period": 0.5,
        "failing_for": 5.0,
        "recovered_after": 10.0,
        "ladder_reset_after": 600.0,
        "retry_every": 300.0,
        "fallback": None,
        "release": None,
        "dependencies": (),
        "keep_warm": None,
        "notify": None,
    }
    assert service.slow == model.Slow(after=3.0, window=100, predict=False)
    assert service.guard == model.GuardLimits(actions=10, per=3600.0, cooldown=0.0, backoff_cap=300.0, min_available=1, peers=())
    assert ladder_of(service) == [("restart", 3, 10.0), ("page", 1, 0.0)]


def test_defaults_of_a_probe() -> None:
    """A probe runs every 10 s with 4 s to answer and fails the second time."""
    (probe,) = parse().probes
    assert dataclasses.replace(probe, target=model.TcpTarget("x", 1)) == model.Probe(
        name="liveness",
        role="liveness",
        target=model.TcpTarget("x", 1),
        period=10.0,
        timeout=4.0,
        failure_threshold=2,
        success_threshold=1,
        initial_delay=0.0,
    )
    assert probe.target == model.HttpTarget(
        url="http://127.0.0.1:8080/live",
        method="GET",
        headers=(),
        status=((200, 299),),
        body=None,
        body_text=None,
        body_regex=None,
        json=(),
        body_limit=10240,
        redirects=10,
        tls_verify=True,
        tls_ca=None,
        tls_server_name=None,
    )


def test_defaults_of_the_nested_mappings() -> None:
    """Dependencies, releases, processes and keep_warm have the defaults of the reference too."""
    service = contract.parse_services([FULL])[0]
    (dependency,) = service.dependencies
    assert (dependency.failure_threshold, dependency.reset_timeout, dependency.success_threshold, dependency.half_open_limit) == (
        5,
        60,
        3,
        60,
    )
    assert (dependency.probe.name, dependency.probe.role, dependency.probe.period, dependency.probe.timeout) == (
        "payments",
        "dependency",
        10,
        4,
    )
    assert service.release == model.Release("/var/www", "web", suspect_for=86400.0)
    assert service.fallback == model.Fallback("agent_check", {"port": 9878})
    assert service.notify == (model.Notify("alertmanager", {"url": "http://127.0.0.1:9093"}),)
    assert parse(keep_warm={"http": {"url": "http://x/"}}).keep_warm == model.KeepWarm(model.HttpTarget("http://x/"), 30.0)
    process = parse(resource={"process": {"argv": ["/bin/x"]}}).resource
    assert process == model.ProcessResource(("/bin/x",), None, None, None, None, "TERM", 10.0)
    webhook = parse(notify=[{"webhook": {"url": "http://x/"}}]).notify
    assert webhook == (model.Notify("webhook", {"url": "http://x/", "token_file": None, "hmac_file": None}),)


DEFAULT_LADDERS = {
    "plain": ({}, ["restart", "page"]),
    "release": ({"release": {"root": "/srv", "project": "web"}}, ["restart", "redeploy", "rollback", "page"]),
    "container": ({"resource": {"container": "web"}}, ["restart", "page"]),
}


@pytest.mark.parametrize(("changes", "rungs"), DEFAULT_LADDERS.values(), ids=DEFAULT_LADDERS)
def test_default_ladder(changes: dict, rungs: list) -> None:
    """Redeploy and rollback are in the default ladder only where there is a release to change."""
    promised = {"restart": (3, 10.0), "redeploy": (2, 120.0), "rollback": (1, 60.0), "page": (1, 0.0)}
    assert ladder_of(parse(**changes)) == [(rung, *promised[rung]) for rung in rungs]


COMMAND = {"argv": ["/usr/bin/deploy"]}
WRITTEN_LADDERS = {
    "empty: page only": ([], [("page", 1, 0)]),
    "page alone": ([{"rung": "page"}], [("page", 1, 0)]),
    "defaults of each rung": (
        [{"rung": "restart"}, {"rung": "redeploy", "command": COMMAND}, {"rung": "rollback", "command": COMMAND}],
        [("restart", 3, 10), ("redeploy", 2, 120), ("rollback", 1, 60), ("page", 1, 0)],
    ),
    "any order, page once": (
        [{"rung": "rollback", "command": COMMAND}, {"rung": "restart", "attempts": 1, "timeout": 7}, {"rung": "page"}],
        [("rollback", 1, 60), ("restart", 1, 7), ("page", 1, 0)],
    ),
    "a longer command widens the window": (
        [{"rung": "redeploy", "command": {**COMMAND, "timeout": 300}}],
        [("redeploy", 2, 300), ("page", 1, 0)],
    ),
    "a longer call widens the window": (
        [{"rung": "redeploy", "timeout": 5, "http": {"url": "http://x/", "timeout": 20}}],
        [("redeploy", 2, 20), ("page", 1, 0)],
    ),
}


@pytest.mark.parametrize(("written", "expected"), WRITTEN_LADDERS.values(), ids=WRITTEN_LADDERS)
def test_written_ladder(written: list, expected: list) -> None:
    """A ladder stands as written, each rung with its defaults, and always ends with the page (C05)."""
    assert ladder_of(parse(ladder=written)) == expected


def test_command_of_a_rung_fits_its_window() -> None:
    """A command without a timeout gets 60 s, less if the window is shorter."""
    first = parse(ladder=[{"rung": "redeploy", "command": COMMAND}]).ladder[0]
    short = parse(ladder=[{"rung": "redeploy", "timeout": 20, "command": COMMAND}]).ladder[0]
    assert (first.command, short.command) == (model.Command(("/usr/bin/deploy",), 60.0), model.Command(("/usr/bin/deploy",), 20.0))
    assert short.timeout == 20


SLOW = {
    "default timeout": ([4], None, 3.0),
    "short timeout": ([4, 2], None, 1.5),
    "long timeouts": ([30], None, 3.0),
    "written": ([4], {"after": 3.9, "window": 20, "predict": True}, 3.9),
    "window only": ([1], {"window": 20}, 0.75),
}


@pytest.mark.parametrize(("timeouts", "slow", "after"), SLOW.values(), ids=SLOW)
def test_slow_after(timeouts: list, slow: object, after: float) -> None:
    """slow.after is the smaller of 3 s and three quarters of the smallest timeout, unless written."""
    probes = [dict(LIVE, name="p%d" % index, timeout=timeout) for index, timeout in enumerate(timeouts)]
    assert parse(probes=probes, slow=slow).slow.after == after


def test_every_kind_of_probe_is_read() -> None:
    """http, tcp, exec, unit and process, with all their keys."""
    http = {
        "url": "https://[::1]:8443/x?y=%20z",
        "method": "POST",
        "headers": {"Host": "www.example"},
        "status": [204, "301-302"],
        "body": "a\nb",
        "body_text": "ok",
        "body_regex": "^o+k$",
        "json": {"checks.db": True},
        "body_limit": 1048576,
        "redirects": 0,
        "tls_verify": False,
        "tls_ca": "/etc/ca.pem",
        "tls_server_name": "www.example",
    }
    targets = [
        {"http": http},
        {"tcp": {"host": "::1", "port": 1}},
        {"exec": {"argv": ["/bin/test", "-f", "/x y"], "user": "web", "cwd": "/", "environment": {"A": "1"}}},
        {"unit": {"name": "web@1.service"}},
        {"process": {}},
        {"process": {"pidfile": "/run/x.pid"}},
    ]
    service = parse(probes=[{"role": "readiness", "name": "p%d" % index, **target} for index, target in enumerate(targets)])
    assert [probe.target for probe in service.probes] == [
        model.HttpTarget(
            url="https://[::1]:8443/x?y=%20z",
            method="POST",
            headers=(("Host", "www.example"),),
            status=((204, 204), (301, 302)),
            body="a\nb",
            body_text="ok",
            body_regex="^o+k$",
            json=(("checks.db", True),),
            body_limit=1048576,
            redirects=0,
            tls_verify=False,
            tls_ca="/etc/ca.pem",
            tls_server_name="www.example",
        ),
        model.TcpTarget("::1", 1),
        model.ExecTarget(("/bin/test", "-f", "/x y"), "web", "/", (("A", "1"),)),
        model.UnitTarget("web@1.service"),
        model.ProcessTarget(None),
        model.ProcessTarget("/run/x.pid"),
    ]


def test_null_is_not_written() -> None:
    """A key that is null is as good as absent: templates and modules fill in nulls."""
    nulls = dict.fromkeys(["mode", "ladder", "fallback", "release", "dependencies", "keep_warm", "guard", "notify", "slow", "failing_for"])
    probe = {**LIVE, "tcp": None, "name": None, "period": None}
    assert parse(**nulls, probes=[probe]) == parse()


def test_both_shapes_of_the_document() -> None:
    """A bare list and a mapping with services say the same; no service at all is a legal host."""
    assert contract.parse_services({"services": [FULL]}) == contract.parse_services([FULL])
    assert contract.parse_services([]) == contract.parse_services({"services": []}) == ()


def test_an_input_is_never_changed() -> None:
    """Parsing leaves what it was given as it was, and gives the same each time."""
    before = copy.deepcopy(FULL)
    assert contract.parse_services([FULL]) == contract.parse_services([FULL])
    assert before == FULL


def test_500_services_are_read_and_501_refused() -> None:
    """The promised limit on services holds to the service, and reading 500 takes well under a second of work."""
    many = [{**copy.deepcopy(PLAIN), "name": "s%d" % index} for index in range(501)]
    begun = time.process_time()
    assert len(contract.parse_services(many[:500])) == 500
    assert time.process_time() - begun < 2
    with pytest.raises(ContractError, match="services: has 501 entries; at most 500 are allowed"):
        contract.parse_services(many)


WATCHDOG = {"schema": 1, "host": "web1"}


def test_watchdog_defaults() -> None:
    """watchdog.json needs its schema and the host's name; everything else has a default."""
    assert contract.parse_watchdog(WATCHDOG) == model.WatchdogConfig(
        host="web1",
        listen=("127.0.0.1", 9877),
        token_file=None,
        state_dir="/var/lib/selfheal",
        run_dir="/run/selfheal",
        notify=(),
        storm=model.Storm(services=5, percent=50.0, window=60.0),
        network_reference=None,
        retention=268435456,
        mode_ceiling="auto",
    )


def test_watchdog_in_full() -> None:
    """Every key of watchdog.json is read."""
    config = contract.parse_watchdog(
        {
            **WATCHDOG,
            "listen": "[::]:80",
            "token_file": "/etc/selfheal/token",
            "state_dir": "/s",
            "run_dir": "/r",
            "notify": [{"command": {"argv": ["/bin/mail"]}}],
            "storm": {"services": 3, "percent": 20, "window": 30},
            "network_reference": {"tcp": {"host": "192.0.2.1", "port": 53}, "timeout": 1},
            "retention": 16777216,
            "mode_ceiling": "observe",
            "metrics_file": "/var/lib/node-exporter/selfheal.prom",
        }
    )
    assert config == model.WatchdogConfig(
        host="web1",
        listen=("::", 80),
        token_file="/etc/selfheal/token",
        state_dir="/s",
        run_dir="/r",
        notify=(model.Notify("command", {"argv": ("/bin/mail",)}),),
        storm=model.Storm(3, 20.0, 30.0),
        network_reference=model.Probe("network_reference", "reference", model.TcpTarget("192.0.2.1", 53), 10.0, 1.0),
        retention=16777216,
        mode_ceiling="observe",
        metrics_file="/var/lib/node-exporter/selfheal.prom",
    )


@pytest.mark.parametrize(
    ("mode", "highest", "expected"),
    [
        ("auto", "auto", "auto"),
        ("auto", "approve", "approve"),
        ("auto", "observe", "observe"),
        ("approve", "auto", "approve"),
        ("approve", "observe", "observe"),
        ("observe", "auto", "observe"),
        ("observe", "approve", "observe"),
    ],
)
def test_ceiling(mode: str, highest: str, expected: str) -> None:
    """A host's ceiling makes a service more careful, never freer (C12)."""
    assert contract.ceiling(mode, highest) == expected


def test_targets() -> None:
    """health_probe's targets: one kind each, a timeout of their own if they like; none is none."""
    read = contract.parse_targets(
        [
            {"name": "web", "http": {"url": "http://127.0.0.1:8080/live", "status": ["200-299"]}},
            {"name": "the database", "tcp": {"host": "127.0.0.1", "port": 5432}, "timeout": 1},
        ]
    )
    assert read == (
        ("web", model.HttpTarget("http://127.0.0.1:8080/live"), None),
        ("the database", model.TcpTarget("127.0.0.1", 5432), 1.0),
    )
    assert contract.parse_targets([]) == ()
