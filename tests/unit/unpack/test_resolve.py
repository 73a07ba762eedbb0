"""Which commit a ref names: asked of a real server, answered as the kubelet keeps it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard_operator.unpack import KEYS_VARIABLE
from runyard_operator.unpack.resolve import RESOLVE_VARIABLE, answer
from tests.support.gitserver import GitServer, Repository, git, git_over_http


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "srv", "code")


@pytest.fixture
def server(repository: Repository) -> Iterator[GitServer]:
    with git_over_http(repository.folder.parent) as running:
        yield running


def asked(folder: Path, url: str, ref: str | None = None) -> tuple[int, str]:
    """Exit code and message for a ref."""
    question = json.dumps({"url": f"{url}/code.git", "ref": ref, "secret": None})
    return answer({RESOLVE_VARIABLE: question, KEYS_VARIABLE: str(folder)})


def test_refs_of_all_kinds(tmp_path: Path, repository: Repository, server: GitServer) -> None:
    """Branch, light and annotated tag, HEAD, a full name, and a commit, which needs no server."""
    first = repository.commit({"a": "1"})
    git(repository.folder, "tag", "light")
    git(repository.folder, "tag", "-a", "v1", "-m", "a release")
    git(repository.folder, "checkout", "-q", "-b", "team/feature")
    second = repository.commit({"a": "2"})
    git(repository.folder, "branch", "prefix/main")
    git(repository.folder, "checkout", "-q", "main")
    assert git(repository.folder, "rev-parse", "v1") != first
    for ref, commit in [
        (None, first), ("HEAD", first), ("main", first), ("light", first), ("v1", first),
        ("team/feature", second), ("refs/heads/team/feature", second), ("refs/tags/v1", first),
    ]:  # fmt: skip
        assert asked(tmp_path, server.url, ref) == (0, json.dumps({"commit": commit})), ref
    before = len(server.requests)
    assert asked(tmp_path, server.url, "f" * 40) == (0, json.dumps({"commit": "f" * 40}))
    assert len(server.requests) == before


def test_a_ref_that_is_not_there(tmp_path: Path, repository: Repository, server: GitServer) -> None:
    """What is like it is named; a short commit is told from a branch; an empty repository."""
    assert asked(tmp_path, server.url)[0] == 1
    assert "is empty" in asked(tmp_path, server.url)[1]
    assert "it has none at all" in asked(tmp_path, server.url, "main")[1]
    commit = repository.commit({"a": ""})
    git(repository.folder, "branch", "release-2024")
    code, message = asked(tmp_path, server.url, "relase-2024")
    assert code == 1
    assert "no branch or tag 'relase-2024'; it has release-2024" in message
    assert "give all 40 digits" in asked(tmp_path, server.url, commit[:10])[1]
    git(repository.folder, "branch", commit[:10])
    assert commit in asked(tmp_path, server.url, commit[:10])[1]


def test_a_name_that_means_two(tmp_path: Path, repository: Repository, server: GitServer) -> None:
    """A branch and a tag of one name are refused only where they differ."""
    repository.commit({"a": "1"})
    git(repository.folder, "tag", "main")
    assert asked(tmp_path, server.url, "main")[0] == 0
    repository.commit({"a": "2"})
    code, message = asked(tmp_path, server.url, "main")
    assert (code, "write one of refs/heads/main, refs/tags/main" in message) == (1, True)


def test_a_server_that_is_away_may_be_asked_again(tmp_path: Path, server: GitServer) -> None:
    """Exit code 75; a server that refuses is another case."""
    assert asked(tmp_path, "http://127.0.0.1:9", "main")[0] == 75
    server.password = "x"
    code, message = asked(tmp_path, server.url, "main")
    assert (code, "name a Secret" in message) == (1, True)


def test_the_program_writes_the_termination_message(
    tmp_path: Path, repository: Repository, server: GitServer
) -> None:
    """As a pod runs it."""
    commit = repository.commit({"a": ""})
    log = tmp_path / "termination-log"
    for ref, code in [("main", 0), ("none", 1)]:
        question = {"url": f"{server.url}/code.git", "ref": ref, "secret": None}
        done = subprocess.run(
            [sys.executable, "-m", "runyard_operator.unpack.resolve"],
            env={
                **os.environ,
                RESOLVE_VARIABLE: json.dumps(question),
                KEYS_VARIABLE: str(tmp_path),
                "RUNYARD_TERMINATION_LOG": str(log),
            },
            check=False,
        )
        assert done.returncode == code
        if code == 0:
            assert json.loads(log.read_text()) == {"commit": commit}
    assert "no branch or tag 'none'" in log.read_text()
