# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host, a run directory, and services that are gone after each test."""

from __future__ import annotations

import os
import sys
import uuid

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from actuator_helpers import boot_id, end_all

from selfheal._actuators.process import ProcessActuator
from selfheal._core.model import ProcessResource
from selfheal._probes.engine import LocalHost


@pytest.fixture
def host():
    with LocalHost() as made:
        yield made


@pytest.fixture
def mark():
    """A word that is in the command line of every process the test starts."""
    made = "selfheal-test-%s" % uuid.uuid4().hex
    yield made
    end_all(made)


@pytest.fixture
def make(tmp_path, mark):
    """An actuator of a shell script that is marked."""

    def made(script, argv=None, boot=None, log=True, **resource):
        command = tuple(argv) if argv is not None else ("/bin/sh", "-c", script, mark)
        log_dir = str(tmp_path / "log") if log else None
        contract = ProcessResource(command, **resource)
        return ProcessActuator("web", contract, str(tmp_path / "run"), boot or boot_id(), log_dir, in_unit=False)

    return made
