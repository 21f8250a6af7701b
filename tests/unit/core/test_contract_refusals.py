# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the contract parser refuses, where it says the fault lies, and in which words."""

from __future__ import annotations

import copy

import pytest

from selfheal._core import contract
from selfheal._core.errors import ContractError

LIVE = {"role": "liveness", "http": {"url": "http://127.0.0.1:8080/live"}}
PLAIN = {"name": "web", "resource": {"unit": "web.service"}, "probes": [LIVE]}
AT = "services[0]"
HTTP = AT + ".probes[0].http"


def problems_of(*services: object) -> list:
    with pytest.raises(ContractError) as refused:
        contract.parse_services(list(services))
    return [str(problem) for problem in refused.value.problems]


def with_http(**changes: object) -> dict:
    return {"probes": [{"role": "liveness", "http": {"url": "http://x/", **changes}}]}


def with_probe(**changes: object) -> dict:
    return {"probes": [{**LIVE, **changes}]}


def with_target(**target: object) -> dict:
    return {"probes": [{"role": "liveness", **target}]}


NAME = "expected a name of 1 to 63 lower-case letters, digits, '_' and '-', beginning with a letter or digit; found "
SUFFIXES = ".service, .socket, .timer, .path, .mount, .automount, .swap, .target"
RESERVED = "contains a space, a control character or another one that must be percent-encoded in a URL"
AUTHORITY = "expected a host name or address and perhaps a port from 1 to 65535, found "
STATUS = 'expected a status code (204) or a range ("200-299") between 100 and 599, found '
ACTS_ON_NOTHING = " has nothing to act on: add a command or http to it, or a release to the service, or remove the rung"

