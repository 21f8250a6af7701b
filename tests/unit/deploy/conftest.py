# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stage for every test, on a file system in memory where there is one: what is tested is order and atomicity, not the disk."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from deploy_helpers import LocalHost, Stage


@pytest.fixture
def place():
    """A directory that only we may write to."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    made = tempfile.mkdtemp(prefix="selfheal-deploy-", dir=where)
    yield pathlib.Path(made)
    shutil.rmtree(made)


@pytest.fixture
def host():
    with LocalHost() as real:
        yield real


@pytest.fixture
def stage(place, host):
    return Stage(place, host)
