#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: health_probe
short_description: Probe any number of services at once, under deadlines that hold
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Probes URLs, ports, commands, systemd units and processes from the managed host, all in one task and all at the same time.
  - Each try has one total deadline. It holds against a peer that accepts and says nothing, and against one that sends
    a byte a second, which keeps most HTTP clients (also M(ansible.builtin.uri)) waiting far beyond their timeout.
  - The same engine probes for the watchdog, so a target that is healthy here is healthy there.
  - "Every target gets one of four statuses. V(healthy) and V(degraded): it answered as expected, V(degraded) if it took longer than
    three quarters of its timeout or 3 seconds, whichever is less. V(unhealthy): it did not. V(unknown): the probe could
    not be made, because there is no such program, no permission, no name lookup, or this host is out of descriptors."
  - Unknown is not failed. It says nothing about the target, so it does not fail the task, but it is counted and warned about.
    A task that must not go on with it can assert that RV(summary.unknown) is V(0).
  - Environment variables for proxies are ignored, since a proxy would be probed instead of the target.
options:
  targets:
    description:
      - What to probe. Each has a O(targets[].name) and exactly one of O(targets[].http), O(targets[].tcp), O(targets[].exec),
        O(targets[].unit) and O(targets[].process).
      - An empty list probes nothing.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: How the target is called in the result. Unique within the task.
        type: str
        required: true
      timeout:
        description: Seconds in total for each try of this target. The default is O(timeout).
        type: float
      http:
        description: One HTTP/1.1 request, over TLS if the URL says so. At most 64 KiB of headers are read.
        type: dict
        suboptions:
          url:
            description: An absolute URL with V(http) or V(https). Credentials belong into O(targets[].http.headers).
            type: str
            required: true
          method:
            description: The request's method.
            type: str
            choices: [GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS]
            default: GET
          headers:
            description:
              - Headers to send. C(Host) replaces the one made from the URL.
              - Values are shown nowhere, except those of headers that never hold a secret, such as C(Host) and C(Accept).
            type: dict
          body:
            description: What to send as the request's body, in UTF-8.
            type: str
          status:
            description: The status codes that are healthy, as codes and ranges such as V(204) and V(200-299).
            type: list
            elements: str
            default: ["200-299"]
          body_text:
            description: Text that the body must contain.
            type: str
          body_regex:
            description: A regular expression (Python) that must match somewhere in the body. It may take 0.25 seconds.
            type: str
          json:
            description:
              - Dotted paths into a JSON body and the values that must stand there.
              - A number is an index into a list, as in V(nodes.0.state).
              - Types count, V(true) is neither V(1) nor the text V("true").
            type: dict
          body_limit:
            description:
              - Bytes of the body that are read, at most 1048576. A longer body is no failure, but assertions see only this much of
                it, and a longer JSON body cannot be read.
            type: int
            default: 10240
          redirects:
            description:
              - How many redirects to follow on the same host name, at any port. One to another host counts by its own status.
            type: int
            default: 10
          tls_verify:
            description: Whether the certificate must be valid. When it expires is told in RV(results[].detail) either way.
            type: bool
            default: true
          tls_ca:
            description: A file or directory with CA certificates to trust instead of the system's.
            type: path
          tls_server_name:
            description: The name to ask for and to verify in TLS, instead of the URL's.
            type: str
      tcp:
        description: Something accepts connections. That is all it proves.
        type: dict
        suboptions:
          host:
            description: A name or an address.
            type: str
            required: true
          port:
            description: The port.
            type: int
            required: true
      exec:
        description: A command that ends with status 0. It and all it started are killed at the deadline.
        type: dict
        suboptions:
          argv:
            description: The program by its absolute path, and its arguments. No shell reads them.
            type: list
            elements: str
            required: true
          user:
            description: The user to run it as. The default is the one the task runs as.
            type: str
          cwd:
            description: The directory to run it in.
            type: path
          environment:
            description: Environment variables to set.
            type: dict
      unit:
        description: A systemd unit that is active. One that is still starting is V(unknown).
        type: dict
        suboptions:
          name:
            description: The unit's full name, such as V(web.service).
            type: str
            required: true
      process:
        description: The process a pidfile names, running, and not another one that got its number later.
        type: dict
        suboptions:
          pidfile:
            description: The file that holds the process's number.
            type: path
            required: true
  timeout:
    description: Seconds in total for each try, for targets without a timeout of their own.
    type: float
    default: 4
  retries:
    description:
      - Further tries before a target counts as V(unhealthy) or V(unknown). They follow 0.25 seconds after the last, and 1 second after it
        where a program is started (kinds C(exec) and C(unit)).
    type: int
    default: 0
  wait_for:
    description:
      - Keep probing for this many seconds until all targets are healthy or degraded. Each is asked until it is so once.
      - The task ends as soon as all are. A try that began in time is awaited, so the task can take one timeout longer.
    type: float
    default: 0
  concurrency:
    description: The most tries under way at the same time. Each takes one or two file descriptors.
    type: int
    default: 100
  fail_on_unhealthy:
    description:
      - Whether the task fails when a target is V(unhealthy). All results are returned all the same.
      - Targets that are V(unknown) or V(degraded) do not fail the task.
    type: bool
    default: true