# What is changed in a sound contract -> the one problem it must make.
BAD = [
    ({"name": "Web"}, AT + ".name: " + NAME + "'Web'"),
    ({"name": "web\n"}, AT + ".name: " + NAME + "'web\\n'"),
    ({"name": "w" * 64}, AT + ".name: " + NAME + "'" + "w" * 60 + "'…"),
    ({"name": 5}, AT + ".name: " + NAME + "5"),
    ({"name": None}, AT + ".name: is required"),
    ({"probs": []}, AT + ": unknown key 'probs'; did you mean probes?"),
    ({1: 2}, AT + ": unknown key 1; known here: name, resource, probes, mode, desired, confirm_period, failing_for, recovered_after, "
     "ladder_reset_after, retry_every, slow, ladder, fallback, release, dependencies, keep_warm, guard, notify"),
    ({"resource": {}}, AT + ".resource: expected exactly one of unit, container or process; found none"),
    ({"resource": {"unit": "a.service", "container": "a"}},
     AT + ".resource: expected exactly one of unit, container or process; found unit and container"),
    ({"resource": {"unit": "web"}}, AT + ".resource.unit: expected a unit's full name, ending in " + SUFFIXES + "; found 'web'"),
    ({"resource": {"unit": "x.slice"}}, AT + ".resource.unit: expected a unit's full name, ending in " + SUFFIXES + "; found 'x.slice'"),
    ({"resource": {"unit": "--now.service"}},
     AT + ".resource.unit: expected a unit's full name, ending in " + SUFFIXES + "; found '--now.service'"),
    ({"resource": {"unit": "web@.service"}}, AT + ".resource.unit: 'web@.service' is a template; name an instance, such as web@1.service"),
    ({"resource": {"container": "-rm"}}, AT + ".resource.container: expected the name of a container; found '-rm'"),
    ({"resource": {"process": {"argv": []}}},
     AT + ".resource.process.argv: must not be empty: expected a list of strings, the program first"),
    ({"resource": {"process": {"argv": ["run"]}}}, AT + ".resource.process.argv[0]: expected an absolute path, found 'run'"),
    ({"resource": {"process": {"argv": ["/bin/x", 5]}}}, AT + ".resource.process.argv[1]: expected a string (numbers in quotes), found 5"),
    ({"resource": {"process": {"argv": ["/bin/x", "a\0b"]}}},
     AT + ".resource.process.argv[1]: no program can be given this: it is too long, or contains NUL or half a character"),
    ({"resource": {"process": {"argv": "/bin/x -d"}}},
     AT + ".resource.process.argv: expected a list of strings, found one string: no shell reads it, so write each argument by itself"),
    ({"resource": {"process": {"argv": ["/bin/x"], "stop_signal": "KILL"}}},
     AT + ".resource.process.stop_signal: expected TERM, INT, QUIT, HUP, USR1, USR2 or WINCH, found 'KILL'"),
    ({"resource": {"process": {"argv": ["/bin/x"], "pidfile": "/run/../x"}}},
     AT + ".resource.process.pidfile: must not contain '..', found '/run/../x'"),
    ({"resource": {"process": {"argv": ["/bin/x"], "cwd": "/a\nb"}}},
     AT + ".resource.process.cwd: must be at most 4095 characters without control characters or line breaks"),
    ({"mode": "manual"}, AT + ".mode: expected observe, approve or auto, found 'manual'"),
    ({"desired": True}, AT + ".desired: expected by_admin or always, found true"),
    ({"failing_for": True}, AT + ".failing_for: expected a number of seconds from 0 to 86400, found true"),
    ({"failing_for": "5"}, AT + ".failing_for: expected a number of seconds from 0 to 86400, found '5'"),
    ({"failing_for": float("nan")}, AT + ".failing_for: expected a number of seconds from 0 to 86400, found nan"),
    ({"failing_for": float("inf")}, AT + ".failing_for: expected a number of seconds from 0 to 86400, found inf"),
    ({"failing_for": 10**5000}, AT + ".failing_for: expected a number of seconds from 0 to 86400, found a huge number"),
    ({"confirm_period": 0}, AT + ".confirm_period: expected a number of seconds from 0.1 to 86400, found 0"),
    ({"retry_every": 0}, AT + ".retry_every: expected a number of seconds from 1 to 86400, found 0"),
    # Probes.
    ({"probes": []}, AT + ".probes: must not be empty: expected a list of probes"),
    ({"probes": {}}, AT + ".probes: expected a list of probes, found an empty mapping"),
    ({"probes": [LIVE] * 1 + [7]}, AT + ".probes[1]: expected a mapping with role, found 7"),
    (with_probe(role="alive"), AT + ".probes[0].role: expected liveness, readiness or startup, found 'alive'"),
    (with_target(), AT + ".probes[0]: expected exactly one of http, tcp, exec, unit or process; found none"),
    (with_probe(tcp={"host": "x", "port": 1}),
     AT + ".probes[0]: expected exactly one of http, tcp, exec, unit or process; found http and tcp"),
    (with_probe(period=0), AT + ".probes[0].period: expected a number of seconds from 0.1 to 86400, found 0"),
    (with_probe(timeout=0), AT + ".probes[0].timeout: expected a number of seconds from 0.05 to 3600, found 0"),
    (with_probe(failure_threshold=0), AT + ".probes[0].failure_threshold: expected a whole number from 1 to 1000, found 0"),
    (with_probe(failure_threshold=1.5), AT + ".probes[0].failure_threshold: expected a whole number from 1 to 1000, found 1.5"),
    (with_probe(success_threshold=True), AT + ".probes[0].success_threshold: expected a whole number from 1 to 1000, found true"),
    (with_probe(name="readiness"), AT + ".probes[0].name: 'readiness' is the name of another role; choose a different name"),
    ({"probes": [LIVE, LIVE]},
     AT + ".probes[1]: has no name, and services[0].probes[0] is a liveness probe without one too; give both a name"),
    ({"probes": [{**LIVE, "name": "a"}, {**LIVE, "name": "a"}]},
     AT + ".probes[1].name: the probe name 'a' is already taken by services[0].probes[0].name"),
    ({"probes": [{**LIVE, "role": "startup"}, {**LIVE, "role": "startup", "name": "b"}]},
     AT + ".probes[1]: a second startup probe; services[0].probes[0] is the first, and a service has at most one"),
    (with_http(url="ftp://x/"), HTTP + ".url: expected a URL that begins with http:// or https://, found 'ftp://x/'"),
    (with_http(url="/live"), HTTP + ".url: expected a URL that begins with http:// or https://, found '/live'"),
    (with_http(url=5), HTTP + ".url: expected an http or https URL, found 5"),
    (with_http(url="http://u:secret@x/"), HTTP + ".url: contains credentials, which would be seen in logs; put them into headers"),
    (with_http(url="http://x/a b"), HTTP + ".url: " + RESERVED),
    (with_http(url="http://x/\r\nX: y"), HTTP + ".url: " + RESERVED),
    (with_http(url="http://{{ host }}/"), HTTP + ".url: " + RESERVED),
    (with_http(url="http://bücher/"), HTTP + ".url: " + RESERVED),
    (with_http(url="http:///x"), HTTP + ".url: " + AUTHORITY + "''"),
    (with_http(url="http://x:0/"), HTTP + ".url: " + AUTHORITY + "'x:0'"),
    (with_http(url="http://x:65536/"), HTTP + ".url: " + AUTHORITY + "'x:65536'"),
    (with_http(url="http://x:/"), HTTP + ".url: " + AUTHORITY + "'x:'"),
    (with_http(url="http://[::g]/"), HTTP + ".url: " + AUTHORITY + "'[::g]'"),
    (with_http(url="http://::1/"), HTTP + ".url: " + AUTHORITY + "'::1'"),
    (with_http(url="http://x/#a"), HTTP + ".url: contains a #fragment, which is never sent to a server; remove it"),
    (with_http(headers={"A b": "c"}), HTTP + ".headers: expected the name of an HTTP header, found 'A b'"),
    (with_http(headers={"A": "b\r\nC: d"}),
     HTTP + ".headers.A: must be at most 8192 characters of Latin-1 without line breaks or control characters"),
    (with_http(headers={"A": 1}), HTTP + ".headers.A: expected a string (numbers in quotes)"),
    (with_http(headers={"a": "1", "A": "2"}), HTTP + ".headers: the header a is given twice"),
    (with_http(headers={"Content-Length": "1"}),
     HTTP + ".headers: the header Content-Length is set by the client itself and cannot be given"),
    (with_http(status=200), HTTP + ".status: expected a list of status codes and ranges, found 200"),
    (with_http(status=[]), HTTP + ".status: must not be empty: expected a list of status codes and ranges"),
    (with_http(status=["299-200"]), HTTP + ".status[0]: " + STATUS + "'299-200'"),
    (with_http(status=[99]), HTTP + ".status[0]: " + STATUS + "99"),
    (with_http(status=[True]), HTTP + ".status[0]: " + STATUS + "true"),
    (with_http(body_regex="("), HTTP + ".body_regex: is no regular expression: missing ), unterminated subpattern at position 0"),
    (with_http(body_regex="[[:alpha:]]"),
     HTTP + ".body_regex: is an ambiguous regular expression: Possible nested set at position 1; escape what is meant literally"),
    (with_http(body_text=""), HTTP + ".body_text: must not be empty"),
    (with_http(json={"a..b": 1}), HTTP + ".json: expected a path such as status or checks.database.ok, found 'a..b'"),
    (with_http(json={"a": float("nan")}), HTTP + ".json.a: contains a number that is not finite"),
    (with_http(method="HEAD", body_text="ok"), HTTP + ".body_text: the answer to HEAD has no body; use GET"),
    (with_http(body_limit=1048577), HTTP + ".body_limit: expected a whole number from 1 to 1048576, found 1048577"),
    (with_http(redirects=11), HTTP + ".redirects: expected a whole number from 0 to 10, found 11"),
    (with_http(tls_verify="no"), HTTP + ".tls_verify: expected true or false, found 'no'"),
    (with_target(tcp={"host": "a b", "port": 1}), AT + ".probes[0].tcp.host: expected a host name or an IP address, found 'a b'"),
    (with_target(tcp={"host": "x", "port": "80"}), AT + ".probes[0].tcp.port: expected a whole number from 1 to 65535, found '80'"),
    (with_target(exec={"argv": ["/bin/true"]}, period=0.5),
     AT + ".probes[0].period: exec starts a process each time: at least 1 s, or use http or tcp"),
    (with_target(exec={"argv": ["/bin/true"], "environment": {"A=B": "1"}}),
     AT + ".probes[0].exec.environment: expected the name of an environment variable; found 'A=B'"),
    (with_target(exec={"argv": ["/bin/true"], "environment": {"A": "a\0"}}),
     AT + ".probes[0].exec.environment.A: expected a string (numbers in quotes) without NUL"),
    (with_target(unit="web.service"), AT + ".probes[0].unit: expected a mapping with name, found 'web.service'"),
    # Slow, ladder, fallback.
    ({"slow": {"after": 4}}, AT + ".slow.after: is 4 s, but probes[0] times out after 4.0 s; must be below every probe's timeout"),
    ({"slow": {"window": 1}}, AT + ".slow.window: expected a whole number from 2 to 10000, found 1"),
    ({"ladder": [{"rung": "reboot"}]}, AT + ".ladder[0].rung: expected restart, redeploy, rollback or page, found 'reboot'"),
    ({"ladder": ["restart"]}, AT + ".ladder[0]: expected a mapping with rung, found 'restart'"),
    ({"ladder": [{"rung": "restart", "attempts": 0}]}, AT + ".ladder[0].attempts: expected a whole number from 1 to 100, found 0"),
    ({"ladder": [{"rung": "restart"}, {"rung": "restart"}]},
     AT + ".ladder[1].rung: the rung 'restart' is already taken by services[0].ladder[0].rung"),
    ({"ladder": [{"rung": "page"}, {"rung": "restart"}]}, AT + ".ladder[0].rung: nothing comes after the page; make it the last rung"),
    ({"ladder": [{"rung": "page", "attempts": 2}]},
     AT + ".ladder[0].attempts: a page takes no further keys: one is sent, and notify says to whom"),
    ({"ladder": [{"rung": "redeploy"}]}, AT + ".ladder[0]: redeploy" + ACTS_ON_NOTHING),
    ({"ladder": [{"rung": "restart"}, {"rung": "rollback"}]}, AT + ".ladder[1]: rollback" + ACTS_ON_NOTHING),
    ({"ladder": [{"rung": "restart", "command": {"argv": ["/bin/x"]}}]},
     AT + ".ladder[0].command: a restart is done through the resource itself; commands and calls belong to redeploy and rollback"),
    ({"ladder": [{"rung": "redeploy", "command": {"argv": ["/bin/x"]}, "http": {"url": "http://x/"}}]},
     AT + ".ladder[0]: expected at most one of command or http; found both"),
    ({"fallback": {}}, AT + ".fallback: expected exactly one of haproxy, agent_check or command; found none"),
    ({"fallback": {"agent_check": {"port": 0}}}, AT + ".fallback.agent_check.port: expected a whole number from 1 to 65535, found 0"),
    ({"fallback": {"haproxy": {"socket": "/run/h.sock", "backend": "b", "primary": "p", "backup": "p"}}},
     AT + ".fallback.haproxy.backup: is the primary itself"),
    ({"fallback": {"haproxy": {"socket": "/run/h.sock", "backend": "b;quit", "primary": "p", "backup": "q"}}},
     AT + ".fallback.haproxy.backend: expected a name as HAProxy knows it; found 'b;quit'"),
    ({"fallback": {"command": {"argv_open": ["/bin/x"]}}}, AT + ".fallback.command.argv_close: is required"),
    # The rest.
    ({"release": {"root": "www", "project": "web"}}, AT + ".release.root: expected an absolute path, found 'www'"),
    ({"release": {"root": "/www", "project": "a/b"}},
     AT + ".release.project: expected the name of one directory below root, without '/'; found 'a/b'"),
    ({"release": {"root": "/www", "project": ".."}},
     AT + ".release.project: expected the name of one directory below root, without '/'; found '..'"),
    ({"dependencies": [{"name": "a", "probe": {"process": {}}}]}, AT + ".dependencies[0].probe.process.pidfile: is required"),
    ({"dependencies": [{"name": "a", "probe": {"role": "liveness", "tcp": {"host": "x", "port": 1}}}]},
     AT + ".dependencies[0].probe: unknown key 'role'; known here: http, tcp, exec, unit, process, period, timeout"),
    ({"dependencies": [{"name": "a", "probe": {"tcp": {"host": "x", "port": 1}}}] * 2},
     AT + ".dependencies[1].name: the dependency name 'a' is already taken by services[0].dependencies[0].name"),
    ({"keep_warm": {"period": 3}}, AT + ".keep_warm.http: is required"),
    ({"guard": {"min_available": 1}},
     AT + ".guard.min_available: counts the other instances, so it needs peers: a list of their readiness URLs"),
    ({"guard": {"actions": 0}}, AT + ".guard.actions: expected a whole number from 1 to 10000, found 0"),
    ({"guard": {"peers": ["http://a:b@c/"]}},
     AT + ".guard.peers[0]: contains credentials, which would be seen in logs; put them into headers or a token_file"),
    ({"notify": {"webhook": {}}}, AT + ".notify: expected a list of notifications, found a mapping"),
    ({"notify": [{"pager": {}}]}, AT + ".notify[0]: unknown key 'pager'; known here: webhook, alertmanager, command"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), BAD, ids=[expected[:60] for _changes, expected in BAD])
