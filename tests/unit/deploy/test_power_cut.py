# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A power cut after any fsync of a deployment, with the loss of everything that was not fsynced by then."""

from __future__ import annotations

import os
import pathlib
import pickle
import shutil
import tempfile

import pytest
from deploy_helpers import LocalHost
from killing import ILL, Theatre
from power import cut, everything, recording


@pytest.mark.parametrize("health", [None, ILL], ids=["deploy", "ill"])
def test_power_is_cut_after_any_fsync(health):
    """What was not fsynced is gone; the next who comes still ends in the old good release or the new proven one."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    place = pathlib.Path(tempfile.mkdtemp(prefix="selfheal-power-", dir=where))
    log = pathlib.Path(tempfile.mkdtemp(dir=where)) / "log"
    try:
        theatre = Theatre(place)
        theatre.reset()
        (place / "etc").mkdir()
        options = {} if health is None else {"health": health}
        before = everything(place)
        pid = theatre.child(lambda stage: theatre.deploy(stage, **options), lambda: recording(str(log)))
        assert os.waitpid(pid, 0)[1] == 0
        records = pickle.loads(log.read_bytes())
        assert len(records) > 20
        for number in range(0, len(records) + 1, 1 if os.environ.get("SELFHEAL_DEEP") else 3):
            cut(str(place), before, records[:number])
            from selfheal._records import files

            files._swept.clear()
            theatre.holds_at_any_time()
            with LocalHost() as host:
                stage = theatre.stage(host)
                stage.resume()
                assert theatre.holds_at_rest(stage) in ("v1", "v2"), number
    finally:
        shutil.rmtree(place)
        shutil.rmtree(log.parent)