attributes:
  check_mode:
    description: The module changes nothing. It probes in check mode as well.
    support: full
  diff_mode:
    description: There is nothing to show a difference of.
    support: none
  idempotent:
    description: It changes nothing. What it finds depends on the targets.
    support: full
seealso:
  - module: ansible.builtin.uri
  - module: ansible.builtin.wait_for
notes:
  - Requests are never sent through a proxy.
  - A command under O(targets[].exec) runs in check mode too, so give only commands that change nothing.
requirements:
  - Linux
  - python >= 3.9
"""

EXAMPLES = r"""
- name: Fail unless the service answers with 2xx within 4 seconds
  faultline.selfheal.health_probe:
    targets:
      - name: web
        http:
          url: http://127.0.0.1:8080/ready

- name: One of each kind, at the same time
  faultline.selfheal.health_probe:
    targets:
      - name: web
        http:
          url: http://127.0.0.1:8080/live
          status: ["200-299"]
      - name: db
        tcp:
          host: 127.0.0.1
          port: 5432
      - name: job
        exec:
          argv: [/usr/bin/test, -f, /run/job.ok]
      - name: ssh
        unit:
          name: ssh.service
      - name: legacy
        process:
          pidfile: /run/legacy.pid

- name: After a deployment wait up to two minutes for all instances, with a second for each try
  faultline.selfheal.health_probe:
    targets:
      - name: first
        http:
          url: http://127.0.0.1:8081/ready
      - name: second
        http:
          url: http://127.0.0.1:8082/ready
    timeout: 1
    wait_for: 120

- name: Ask a virtual host behind its own address, with a header that is shown nowhere
  faultline.selfheal.health_probe:
    targets:
      - name: api
        http:
          url: https://127.0.0.1:8443/health
          headers:
            Host: api.example.com
            Authorization: "Bearer {{ api_token }}"
          tls_server_name: api.example.com
          tls_ca: /etc/ssl/private-ca.pem

- name: Look into a JSON answer
  faultline.selfheal.health_probe:
    targets:
      - name: cluster
        http:
          url: http://127.0.0.1:9200/_cluster/health
          json:
            status: green
            nodes.0.ready: true

- name: Only look, and decide in the play
  faultline.selfheal.health_probe:
    targets:
      - name: primary
        http:
          url: http://10.0.0.1/ready
      - name: backup
        http:
          url: http://10.0.0.2/ready
    retries: 2
    fail_on_unhealthy: false
  register: fleet

- name: Go on only if nothing is unhealthy or unknown
  ansible.builtin.assert:
    that:
      - fleet.summary.unhealthy == 0
      - fleet.summary.unknown == 0

- name: Any number of URLs in one task
  faultline.selfheal.health_probe:
    targets: "{{ sites | dict2items(key_name='name', value_name='http') }}"
  vars:
    sites:
      web:
        url: http://127.0.0.1:8080/live
      shop:
        url: http://127.0.0.1:8090/live
"""

RETURN = r"""
results:
  description: One entry for each target, in the order of O(targets).
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The target's name.
      type: str
      sample: web
    kind:
      description: The kind of probe.
      type: str
      sample: http
    status:
      description: One of V(healthy), V(degraded), V(unhealthy) and V(unknown).
      type: str
      sample: unhealthy
    latency_ms:
      description: How long the last try took, in milliseconds.
      type: float
      sample: 1.234
    detail:
      description: What was asked and what came back, on one line, without secrets.
      type: str
      sample: "GET http://127.0.0.1:8080/ready: expected HTTP 200-299, got HTTP/1.1 503 Service Unavailable with \"starting\""
    reason:
      description:
        - Why it is not healthy, in one word from a fixed list, such as V(timeout), V(connection_refused), V(bad_status),
          V(tls_failed) or V(slow).
        - V(null) when it is healthy.
      type: str
      sample: bad_status
  sample:
    - name: web
      kind: http
      status: healthy
      latency_ms: 1.234
      detail: HTTP 200
      reason: null
summary:
  description: The whole in numbers.
  returned: always
  type: dict
  contains:
    healthy:
      description: How many targets are healthy.
      type: int
      sample: 98
    degraded:
      description: How many answered as expected, but slowly.
      type: int
      sample: 1
    unhealthy:
      description: How many are not healthy.
      type: int
      sample: 1
    unknown:
      description: How many could not be probed.
      type: int
      sample: 0
    latency_ms:
      description: Percentiles of RV(results[].latency_ms) of the targets that are healthy or degraded, V(null) if there are none.
      type: dict
      contains:
        p50:
          description: The median.
          type: float
          sample: 1.1
        p95:
          description: 95 of 100 were not slower.
          type: float
          sample: 3.2
        max:
          description: The slowest.
          type: float
          sample: 12.9
