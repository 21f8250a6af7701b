# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A runtime socket with backend `web`, servers a and b, that answers as HAProxy 2.6 does. `haproxy.py SOCKET`; `test-only quit` ends it."""

import os
import socket
import sys

COLUMNS = "# pxname,svname,scur,status,weight,bck,"
servers = {"a": ["UP", 100, 0], "b": ["UP", 100, 0]}


def answer(command):
    words = command.split()
    if command == "show servers state":
        return "1\n# be_id be_name srv_id srv_name\n" + "".join("3 web 1 %s\n" % name for name in servers) + "\n"
    if words[:2] == ["show", "stat"]:
        if words[2] != "web":
            return "No such proxy.\n\n"
        rows = ["web,%s,%d,%s,%d,%d,\n" % (name, one[2], one[0], one[1], name == "b") for name, one in servers.items()]
        return COLUMNS + "\n" + "".join(rows) + "\n"
    if words[:2] == ["set", "server"]:
        name = words[2].partition("/")[2]
        if name not in servers:
            return "No such server.\n\n"
        if words[3] == "weight":
            servers[name][1] = int(words[4].rstrip("%"))
        else:
            servers[name][0] = {"maint": "MAINT", "drain": "DRAIN", "ready": "UP"}[words[4]]
        return "\n"
    if words[0] == "test-only":
        servers[words[1]] = [words[2], 100, int(words[3])]
        return "\n"
    return "Unknown command.\n\n"


path = sys.argv[1]
if os.path.exists(path):
    os.unlink(path)
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(16)
if os.fork():
    os._exit(0)
os.setsid()
quiet = os.open(os.devnull, os.O_RDWR)
for number in (0, 1, 2):
    os.dup2(quiet, number)
while True:
    client = listener.accept()[0]
    with client:
        line = client.makefile().readline().strip()
        if line == "test-only quit":
            break
        client.sendall(answer(line).encode())
