# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environment files are read as systemd reads EnvironmentFile=, and user accounts as initgroups does."""

from __future__ import annotations

import os
import pathlib
import pwd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal._core.reasons import Reason
from selfheal._environment import PATH, CannotStart, account_for, base_environment, parse_environment, read_environment_file


@pytest.mark.parametrize(
    "text, expected",
    [
        pytest.param("", {}, id="empty"),
        pytest.param("A=1\nB=2", {"A": "1", "B": "2"}, id="plain, no last line end"),
        pytest.param("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}, id="line ends of DOS"),
        pytest.param("# c=1\n; d=2\n  # e=3\nA=1", {"A": "1"}, id="comments"),
        pytest.param("# goes on \\\nA=1\nB=2", {"B": "2"}, id="a comment goes on over an escaped line end"),
        pytest.param("A=1 # not a comment", {"A": "1 # not a comment"}, id="no comment behind a value"),
        pytest.param("  A  =  1 2  \n", {"A": "1 2"}, id="blanks around"),
        pytest.param("A=\nB= \n", {"A": "", "B": ""}, id="empty values"),
        pytest.param("A='a b'\nB=\"c d\"", {"A": "a b", "B": "c d"}, id="quotes"),
        pytest.param("A=' x '\nB=\" y \"  ", {"A": " x ", "B": " y "}, id="blanks within quotes stay"),
        pytest.param("A='$X `y` \\n'", {"A": "$X `y` \\n"}, id="single quotes are literal"),
        pytest.param('A="\\$X \\`y\\` \\" \\\\ \\n"', {"A": '$X `y` " \\ \\n'}, id="escapes in double quotes"),
        pytest.param('A="one\ntwo"\nB=3', {"A": "one\ntwo", "B": "3"}, id="quotes over lines"),
        pytest.param("A='one\ntwo'\nB=3", {"A": "one\ntwo", "B": "3"}, id="single quotes over lines"),
        pytest.param("A=one\\\ntwo\nB=3", {"A": "onetwo", "B": "3"}, id="a line goes on"),
        pytest.param("A=a\\ b\\tc", {"A": "a btc"}, id="a backslash is taken off"),
        pytest.param("A=it's", {"A": "it's"}, id="a quote within a word is literal"),
        pytest.param("A=x=y==z", {"A": "x=y==z"}, id="equals signs in the value"),
        pytest.param("nonsense\nA=1\n=2\n1B=3\nC-D=4\nexport E=5", {"A": "1"}, id="what is no assignment is ignored"),
        pytest.param("A=1\nA=2", {"A": "2"}, id="the last one counts"),
        pytest.param("A=$HOME ${B} %h", {"A": "$HOME ${B} %h"}, id="nothing is expanded"),
        pytest.param("A=\u00fc", {"A": "\u00fc"}, id="utf-8"),
        pytest.param("A='open", {"A": "open"}, id="a quote that is never closed"),
        pytest.param("A=x\\", {"A": "x"}, id="a backslash at the very end"),
    ],
)
def test_the_format(text, expected):
    """A table of systemd.exec(5)'s EnvironmentFile= rules."""
    assert parse_environment(text) == expected


@given(st.text(alphabet="AB=\"'\\ \n\t#;$x", max_size=40))
def test_any_text_is_read_to_its_end(text):
    """No text makes the parser raise or hang, and names are always names."""
    assert set(parse_environment(text)) <= {name for name in parse_environment(text) if name.replace("_", "a").isalnum()}


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z_][A-Z0-9_]{0,5}", fullmatch=True),
        st.text(alphabet=st.characters(blacklist_characters="\0\r", blacklist_categories=("Cs",)), max_size=20),
        max_size=4,
    )
)
def test_whatever_is_quoted_comes_back(variables):
    """A value in double quotes, with its four special characters escaped, is read back as it was."""
    quoted = {name: "".join("\\" + char if char in '"\\`$' else char for char in value) for name, value in variables.items()}
    assert parse_environment("".join('%s="%s"\n' % pair for pair in quoted.items())) == variables


@pytest.mark.parametrize(
    "prepare, reason",
    [
        pytest.param(lambda path: None, Reason.NO_SUCH_PROGRAM, id="missing"),
        pytest.param(os.mkfifo, Reason.NO_PERMISSION, id="a FIFO is not waited for"),
        pytest.param(os.mkdir, Reason.NO_PERMISSION, id="a directory"),
        pytest.param(lambda path: pathlib.Path(path).write_bytes(b"A=\0"), Reason.NO_PERMISSION, id="a null byte"),
        pytest.param(lambda path: pathlib.Path(path).write_bytes(b"#" * (2 << 20)), Reason.NO_PERMISSION, id="too large"),
    ],
)
def test_files_that_are_refused(tmp_path, prepare, reason):
    """What cannot be an environment file is refused with its path, and never waited for."""
    path = str(tmp_path / "env")
    prepare(path)
    with pytest.raises(CannotStart) as refused:
        read_environment_file(path)
    assert refused.value.outcome.reason is reason
    assert path in refused.value.outcome.detail


def test_a_file_is_read(tmp_path):
    """Also through a link, as administrators link them."""
    (tmp_path / "env").write_bytes(b"A=1\nB=\xff\n")
    (tmp_path / "link").symlink_to(tmp_path / "env")
    assert read_environment_file(str(tmp_path / "link")) == {"A": "1", "B": "\udcff"}


def test_the_environment_is_clean(monkeypatch):
    """PATH and LANG, who the user is, and what was given; nothing else of ours."""
    monkeypatch.setenv("SECRET", "1")
    made = base_environment(None, {"GIVEN": "1", "LANG": "C"})
    ours = {key: value for key, value in made.items() if key not in ("HOME", "USER", "LOGNAME", "SHELL")}
    assert ours == {"PATH": PATH, "LANG": "C", "GIVEN": "1"}


def test_accounts():
    """No user means staying who we are; an unknown one, or another one without root, cannot be."""
    assert account_for(None) is None
    with pytest.raises(CannotStart, match="no user 'no-such-user-here'"):
        account_for("no-such-user-here")
    me = pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        assert account_for("nobody")[:2] == (nobody.pw_uid, nobody.pw_gid)
    else:
        assert account_for(me) is None
        with pytest.raises(CannotStart, match="only root"):
            account_for("root")
