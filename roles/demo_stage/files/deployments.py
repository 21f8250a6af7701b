# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demonstration does to deployments, beside deploying.

deployments.py sources DIRECTORY JSON      write the sources of releases, ``[{"version": "v1"}, ...]``, below DIRECTORY/sources
deployments.py cut JOURNAL PHASE           kill the process that deploys, as soon as it is in the middle of that phase

Prints one JSON object. Exit status 1, with a sentence on stderr, when something cannot be done.
"""

import json
import os
import shutil
import signal
import sys
import time

CUT_WITHIN = 30.0


def sources(directory, releases):
    """A program, and what it is."""
    for about in json.loads(releases):
        folder = os.path.join(directory, "sources", about["version"])
        os.mkdir(folder, 0o700)
        shutil.copyfile(os.path.join(directory, "bin", "release.py"), os.path.join(folder, "release.py"))
        with open(os.path.join(folder, "release.json"), "w", encoding="utf-8") as file:
            json.dump(about, file)
    return {"releases": len(json.loads(releases))}


def cut(journal, phase):
    """Kill whoever deploys: no handler of its own runs, nothing is tidied up."""
    until = time.monotonic() + CUT_WITHIN
    while time.monotonic() < until:
        entry = read(journal)
        if entry.get("phase") == phase and entry["phases"][-1]["ended"] is None:
            pid = entry["owner"]["pid"]
            os.kill(pid, signal.SIGKILL)
            return {"pid": pid, "phase": phase}
        time.sleep(0.02)
    raise OSError("%s did not reach %s within %g s" % (journal, phase, CUT_WITHIN))


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def main():
    verb, one, other = sys.argv[1:]
    try:
        print(json.dumps({"sources": sources, "cut": cut}[verb](one, other)))
    except OSError as error:
        sys.stderr.write("deployments: %s\n" % error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
