# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP service to be killed and hung: /live and /ready answer 200, everything else 404. Usage: service.py PORT

It imports little, so that it starts quickly: what a drill measures should be the healing.
"""

import socket
import sys
import threading

ANSWER = b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
PATIENCE = 5.0
LONGEST = 8192


def serve(connection):
    """Answer one request; a client that is gone, slow or talks nonsense costs only its own thread."""
    with connection:
        connection.settimeout(PATIENCE)
        head = b""
        try:
            while b"\r\n\r\n" not in head and len(head) < LONGEST:
                part = connection.recv(LONGEST)
                if not part:
                    return
                head += part
            words = head.split(b" ", 2)
            known = len(words) == 3 and words[0] in (b"GET", b"HEAD") and words[1].split(b"?")[0] in (b"/live", b"/ready")
            status, body = (b"200 OK", b"ok\n") if known else (b"404 Not Found", b"not found\n")
            connection.sendall(ANSWER % (status, len(body), b"" if words[0] == b"HEAD" else body))
        except OSError as error:
            sys.stderr.write("a client went away: %s\n" % error)


def main():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(sys.argv[1])))
    listener.listen(128)
    while True:
        connection = listener.accept()[0]
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
