# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-playbook, in a session of its own: what it has begun, it brings to its end.

ansible-runner gives a playbook a terminal of its own making. When ansible-rulebook ends, that terminal goes, and SIGHUP ends the playbook
in the middle of a heal. So the playbook is run beside it: its output goes to a file, which is shown here as it grows. Stands before the
real ansible-playbook in PATH.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile

LOOK = 0.1


def real():
    """The ansible-playbook that comes after this one in PATH."""
    here = os.path.dirname(os.path.abspath(__file__))
    others = [each for each in os.environ.get("PATH", os.defpath).split(os.pathsep) if os.path.abspath(each or ".") != here]
    found = shutil.which("ansible-playbook", path=os.pathsep.join(others))
    if found is None:
        raise SystemExit("selfheal: there is no ansible-playbook in PATH beside %s" % os.path.abspath(__file__))
    return found


def show(source):
    """What was written since. Whoever looked on may be gone, and that changes nothing."""
    text = source.read()
    if not text:
        return
    try:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def main():
    # Before the child is there, so that a terminal that goes just now ends neither.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with tempfile.NamedTemporaryFile(prefix="output-") as target, open(target.name, "rb") as source:
        child = subprocess.Popen(
            [real(), *sys.argv[1:]], stdin=subprocess.DEVNULL, stdout=target, stderr=subprocess.STDOUT, start_new_session=True
        )
        while True:
            try:
                code = child.wait(LOOK)
            except subprocess.TimeoutExpired:
                show(source)
                continue
            show(source)
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