def test_one_fault_is_named_with_its_place(changes: dict, expected: str) -> None:
    """Each fault is reported at its own path, says what was found and what is expected."""
    assert problems_of({**copy.deepcopy(PLAIN), **changes})[0] == expected


def test_all_faults_are_named_at_once() -> None:
    """Faults in several services, and of several kinds in one, come in one error."""
    second = {**PLAIN, "resource": {"unit": "x"}, "probes": [{"role": "liveness", "tcp": {"port": 80}}], "slow": {"after": 9}, "gard": {}}
    assert [problem.split(":")[0] for problem in problems_of(PLAIN, second, "x")] == [
        "services[1]",
        "services[1].resource.unit",
        "services[1].probes[0].tcp.host",
        "services[1].slow.after",
        "services[2]",
        "services[1].name",
    ]


def test_exec_probes_have_a_floor() -> None:
    """An exec probe cannot be asked for more often than once a second, wherever it stands (C09)."""
    often = {"exec": {"argv": ["/bin/true"]}, "period": 0.9}
    found = problems_of({**PLAIN, "probes": [{"role": "liveness", **often}], "dependencies": [{"name": "a", "probe": often}]})
    assert [problem.split(":")[0] for problem in found] == [AT + ".probes[0].period", AT + ".dependencies[0].probe.period"]


