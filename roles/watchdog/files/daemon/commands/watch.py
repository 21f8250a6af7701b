# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``selfheal watch``: the daemon, in the foreground. systemd runs it so, and so does a person who wants to see it work."""

from __future__ import annotations

import argparse

from .. import exits
from ..config import Etc


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.epilog = (
        "Runs until SIGTERM or Ctrl-C; the services go on. SIGHUP takes new contracts into force. Only one watchdog runs on a run_dir.\n"
        "Exit status 2 when the configuration or the contracts are broken, 4 when it cannot run (another one does, or its port is taken)."
    )


def run(args: argparse.Namespace) -> int:
    from ..loop import Watchdog

    Watchdog(Etc(args.etc)).run()
    return exits.FINE


__all__ = ["configure", "run"]
