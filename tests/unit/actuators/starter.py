# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A healer that does one thing and can be killed while doing it: ``starter.py start|restart RUN_DIR MARK``. Not a test itself."""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.dirname(os.path.dirname(__file__)))

import conftest  # makes `selfheal` importable
from actuator_helpers import drive

from selfheal._actuators.process import ProcessActuator
from selfheal._core.model import ProcessResource
from selfheal._probes.engine import LocalHost
from selfheal._records.files import boot_id


def main() -> None:
    if not conftest.ROOT.is_dir():
        raise SystemExit("there is no library at %s" % conftest.ROOT)
    verb, run_dir, mark = sys.argv[1:]
    resource = ProcessResource((sys.executable, "-S", "-c", "import time; time.sleep(60)", mark), stop_timeout=2.0)
    with LocalHost() as host:
        actuator = ProcessActuator("web", resource, run_dir, boot_id(), in_unit=False)
        print("ready", flush=True)
        sys.stdin.readline()
        print(drive(host, getattr(actuator, verb)()).status, flush=True)


if __name__ == "__main__":
    main()
