# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fresh real hosts for every test, with the watchdog and services to break. Skipped, with the reason, where there can be none.

Run by `tests/tools/lab.sh test [tests/lab/test_x.py] [-k WORDS]`, many tests at once. What a test can ask for:

bed           a fresh host of each Debian (the test runs once on each) with the watchdog's unit, not yet started: see `bed.Bed`
distribution  runs the test once for each Debian, where it makes its hosts itself
new_bed       a function: `new_bed("debian12", docker=True, packages=("haproxy",))` makes a host. docker: with an engine of its own inside;
              packages: more of the distribution's, none of them running, in an image that is made once
docked        a fresh host with a container engine: Docker of each Debian, or with `@pytest.mark.over("debian12", "podman")` on these
healing       container_heal as a task on that host: see `dock.Healing`
busybox       the path of a tar that an engine imports as an image
fleet         a function: `fleet("debian12", "debian13")` makes plain hosts that Ansible reaches over SSH: see `fleet.Fleet`
measured      a function that takes a line of figures, shown at the end of the run
pyz, engine   the zip application's path on this machine; Docker Engine

All hosts are removed after the test; nothing is shared between tests. `@pytest.mark.long(SECONDS)` on a test of more than 40 s lets it
begin early. `from bed import until` waits for something real, for a bounded time.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import shutil
import sys
import tempfile
from typing import Any, Callable, Iterator, List, Tuple

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COLLECTION = pathlib.Path(os.environ.get("SELFHEAL_COLLECTION_ROOT") or ROOT)
sys.path.insert(0, str(HERE))

import engine as docker  # noqa: E402
import lab  # noqa: E402
from bed import Bed  # noqa: E402
from dock import DockBed, Healing, busybox_tar, made_bed  # noqa: E402
from fleet import Fleet  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long(seconds): takes so long, so it begins early")
    config.addinivalue_line("markers", "over(*kinds): the container engines of `docked`, of debian12, debian13 (Docker) and podman")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "docked" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("over")
        metafunc.parametrize("docked", mark.args if mark is not None else sorted(lab.SUITES), indirect=True)


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    """The longest first. Between two of them stands a short one, as a worker is given two tests to begin with."""

    def takes(item: pytest.Item) -> float:
        mark = item.get_closest_marker("long")
        return float(mark.args[0]) if mark is not None else 0.0

    longest = sorted((item for item in items if takes(item)), key=takes, reverse=True)
    short = [item for item in items if not takes(item)]
    items[:] = [item for pair in zip(longest, short) for item in pair] + longest[len(short) :] + short[len(longest) :]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was measured, in the order of its words."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    lines = sorted({value for report in reports for name, value in report.user_properties if name == "measured"})
    if lines:
        terminalreporter.section("measured (beside other tests on this machine)")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def measured(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes a line for the list of figures at the end of the run."""
    spec = getattr(request.node, "callspec", None)
    where = str(spec.params.get("distribution") or spec.params.get("docked", "")) if spec is not None else ""
    return lambda text: record_property("measured", "%s: %s" % (where or request.node.name, text))


@pytest.fixture(scope="session")
def engine() -> Iterator[None]:
    """Docker Engine; started where none runs, and then stopped again."""
    try:
        started = docker.start_engine()
    except docker.Impossible as reason:
        pytest.skip("the lab cannot be had on this machine: %s" % reason)
    try:
        lab.sweep()
        yield
    finally:
        if started:
            docker.stop_engine()


@pytest.fixture(scope="session")
def pyz() -> Iterator[str]:
    """The zip application, built as the action plugin builds it."""
    spec = importlib.util.spec_from_file_location("archive", COLLECTION / "plugins" / "plugin_utils" / "_archive.py")
    assert spec is not None and spec.loader is not None
    archive = importlib.util.module_from_spec(spec)
    sys.modules["archive"] = archive
    spec.loader.exec_module(archive)
    folder = tempfile.mkdtemp(prefix="selfheal-pyz-")
    yield archive.build(folder, str(COLLECTION)).path
    shutil.rmtree(folder)


@pytest.fixture(params=sorted(lab.SUITES))
def distribution(request: pytest.FixtureRequest) -> str:
    """Each Debian."""
    return str(request.param)


@pytest.fixture
def new_bed(engine: None, pyz: str) -> Iterator[Callable[..., Bed]]:
    """Makes hosts with the watchdog's unit."""
    made: List[lab.Host] = []

    def make(distribution: str, docker: bool = False, packages: Tuple[str, ...] = (), volumes: Tuple[str, ...] = ()) -> Bed:
        host = lab.start_host(distribution, docker=docker, packages=packages, volumes=volumes)
        made.append(host)
        return Bed.on(host, pyz)

    yield make
    for host in made:
        host.remove()


@pytest.fixture
def bed(new_bed: Callable[..., Bed], distribution: str) -> Bed:
    """A fresh host of each Debian."""
    return new_bed(distribution)


@pytest.fixture
def fleet(engine: None, tmp_path: pathlib.Path) -> Iterator[Callable[..., Fleet]]:
    """Makes hosts that Ansible reaches over SSH."""
    made: List[Fleet] = []

    def make(*distributions: str) -> Fleet:
        fleet = Fleet(tmp_path / ("fleet%d" % len(made)))
        made.append(fleet)
        fleet.start(distributions)
        return fleet

    yield make
    for each in made:
        each.remove()


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tar of a root with one static program."""
    try:
        return busybox_tar(tmp_path_factory.mktemp("busybox"))
    except FileNotFoundError as reason:
        pytest.skip(str(reason))


@pytest.fixture
def docked(request: pytest.FixtureRequest, new_bed: Callable[..., Bed], busybox: str) -> DockBed:
    """A fresh host with a container engine inside."""
    return made_bed(new_bed, request.param, busybox)


@pytest.fixture
def healing(docked: DockBed, fleet: Callable[..., Fleet]) -> Healing:
    """container_heal, by Ansible, on that host."""
    return Healing(fleet(), docked)
