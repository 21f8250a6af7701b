# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet over SSH whose hosts fail together: some are healed, many are a storm, and a host that is away or hangs keeps nobody from it.

How long a sweep takes is measured by tests/bench/bench_fleet.py.
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any, Callable, Dict, Iterator, List

import lab
import pytest
from fleet import Fleet
from test_heal import ear, heard
from test_playbooks import events, serving

GIGABYTE = 1 << 30


def size() -> int:
    """Twenty hosts where there is room for them, eight elsewhere: a host takes some 40 MB, and Ansible's forks as much.

    SELFHEAL_LAB_FLEET says another number.
    """
    wanted = os.environ.get("SELFHEAL_LAB_FLEET", "")
    if wanted:
        return int(wanted)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    return 20 if memory > 8 * GIGABYTE and (os.cpu_count() or 1) >= 4 else 8


@pytest.fixture
def many() -> Iterator[None]:
    """The machine lets so many hosts run, and is as before afterwards."""
    lab.allow_many()
    yield
    lab.as_before()


def broken(hosts: List[lab.Host]) -> None:
    """Stop the services: a process that is gone, and that nothing starts again."""
    for host in hosts:
        host.sh("systemctl kill --signal=KILL web")


@pytest.mark.long(170)
def test_a_fleet_that_fails(many: None, fleet: Callable[..., Fleet], tmp_path: pathlib.Path) -> None:
    """A quarter fails: healed. Half fails: storm, no action, one page. One away, one hung: the others are healed, and both are named."""
    number = size()
    made = serving(
        fleet,
        *["debian12"] * number,
        selfheal_controller_dir=str(tmp_path / "controller"),
        selfheal_runbook_notify=ear(tmp_path / "heard"),
        selfheal_max_hosts=number,
        ansible_timeout=20,
    )
    names, hosts = list(made.hosts), list(made.hosts.values())
    quarter, half = hosts[: number // 4], hosts[: number // 2]
    options = ("--forks=%d" % min(number, 10),)

    broken(quarter)
    healed = made.ok("heal", *options, selfheal_names=["web"])
    for host in quarter:
        assert 1 == len(events(host, "recover")), healed.text[-4000:]
    assert not any(events(host, "failure", "start", "restart") for host in hosts[number // 4 :]), "who was well was left alone"
    assert not heard(tmp_path / "heard")

    broken(half)
    for _time in (1, 2):
        storm = made.play("heal", *options, selfheal_names=["web"])
        assert storm.code != 0 and "Storm: %d of %d hosts are not well" % (len(half), number) in " ".join(storm.text.split()), storm.text
    assert [("storm", "firing")] == [(each["reason"], each["status"]) for each in heard(tmp_path / "heard")]
    assert not any(len(events(host, "start", "restart")) > (1 if host in quarter else 0) for host in half), "nothing was done in a storm"
    made.ok("heal", *options, selfheal_names=["web"], selfheal_storm_percent=100)
    made.ok("heal", *options, selfheal_names=["web"])
    assert ["firing", "resolved"] == [each["status"] for each in heard(tmp_path / "heard")], "it is over, and was said once"

    away, hung, well = hosts[-1], hosts[-2], hosts[0]
    broken([well])
    away.sh("systemctl stop ssh.socket ssh; pkill -x sshd || true", expect=None)
    hung.sh("pkill -STOP -x sshd")
    # Connections that are still open from before would hang as well, a minute for each task that is tried over one.
    made.variables["ansible_control_path_dir"] = made.sockets + "/new"
    # Of eight hosts these three are more than a third.
    lost = made.play("heal", *options, selfheal_names=["web"], selfheal_storm_percent=50)
    text = " ".join(lost.text.split())
    assert lost.code != 0 and 3 <= len(events(well, "recover")), text[-4000:]
    for name in (names[-1], names[-2]):
        assert "%s web: unreachable" % name in text, text[-4000:]
    told = _recorded(tmp_path / "controller" / "timeline")
    assert sorted((event["host"], event["data"]["services"][0]["outcome"]) for event in told if event["type"] == "run_result") == sorted(
        (name, "unreachable") for name in names[-2:]
    )


def _recorded(timeline: pathlib.Path) -> List[Dict[str, Any]]:
    return [json.loads(line) for file in sorted(timeline.glob("0*.jsonl")) for line in file.read_text().splitlines()]