"""

from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core.errors import ContractError, Problem
from ..module_utils._core.redact import secret_key
from ..module_utils._core.targets import parse_targets
from ..module_utils._module import Report, given, listed, run
from ..module_utils._probes.engine import LocalHost
from ..module_utils._probes.http_request import HARMLESS, SHORTEST_SECRET
from ..module_utils._probes.sweep import Ask, Found, summarise, sweep

HTTP: Dict[str, Any] = {
    "url": {"type": "str", "required": True},
    "method": {"type": "str", "choices": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], "default": "GET"},
    "headers": {"type": "dict", "no_log": True},
    "body": {"type": "str", "no_log": True},
    "status": {"type": "list", "elements": "str", "default": ["200-299"]},
    "body_text": {"type": "str"},
    "body_regex": {"type": "str"},
    "json": {"type": "dict"},
    "body_limit": {"type": "int", "default": 10240},
    "redirects": {"type": "int", "default": 10},
    "tls_verify": {"type": "bool", "default": True},
    "tls_ca": {"type": "path"},
    "tls_server_name": {"type": "str"},
}
EXEC: Dict[str, Any] = {
    "argv": {"type": "list", "elements": "str", "required": True},
    "user": {"type": "str"},
    "cwd": {"type": "path"},
    "environment": {"type": "dict", "no_log": True},
}
KINDS: Dict[str, Any] = {
    "http": {"type": "dict", "options": HTTP},
    "tcp": {"type": "dict", "options": {"host": {"type": "str", "required": True}, "port": {"type": "int", "required": True}}},
    "exec": {"type": "dict", "options": EXEC},
    "unit": {"type": "dict", "options": {"name": {"type": "str", "required": True}}},
    "process": {"type": "dict", "options": {"pidfile": {"type": "path", "required": True}}},
}
SPEC: Dict[str, Any] = {
    "targets": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": dict(KINDS, name={"type": "str", "required": True}, timeout={"type": "float"}),
        "mutually_exclusive": [list(KINDS)],
        "required_one_of": [list(KINDS)],
    },
    "timeout": {"type": "float", "default": 4},
    "retries": {"type": "int", "default": 0},
    "wait_for": {"type": "float", "default": 0},
    "concurrency": {"type": "int", "default": 100},
    "fail_on_unhealthy": {"type": "bool", "default": True},
}
LIMITS = {"timeout": (0.05, 3600), "retries": (0, 1000), "wait_for": (0, 86400), "concurrency": (1, 10000)}


def check_numbers(params: Dict[str, Any]) -> None:
    """Refuse numbers that cannot be meant, naming all of them."""
    wrong = [
        Problem(name, "expected a number from %g to %g, found %g" % (low, high, params[name]))
        for name, (low, high) in LIMITS.items()
        if not low <= params[name] <= high
    ]
    if wrong:
        raise ContractError("options", wrong)


def unmask_harmless(module: Any, targets: List[Dict[str, Any]]) -> None:
    """Let values be seen again that are no secrets, such as that of Host: they would be starred out of every detail that says them."""
    harmless, secret = set(), set()
    for target in targets:
        for name, value in ((target.get("http") or {}).get("headers") or {}).items():
            (harmless if name.lower() in HARMLESS or len(str(value)) < SHORTEST_SECRET else secret).add(str(value))
        for name, value in ((target.get("exec") or {}).get("environment") or {}).items():
            (secret if secret_key(name) else harmless).add(str(value))
    module.no_log_values -= harmless - secret


def probe(module: Any) -> Report:
    params = module.params
    unmask_harmless(module, params["targets"])
    check_numbers(params)
    targets = [dict(target, **strings(target)) for target in given(params["targets"])]
    asks = [Ask(one.name, one.target, params["timeout"] if one.timeout is None else one.timeout) for one in parse_targets(targets)]
    with LocalHost() as host:
        found = sweep(host, asks, params["retries"], params["wait_for"], params["concurrency"])
    result = {"changed": False, "results": [one.as_result() for one in found], "summary": summarise(found)}
    return Report(result, failure_of(found) if params["fail_on_unhealthy"] else None, warnings_of(found))


def strings(target: Dict[str, Any]) -> Dict[str, Any]:
    """Values of headers and variables as text: YAML makes numbers of what looks like one."""
    texts = {}
    for kind, key in (("http", "headers"), ("exec", "environment")):
        if key in target.get(kind, {}):
            plain = {name: str(value) if type(value) in (int, float) else value for name, value in target[kind][key].items()}
            texts[kind] = dict(target[kind], **{key: plain})
    return texts


def failure_of(found: List[Found]) -> Any:
    unhealthy = [one for one in found if one.status == "unhealthy"]
    if not unhealthy:
        return None
    return "%d of %d targets are unhealthy: %s. The first: %s" % (
        len(unhealthy),
        len(found),
        listed([one.name for one in unhealthy]),
        unhealthy[0].detail,
    )


def warnings_of(found: List[Found]) -> List[str]:
    unknown = [one for one in found if one.status == "unknown"]
    if not unknown:
        return []
    return [
        "%d of %d targets could not be probed, which says nothing about them: %s. The first: %s"
        % (
            len(unknown),
            len(found),
            listed([one.name for one in unknown]),
            unknown[0].detail,
        )
    ]


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    run(module, probe)


if __name__ == "__main__":
    main()
