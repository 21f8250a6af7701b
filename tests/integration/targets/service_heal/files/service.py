# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers 200, or 500 while the file `bad` is in its folder. Notes each of its starts with its pid."""

import http.server
import os
import sys

folder, port = sys.argv[1], int(sys.argv[2])
with open(os.path.join(folder, "starts"), "a") as starts:
    starts.write("%d\n" % os.getpid())


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if os.path.exists(os.path.join(folder, "bad")) else 200)
        self.end_headers()

    def log_message(self, *words):
        return


http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever()
