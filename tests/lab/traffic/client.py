# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load that logs every request: `client.py HOST PORT COUNT STOP LOG`. A new connection each, every tenth a POST that is never repeated.

It goes on until it has made COUNT requests and the file STOP is there. LOG: when it began and ended (seconds since the epoch), method, id,
status (0: no answer) and who answered.
"""

import asyncio
import os
import sys
import time

HOST, PORT, COUNT, STOP, LOG = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
WORKERS = 24
PATIENCE = 10.0
LONGEST = 600.0
made = 0


async def ask(method, number):
    reader, writer = await asyncio.open_connection(HOST, PORT)
    try:
        line = "%s /?id=%d HTTP/1.1\r\nHost: lab\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % (method, number)
        writer.write(line.encode())
        data = await reader.read(-1)
    finally:
        writer.close()
    head, _end, body = data.partition(b"\r\n\r\n")
    status = int(head.split()[1]) if head.startswith(b"HTTP/") else 0
    return status, body.decode("ascii", "replace")[:20] if status == 200 else "-"


async def work(log, end):
    global made
    while time.monotonic() < end and (made < COUNT or not os.path.exists(STOP)):
        made += 1
        number = made
        method = "POST" if number % 10 == 0 else "GET"
        began = time.time()
        try:
            status, who = await asyncio.wait_for(ask(method, number), PATIENCE)
        except (OSError, asyncio.TimeoutError) as error:
            status, who = 0, type(error).__name__
        log.write("%.4f %.4f %s %d %d %s\n" % (began, time.time(), method, number, status, who or "-"))


async def main():
    end = time.monotonic() + LONGEST
    with open(LOG, "w") as log:
        await asyncio.gather(*(work(log, end) for _each in range(WORKERS)))


asyncio.run(main())