def test_two_agent_checks_cannot_share_a_port() -> None:
    """The second service that wants a port is told who has it."""
    taken = {**PLAIN, "fallback": {"agent_check": {"port": 9878}}}
    assert problems_of(taken, {**taken, "name": "api"}) == [
        "services[1].fallback.agent_check.port: the port '9878' is already taken by services[0].fallback.agent_check.port"
    ]


DOCUMENTS = [
    (None, "services: expected a list of contracts, found null"),
    ("x", "services: expected a list of contracts, found 'x'"),
    ({}, "services: is required"),
    ({"service": []}, "unknown key 'service'; did you mean services?"),
    ({"services": {}}, "services: expected a list of contracts, found an empty mapping"),
]


@pytest.mark.parametrize(("document", "expected"), DOCUMENTS)
def test_document_of_another_shape(document: object, expected: str) -> None:
    """Whatever is no list of contracts is refused: empty is not everything, and nothing is not empty."""
    with pytest.raises(ContractError) as refused:
        contract.parse_services(document, "contracts.json")
    assert str(refused.value.problems[0]) == expected
    assert str(refused.value).startswith("contracts.json: ")


def test_at_most_100_problems_are_told() -> None:
    """A thousand faults are counted, not recited."""
    found = problems_of({**copy.deepcopy(PLAIN), **{"key%d" % index: 1 for index in range(1000)}})
    assert len(found) == 101
    assert found[-1] == "and 900 more"


