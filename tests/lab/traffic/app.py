# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service behind a balancer: `app.py NAME PORT FOLDER`. Every answer takes 5 ms and says NAME; a POST is noted before it is answered.

FOLDER/posts has a line for each POST that was carried out, whether its answer arrived or not. FOLDER/bad: everything is answered with
500; FOLDER/sick: only /live is.
"""

import asyncio
import os
import sys

NAME, PORT, FOLDER = sys.argv[1], int(sys.argv[2]), sys.argv[3]
TAKES = 0.005
os.makedirs(FOLDER, exist_ok=True)
posts = os.open(os.path.join(FOLDER, "posts"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


class App(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.data = b""

    def data_received(self, data):
        self.data += data
        if b"\r\n\r\n" not in self.data:
            return
        request, _end, self.data = self.data.partition(b"\r\n\r\n")
        method, path = request.split(b" ", 2)[:2]
        if method == b"POST":
            os.write(posts, path.rpartition(b"=")[2] + b"\n")
        asyncio.get_running_loop().call_later(TAKES, self.answer, path == b"/live")

    def answer(self, live):
        bad = os.path.exists(os.path.join(FOLDER, "bad")) or (live and os.path.exists(os.path.join(FOLDER, "sick")))
        status = "500 Bad" if bad else "200 OK"
        text = "HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(NAME), NAME)
        if not self.transport.is_closing():
            self.transport.write(text.encode())
            self.transport.close()


async def main():
    server = await asyncio.get_running_loop().create_server(App, "0.0.0.0", PORT, backlog=1024)
    await server.serve_forever()


asyncio.run(main())
