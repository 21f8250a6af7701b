# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one playbook by ansible-runner, as AWX does; a process of its own, so that its signals and terminals are nobody else's.

Reads ``{"private": directory, "playbook": str, "end": file}`` from standard input. Writes a line of JSON for each event, ``{"event",
"task", "host", "result"}``, and at the end ``{"status", "rc", "stats"}``. The file `end` says when it is to end: while it is not there the
job goes on; with `cancel` in it the job is cancelled, with `timeout` its time is over at that moment.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Dict

import ansible_runner.interface


def main() -> None:
    said = json.load(sys.stdin)

    def seen(event: Dict[str, Any]) -> bool:
        data = event.get("event_data", {})
        told = {"event": event["event"], **{key: data.get(key) for key in ("task", "host")}, "result": data.get("res")}
        print(json.dumps(told), flush=True)
        return True

    def ends() -> bool:
        if not os.path.exists(said["end"]):
            return False
        with open(said["end"], encoding="utf-8") as file:
            how = file.read()
        if how == "timeout":
            job.config.job_timeout = 0.001
        return how == "cancel"

    job = ansible_runner.interface.init_runner(
        private_data_dir=said["private"],
        playbook=said["playbook"],
        event_handler=seen,
        cancel_callback=ends,
        settings={"pexpect_timeout": 0.1},
        quiet=True,
    )
    job.run()
    print(json.dumps({"status": job.status, "rc": job.rc, "stats": job.stats}), flush=True)


if __name__ == "__main__":
    main()