def test_no_secret_in_a_message() -> None:
    """What is refused in headers, environments and URLs with credentials is not repeated."""
    secret = "hunter2"
    found = problems_of(
        {**PLAIN, **with_http(url="http://u:%s@x/" % secret, headers={"Authorization": secret + "\n"})},
        {**PLAIN, **with_http(url="ftp://u:%s@x/" % secret), "name": "b"},
        {**PLAIN, **with_target(exec={"argv": ["/bin/x"], "environment": {"TOKEN": secret + "\0"}}), "name": "c"},
    )
    assert len(found) == 4
    assert not [problem for problem in found if secret in problem]


WATCHDOG = [
    ({"schema": 2}, "schema: expected 1, found 2: this version of selfheal reads no other"),
    ({"schema": None}, "schema: is required"),
    ({"host": ""}, "host: must not be empty"),
    ({"listen": 9877}, "listen: expected address and port such as 127.0.0.1:9877 or [::1]:9877, found 9877"),
    ({"listen": ":9877"}, "listen: expected address and port such as 127.0.0.1:9877 or [::1]:9877, found ':9877'"),
    ({"state_dir": "selfheal"}, "state_dir: expected an absolute path, found 'selfheal'"),
    ({"storm": {"percent": 0}}, "storm.percent: expected a number of percent from 1 to 100, found 0"),
    ({"retention": 5}, "retention: expected a whole number from 16777216 to 1125899906842624, found 5"),
    ({"mode_ceiling": "off"}, "mode_ceiling: expected observe, approve or auto, found 'off'"),
    (
        {"network_reference": {"unit": {"name": "a.service"}}},
        "network_reference: unknown key 'unit'; known here: http, tcp, exec, period, timeout",
    ),
    ({"statedir": "/x"}, "unknown key 'statedir'; did you mean state_dir?"),
]


