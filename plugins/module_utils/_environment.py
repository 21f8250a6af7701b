# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a child becomes, what environment it gets, and why it could not be started. Stands beside `_spawn` in the order of imports."""

from __future__ import annotations

import errno
import os
import re
import stat as modes
import time
from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

from ._core.reasons import Reason
from ._host import Outcome

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT_FILE_LIMIT = 1 << 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Account(NamedTuple):
    """Whom a child becomes. `groups` are all the user's groups, as initgroups(3) would set them."""

    uid: int
    gid: int
    groups: Tuple[int, ...]
    name: str
    home: str
    shell: str


class CannotStart(Exception):
    """A child could not be started; `outcome` says why, with status unknown."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.outcome = Outcome("unknown", reason, detail[:500])


def explain(argv: Tuple[str, ...], cwd: Optional[str], report: str) -> Outcome:
    """The outcome for what a child reported through its error pipe: ``stage errno text``."""
    stage, number_text, text = (report.split(" ", 2) + ["", ""])[:3]
    number = int(number_text or 0)
    why = os.strerror(number) if number else text
    if stage == "cwd":
        return Outcome("unknown", Reason.NO_PERMISSION, ("cannot enter the working directory %s for %s: %s" % (cwd, argv[0], why))[:500])
    if stage == "user":
        return Outcome("unknown", Reason.NO_PERMISSION, ("cannot change the user for %s: %s" % (argv[0], why))[:500])
    if stage == "record":
        detail = "%s was not started, as it cannot be put on record: %s" % (argv[0], text)
        return Outcome("unknown", Reason.RECORDS_UNWRITABLE, detail[:500])
    if stage != "exec":
        return Outcome("unknown", Reason.RESOURCE_LIMIT, ("cannot start %s: %s" % (argv[0], text))[:500])
    if number == errno.ENOENT and "/" in argv[0] and os.path.lexists(argv[0]):
        return Outcome("unknown", Reason.NO_SUCH_PROGRAM, ("%s exists but its interpreter or loader is missing" % argv[0])[:500])
    return Outcome("unknown", reason_for(number), ("cannot run %s: %s" % (argv[0], why))[:500])


def reason_for(number: int) -> Reason:
    """Why a start failed, by its errno."""
    if number in (errno.EACCES, errno.EPERM):
        return Reason.NO_PERMISSION
    if number in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.E2BIG, errno.ETXTBSY):
        return Reason.RESOURCE_LIMIT
    return Reason.NO_SUCH_PROGRAM


_accounts: Dict[str, Tuple[float, Account]] = {}


def find_account(user: str) -> Account:
    """Who `user` is on this host. Raises CannotStart. Answers are kept for a minute, as they may come from LDAP."""
    import pwd

    known = _accounts.get(user)
    if known is None or time.monotonic() - known[0] > 60:
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            raise CannotStart(Reason.NO_PERMISSION, "there is no user %r on this host; create it or correct the contract" % user) from None
        groups = tuple(os.getgrouplist(user, entry.pw_gid))
        known = (time.monotonic(), Account(entry.pw_uid, entry.pw_gid, groups, user, entry.pw_dir, entry.pw_shell))
        _accounts[user] = known
    return known[1]


def account_for(user: Optional[str]) -> Optional[Account]:
    """Whom to become for `user`; None when we are that user already, or it is None. Raises CannotStart."""
    if user is None:
        return None
    account = find_account(user)
    if os.geteuid() == 0:
        return account
    if account.uid == os.geteuid():
        return None
    raise CannotStart(Reason.NO_PERMISSION, "cannot become user %r: only root may run programs as somebody else" % user)


def base_environment(account: Optional[Account], given: Mapping[str, str]) -> Dict[str, str]:
    """A clean environment: PATH and LANG, who the user is, and what was given."""
    made = {"PATH": PATH, "LANG": "C.UTF-8"}
    if account is not None:
        made.update(HOME=account.home, USER=account.name, LOGNAME=account.name, SHELL=account.shell)
    else:
        made.update((key, os.environ[key]) for key in ("HOME", "USER", "LOGNAME", "SHELL") if key in os.environ)
    made.update(given)
    return made


def read_environment_file(path: str) -> Dict[str, str]:
    """The variables of a file in the format of systemd's EnvironmentFile=. Raises CannotStart. Never waits on a FIFO."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        raise CannotStart(Reason.NO_SUCH_PROGRAM, "environment_file %s does not exist; create it or correct the contract" % path) from None
    except OSError as error:
        raise CannotStart(Reason.NO_PERMISSION, "cannot read environment_file %s: %s" % (path, error.strerror)) from error
    try:
        found = os.fstat(descriptor)
        if not modes.S_ISREG(found.st_mode) or found.st_size > ENVIRONMENT_FILE_LIMIT:
            raise CannotStart(Reason.NO_PERMISSION, "environment_file %s is no regular file of at most 1 MiB" % path)
        data = b"".join(iter(lambda: os.read(descriptor, 65536), b""))
    finally:
        os.close(descriptor)
    if b"\0" in data:
        raise CannotStart(Reason.NO_PERMISSION, "environment_file %s holds a null byte; expected lines NAME=value" % path)
    return parse_environment(data.decode("utf-8", "surrogateescape"))


