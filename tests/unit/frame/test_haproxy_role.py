# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role failover_proxy: what it takes, the configuration it writes, and the script that saves the states of servers."""

from __future__ import annotations

import pathlib
import re
import stat
import subprocess
import sys
from typing import Any, Iterator

import jinja2
import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "failover_proxy"
SAVE = ROLE / "files" / "haproxy-save-state.py"
sys.path.insert(0, str(ROOT / "tests" / "unit"))

from haproxy_double import STATES, Double  # noqa: E402


def load(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROLE / name).read_text(encoding="utf-8")))


def rendered(services: list[dict[str, Any]], **changes: Any) -> list[str]:
    """The lines of the configuration, without blanks around them and without comments."""
    texts = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    texts.filters["bool"] = bool
    values: dict[str, Any] = {"ansible_managed": "a test"}
    for name, value in load("defaults/main.yml").items():
        plain = re.search(r"default\('(.*)'\)|default\((\d+)\)", value) if isinstance(value, str) else None
        values[name] = (plain.group(1) or plain.group(2)) if plain else value
    values.update({"failover_proxy_global": [], "failover_proxy_services": services, **changes})
    text = texts.from_string((ROLE / "templates" / "selfheal.cfg.j2").read_text(encoding="utf-8")).render(**values)
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


WEB = {"name": "web", "bind": ["*:80"], "check": "/ready", "servers": [{"name": "a", "address": "10.0.0.1:80", "agent_port": 9878}]}
RAW = {"name": "raw", "mode": "tcp", "bind": ["*:5432"], "servers": [{"name": "a", "address": "10.0.0.1:5432", "backup": True}]}


def test_the_role_specifies_exactly_what_has_a_default() -> None:
    """Nothing is taken that is not typed, nothing typed lacks a default, and the inventory's names are the role's."""
    options = load("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = load("defaults/main.yml")
    assert sorted(options) == sorted(defaults)
    for name, value in defaults.items():
        if name != "failover_proxy_state":
            assert value.startswith("{{ %s | default(" % name.replace("failover_proxy_", "selfheal_proxy_")), name


def test_the_table_in_the_readme_is_the_specification() -> None:
    """A reader of the README sees every variable with its type and its default, in the specification's order."""
    options = load("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    rows = re.findall(r"^\| `(failover_proxy_\w+)` \| (\w+) \| `(.*?)` \|", (ROLE / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    shown = []
    for name, option in options.items():
        value = str(load("defaults/main.yml")[name])
        value = re.sub(r"^\{\{ (\w+) \| default\((.*)\) \}\}$", r"\1, \2", value).replace("'", "")
        shown.append((name, option["type"], value))
    assert rows == shown


def test_what_was_measured_is_what_is_written() -> None:
    """C56 C60 retries at another server, no POST twice, states kept, weights that shares can be given of."""
    lines = rendered([WEB])
    for wanted in (
        "stats socket /run/haproxy/admin.sock mode 600 level admin expose-fd listeners",
        "server-state-file /var/lib/haproxy/server-state",
        "load-server-state-from-file global",
        "option redispatch 1",
        "retries 3",
        "retry-on all-retryable-errors",
        "http-request disable-l7-retry if METH_POST",
        "timeout server 5s",
        "timeout check 500ms",
        "default-server inter 1s fall 2 rise 2 weight 100",
        "http-check send meth GET uri /ready",
        "server a 10.0.0.1:80 check agent-check agent-port 9878 agent-inter 1s",
    ):
        assert wanted in lines, (wanted, lines)


def test_tcp_gets_nothing_that_only_http_has() -> None:
    """HAProxy warns of, or refuses, rules of HTTP where bytes are balanced."""
    lines = rendered([RAW])
    assert "server a 10.0.0.1:5432 check backup" in lines
    assert not [line for line in lines if line.startswith(("http-request", "retry-on", "option httpchk", "http-check"))]


def test_a_services_own_words_win() -> None:
    """Own timeouts and lines stand in the service's sections."""
    lines = rendered([{**WEB, "timeout_server": "1s", "check_host": "x.example", "backend_lines": ["balance leastconn"]}])
    backend = lines[lines.index("backend web from selfheal-failover") :]
    assert "timeout server 1s" in backend and "balance leastconn" in backend
    assert "http-check send meth GET uri /ready ver HTTP/1.1 hdr Host x.example" in backend


# -- the script ---------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(tmp_path: pathlib.Path) -> Iterator[Double]:
    made = Double(str(tmp_path / "admin.sock"))
    yield made
    made.close()


def save(*argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-I", str(SAVE), *argv], capture_output=True, text=True, timeout=20, check=False)


def test_states_are_saved_whole(proxy: Double, tmp_path: pathlib.Path) -> None:
    """Before each reload and stop: replaced in one step, readable for HAProxy whoever it runs as."""
    path = tmp_path / "states"
    path.write_text("of before")
    done = save(proxy.path, str(path))
    assert (0, "") == (done.returncode, done.stderr)
    assert path.read_text().startswith(STATES) and "3 web 1 a" in path.read_text()
    assert 0o644 == stat.S_IMODE(path.stat().st_mode)
    assert ["admin.sock", "states"] == sorted(each.name for each in tmp_path.iterdir())


@pytest.mark.parametrize("how", ["hangs", "mute", "garbage", "gone"])
def test_an_haproxy_that_does_not_answer_costs_two_seconds_and_no_state(proxy: Double, tmp_path: pathlib.Path, how: str) -> None:
    """C37 what was saved before is better than nothing, and a reload is not held up."""
    path = tmp_path / "states"
    path.write_text("of before")
    if how == "garbage":
        proxy.garbage = b"Permission denied\n"
    elif how != "gone":
        setattr(proxy, how, True)
    done = save(proxy.path if how != "gone" else str(tmp_path / "nosuch"), str(path))
    assert 1 == done.returncode and "not saved" in done.stderr
    assert "of before" == path.read_text()


def test_states_are_shown_without_a_file(proxy: Double) -> None:
    """How the role sees that HAProxy serves what was written."""
    done = save(proxy.path)
    assert 0 == done.returncode and done.stdout.startswith(STATES)
    assert 2 == save().returncode
