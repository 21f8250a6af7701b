# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources from real repositories: pinned by commit, kept in a mirror, and nothing of a token seen."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from selfheal._actuators import git
from selfheal._core.deployment_request import Source

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
WHO = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t", "HOME": "/nonexistent"}


class Repository:
    """A repository with one file; `commit(text)` returns the commit's name."""

    def __init__(self, path):
        self.path = path
        self.run("init", "--quiet", "--initial-branch=main", str(path))

    def run(self, *argv):
        where = [] if argv[0] == "init" else ["-C", str(self.path)]
        done = subprocess.run(["git", *where, *argv], check=True, capture_output=True, text=True, env={**os.environ, **WHO})
        return done.stdout.strip()

    def commit(self, text):
        (self.path / "version").write_text(text)
        self.run("add", "version")
        self.run("commit", "--quiet", "-m", text)
        return self.run("rev-parse", "HEAD")


@pytest.fixture
def repository(place):
    return Repository(place / "repo")


def deploy(stage, identity, repository, ref="main", **options):
    request = {**stage.request(identity, "/x", **options), "source": {"git": {"repository": str(repository.path), "ref": ref}}}
    return stage.deployer().start(request)


def test_a_branch_is_pinned_to_its_commit(stage, repository):
    """The journal has the commit; nothing of .git is in the release."""
    commit = repository.commit("one")
    told = deploy(stage, "v1", repository)
    assert told.outcome == "changed" and stage.serves() == "one", told
    assert told.entry.source == {"kind": "git", "repository": str(repository.path), "ref": "main", "commit": commit}
    assert os.listdir(stage.project / "current") == ["version"]


def test_branches_tags_and_commits(stage, repository):
    """A ref is whatever git calls one; a commit that no branch ends in is found, too."""
    first = repository.commit("one")
    repository.run("tag", "-a", "v1.0", "-m", "x")
    repository.commit("two")
    deploy(stage, "a", repository, "v1.0")
    assert stage.serves() == "one"
    deploy(stage, "b", repository, "main")
    assert stage.serves() == "two"
    told = deploy(stage, "c", repository, first[:10])
    assert told.outcome == "changed" and stage.serves() == "one"


def test_built_again_without_the_repository(stage, repository):
    """What was deployed is in the mirror: a redeployment needs no network, and takes the same commit although the branch moved."""
    repository.commit("one")
    deploy(stage, "v1", repository)
    repository.commit("two")
    shutil.rmtree(repository.path)
    assert stage.deployer().redeploy().outcome == "changed"
    assert stage.current == "deployments/v1.r1" and stage.serves() == "one"


def test_a_repository_that_is_gone_is_a_source_that_is_missing(stage, repository):
    """It fails in pulling_source, naming what git said; what served goes on."""
    repository.commit("one")
    deploy(stage, "v1", repository)
    shutil.rmtree(repository.path)
    told = deploy(stage, "v2", repository)
    assert (told.outcome, told.reason) == ("failed", "source_missing") and "git, fetching main" in told.detail
    assert stage.serves() == "one"


def test_a_ref_that_is_not_there(stage, repository):
    """Check mode finds it before anything is begun."""
    repository.commit("one")
    from selfheal._engine.targets import Refused

    request = {**stage.request("v1", "/x"), "source": {"git": {"repository": str(repository.path), "ref": "nope"}}}
    with pytest.raises(Refused, match="has no nope"):
        stage.deployer(check=True).start(request)


def test_a_lock_that_a_killed_git_has_left(stage, repository):
    """The mirror is only a cache: it is made anew."""
    repository.commit("one")
    deploy(stage, "v1", repository)
    repository.commit("two")
    (mirror,) = stage.own("git").iterdir()
    (mirror / "shallow.lock").write_text("")
    told = deploy(stage, "v2", repository)
    assert told.outcome == "changed" and stage.serves() == "two", told


def test_the_same_id_after_the_branch_moved_is_another_deployment(stage, repository):
    """Unchanged means: the same commit."""
    from selfheal._engine.targets import Refused

    repository.commit("one")
    deploy(stage, "v1", repository)
    assert deploy(stage, "v1", repository).outcome == "unchanged"
    repository.commit("two")
    with pytest.raises(Refused, match="v1 was used before"):
        deploy(stage, "v1", repository)


def test_a_link_out_of_the_tree_is_refused(stage, repository):
    """A repository is not trusted more than an archive."""
    os.symlink("/etc/passwd", repository.path / "leak")
    repository.run("add", "leak")
    repository.commit("one")
    told = deploy(stage, "v1", repository)
    assert told.outcome == "failed" and "leak" in told.detail and stage.releases() == []


def test_a_token_reaches_git_by_its_environment_alone(place):
    """Neither argv nor anything that is recorded has it; and git asks nobody."""
    token = place / "token"
    token.write_text("s3cr3t\n")
    made = dict(git._environment(Source("git", repository="https://h/x", token_file=str(token))))
    assert made["GIT_TERMINAL_PROMPT"] == "0" and made["GIT_CONFIG_VALUE_0"].startswith("Authorization: Basic ")
    assert "s3cr3t" not in str(made) and made["GIT_CONFIG_VALUE_1"] == "false"
