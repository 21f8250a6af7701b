# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for the pip bootstrap script that ansible-test downloads: pip from ensurepip, the wanted version from the ordinary index.

It is called as ``get_pip_25_2.py``; the wanted version is in its own name, or in its arguments.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys


def main() -> None:
    # Handed on by ansible-test for its own use, and read by pip as an option.
    environment = {name: value for name, value in os.environ.items() if name != "GET_PIP"}
    version = ".".join(re.findall(r"\d+", os.path.basename(__file__)))
    wanted = [argument for argument in sys.argv[1:] if not argument.startswith("-")] or ["pip==" + version]
    # In a child: within this process ensurepip turns pip's configuration off for good, and with it the site's certificates and index.
    subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"], env=environment, stdout=subprocess.DEVNULL)
    install = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-q", "--upgrade"]
    subprocess.check_call(install + wanted, env=environment)


main()