@pytest.mark.parametrize(("changes", "expected"), WATCHDOG)
def test_watchdog_faults(changes: dict, expected: str) -> None:
    """A fault in watchdog.json is named by its key."""
    with pytest.raises(ContractError) as refused:
        contract.parse_watchdog({"schema": 1, "host": "web1", **changes})
    assert str(refused.value.problems[0]) == expected


TARGETS = [
    ({}, "targets: expected a list of targets, found an empty mapping"),
    ([{"tcp": {"host": "x", "port": 1}}], "targets[0].name: is required"),
    ([{"name": "a"}], "targets[0]: expected exactly one of http, tcp, exec, unit or process; found none"),
    ([{"name": "a", "process": {}}], "targets[0].process.pidfile: is required"),
    ([{"name": "a", "tcp": {"host": "x", "port": 1}}] * 2, "targets[1].name: the name 'a' is already taken by targets[0].name"),
    (
        [{"name": "a", "tcp": {"host": "x", "port": 1}, "timeout": -1}],
        "targets[0].timeout: expected a number of seconds from 0.05 to 3600, found -1",
    ),
]


@pytest.mark.parametrize(("data", "expected"), TARGETS)
def test_target_faults(data: object, expected: str) -> None:
    """health_probe's targets are refused by the same checks, with their own paths."""
    with pytest.raises(ContractError) as refused:
        contract.parse_targets(data)
    assert str(refused.value.problems[0]) == expected
