# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""haproxy-save-state.py SOCKET FILE: keep the states of HAProxy's servers where it reads them at its next start.

haproxy-save-state.py SOCKET: show them. Ends within two seconds; exit status 1, and FILE as it was, when HAProxy does not answer.
"""

import os
import socket
import sys
import time

WITHIN = 2.0
MOST = 8 << 20


def states(path):
    end = time.monotonic() + WITHIN
    text = b""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WITHIN)
        client.connect(path)
        client.sendall(b"show servers state\n")
        while len(text) <= MOST:
            client.settimeout(max(0.01, end - time.monotonic()))
            part = client.recv(65536)
            if not part:
                break
            text += part
    if not text.startswith(b"1\n#") or len(text) > MOST:
        raise OSError("it said %r" % text[:100])
    return text.strip(b"\n") + b"\n"


def main(argv):
    if len(argv) not in (2, 3):
        sys.stderr.write(__doc__)
        return 2
    try:
        text = states(argv[1])
        if len(argv) == 2:
            sys.stdout.write(text.decode("utf-8", "replace"))
            return 0
        temporary = "%s.%d" % (argv[2], os.getpid())
        try:
            with open(temporary, "xb") as target:
                os.fchmod(target.fileno(), 0o644)
                target.write(text)
                target.flush()
                os.fsync(target.fileno())
            os.rename(temporary, argv[2])
        except OSError:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
    except OSError as error:
        sys.stderr.write("the states of HAProxy's servers are not saved: %s: %s\n" % (argv[1], error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
