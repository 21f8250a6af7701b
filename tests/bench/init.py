# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a command as an init would have it run: whatever it leaves behind is reaped at once.

    python init.py COMMAND...

Monit's services are nobody's children, and in some containers process 1 takes its time; a zombie is no dead process to Monit.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import List

PR_SET_CHILD_SUBREAPER = 36


def main(argv: List[str]) -> int:
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot become the one who reaps")
    first = os.spawnv(os.P_NOWAIT, argv[0], argv)
    while True:
        pid, status = os.wait()
        if pid == first:
            return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