def parse_environment(text: str) -> Dict[str, str]:
    """Read the format of systemd's EnvironmentFile= (systemd.exec(5)).

    ``NAME=value`` lines; ``#`` and ``;`` comments; single and double quotes, also over several lines; backslash escapes, and at the
    end of a line it continues that. Nothing is expanded. Lines that are no assignment are ignored, as there.
    """
    found: Dict[str, str] = {}
    position = 0
    while position < len(text):
        while position < len(text) and text[position] in " \t\r\n":
            position += 1
        if text[position : position + 1] in ("#", ";"):
            position = _line_end(text, position)
            continue
        end, equals = _line_end(text, position, continued=False), text.find("=", position)
        if equals < 0 or equals > end:
            position = end + 1
            continue
        name = text[position:equals].strip()
        value, position = _value(text, equals + 1)
        if _NAME.match(name):
            found[name] = value
    return found


def _line_end(text: str, position: int, continued: bool = True) -> int:
    """Where the line ends; a comment goes on over an escaped line end, too."""
    while position < len(text) and text[position] != "\n":
        position += 2 if continued and text[position] == "\\" else 1
    return position


def _value(text: str, position: int) -> Tuple[str, int]:
    """The value from `position` on, and where the next line begins. Blanks around it go, those within quotes stay."""
    made: List[str] = []
    kept = 0
    while position < len(text) and text[position] in " \t":
        position += 1
    while position < len(text) and text[position] not in "\n\r":
        char = text[position]
        if char == "'" and not made:
            end = text.find("'", position + 1)
            end = len(text) if end < 0 else end
            made.extend(text[position + 1 : end])
            position, kept = end + 1, len(made)
        elif char == '"' and not made:
            position = _double_quoted(text, position + 1, made)
            kept = len(made)
        elif char == "\\":
            if text[position + 1 : position + 2] not in ("\n", ""):
                made.append(text[position + 1])
                kept = len(made)
            position += 2
        else:
            made.append(char)
            kept = kept if char in " \t" else len(made)
            position += 1
    return "".join(made[:kept]), position + 1


def _double_quoted(text: str, position: int, made: List[str]) -> int:
    """Within double quotes a backslash escapes only ``"``, ``\\``, `````, ``$`` and a line end."""
    while position < len(text) and text[position] != '"':
        following = text[position + 1 : position + 2]
        if text[position] == "\\" and following and following in '"\\`$\n':
            if following != "\n":
                made.append(following)
            position += 2
        else:
            made.append(text[position])
            position += 1
    return position + 1


__all__ = [
    "Account",
    "CannotStart",
    "ENVIRONMENT_FILE_LIMIT",
    "PATH",
    "account_for",
    "base_environment",
    "explain",
    "find_account",
    "parse_environment",
    "read_environment_file",
    "reason_for",
]
