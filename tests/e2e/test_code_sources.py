"""Code of every source, and packages, in real pods: served by this machine, checked in the pod."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard_operator.bundles.digest import content_digest
from testbed.layout import HOST_ADDRESS
from tests.support.experiments import EXPERIMENT, UNIT, experiment, finished, job, phase
from tests.support.gitserver import GitServer, Repository, git, git_over_http, git_over_ssh
from tests.support.httpserver import Answer, Request, serving
from tests.support.kubectl import Kubectl
from tests.support.operator import OperatorProcess
from tests.support.pyindex import Index, package_index, wheel
from tests.support.waiting import eventually
from tests.unit.unpack.archives import digest, entry, tar

pytestmark = pytest.mark.e2e

ARCHIVE = gzip.compress(tar([entry("pkg/mod.py", b"WORD = 'archive'\n")]), mtime=0)
PASSWORD = "a-Token/with:signs"


def secret(name: str, **keys: str) -> dict[str, Any]:
    """A Secret."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": keys,
    }


def claim(name: str) -> dict[str, Any]:
    """A claim on the default class."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "100Mi"}},
        },
    }


def succeeded(kube: Kubectl, name: str) -> dict[str, Any]:
    """The experiment, which must succeed; else what its units say is shown."""
    done = finished(kube, name)
    if phase(done) != "Succeeded":
        attempts = [each["status"].get("attempts", []) for each in kube.list(UNIT)]
        raise AssertionError(f"{name} is {phase(done)}:\n{json.dumps(attempts, indent=1)}")
    return done


def failure(kube: Kubectl, unit: str) -> tuple[str, str]:
    """Reason and message of a unit that failed."""
    found = kube.get(UNIT, unit)
    assert found is not None
    assert phase(found) == "Failed", found["status"]
    return found["status"]["reason"], found["status"]["message"]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """50 MB that cannot be compressed, a submodule, and an older commit."""
    inner = Repository.create(tmp_path / "srv", "inner")
    inner.commit({"deep.txt": "deep"})
    found = Repository.create(tmp_path / "srv", "code")
    found.commit({"recipes/pkg/mod.py": "WORD = 'old'\n"})
    git(found.folder, "submodule", "add", "-q", "../inner.git", "recipes/inner")
    files: dict[str, str | bytes] = {f"recipes/d{i}": os.urandom(1_000_000) for i in range(50)}
    found.commit({**files, "recipes/pkg/mod.py": "WORD = 'new'\n"})
    return found


@pytest.fixture
def git_server(repository: Repository) -> Iterator[GitServer]:
    root = repository.folder.parent
    with git_over_http(root, HOST_ADDRESS, user="robot", password=PASSWORD) as running:
        yield running


@pytest.fixture
def index() -> Iterator[Index]:
    with package_index(HOST_ADDRESS) as running:
        say = {"say.py": "def main():\n    print('said')\n"}
        running.add(wheel("say", "1.5", say, needs=("numpy",), programs={"say": "say:main"}))
        running.add(wheel("numpy", "99", {"numpy.py": "raise SystemExit('not the image's')"}))
        yield running


def test_git_is_fetched_at_the_commit_that_was_looked_up(
    kube: Kubectl, operator: OperatorProcess, repository: Repository, git_server: GitServer
) -> None:
    """50 MB with a token and a submodule; by ssh with a deploy key; a branch that is not there."""
    commit = git(repository.folder, "rev-parse", "HEAD")
    kube.apply(secret("robot", username="robot", password=PASSWORD))
    source = {
        "url": f"{git_server.url}/code.git",
        "ref": "main",
        "subpath": "recipes",
        "submodules": True,
        "secret": {"name": "robot"},
    }
    check = """
    python3 -c 'from pkg import mod; assert mod.WORD == "new"' || exit 1
    test "$(cat d* | wc -c)" = 50000000 && test "$(cat inner/deep.txt)" = deep || exit 1
    ! test -e .git && ! test -e inner/.git && touch pkg/new || exit 1
    ! grep -r "$(printf a-%s Token)" /nemo_run
    """
    kube.apply(experiment("git", job("use", check), code={"git": source}))
    kube.apply(experiment("nogit", job("use", "true"), code={"git": {**source, "ref": "mian"}}))
    with git_over_ssh(repository.folder.parent, HOST_ADDRESS) as ssh:
        keys = {"ssh-privatekey": ssh.key, "known_hosts": ssh.known_hosts}
        kube.apply(secret("deploy", **keys))
        by_key = {"url": f"{ssh.url}/inner.git", "secret": {"name": "deploy"}}
        kube.apply(experiment("ssh", job("use", "cat deep.txt"), code={"git": by_key}))
        succeeded(kube, "ssh")
    done = succeeded(kube, "git")
    assert done["status"]["code"]["commit"] == commit

    def told() -> str | None:
        found = kube.get(EXPERIMENT, "nogit") or {}
        staged = [
            each["message"]
            for each in found.get("status", {}).get("conditions", [])
            if each["type"] == "CodeStaged" and each["status"] == "False"
        ]
        return next((text for text in staged if "mian" in text), None)

    message = eventually(told, "the missing branch is told", explain=operator.tail)
    assert "has no branch or tag 'mian'; it has main" in message
    assert PASSWORD not in message
    assert kube.get(UNIT, "nogit-use") is None


def test_archives_and_claims_are_checked_before_anything_runs(
    kube: Kubectl, operator: OperatorProcess
) -> None:
    """An archive with a token, a folder of a claim; each with a digest that is right, and wrong."""
    kube.apply(secret("token", token=PASSWORD))
    kube.apply(claim("code"))
    run = "python3 -c 'from pkg import mod; print(mod.WORD)' > $RUNYARD_OUTPUTS/word"
    use = job("use", run, outputs=[{"name": "word"}])

    def script(request: Request) -> Answer:
        right = request.headers.get("Authorization") == f"Bearer {PASSWORD}"
        return Answer(ARCHIVE) if right else Answer(code=401)

    fill = job("fill", "mkdir -p /data/src/pkg && echo \"WORD = 'claim'\" > /data/src/pkg/mod.py")
    fill["executor"]["job"] |= {
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "code"}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    known = content_digest([("pkg/mod.py", b"WORD = 'claim'\n")])
    wrong = f"sha256:{'0' * 64}"
    folder = {"claimName": "code", "subPath": "src"}
    with serving(script, HOST_ADDRESS) as server:
        uri = {"url": f"{server.url}/a.tgz", "secret": {"name": "token"}}
        kube.apply(experiment("fill", fill))
        kube.apply(experiment("uri", use, code={"uri": {**uri, "digest": digest(ARCHIVE)}}))
        kube.apply(experiment("badurl", use, code={"uri": {**uri, "digest": wrong}}))
        succeeded(kube, "fill")
        kube.apply(experiment("pvc", use, code={"pvc": {**folder, "digest": known}}))
        kube.apply(experiment("badpvc", use, code={"pvc": {**folder, "digest": wrong}}))
        ends = {name: phase(finished(kube, name)) for name in ("uri", "pvc", "badurl", "badpvc")}
    assert ends == {"uri": "Succeeded", "pvc": "Succeeded", "badurl": "Failed", "badpvc": "Failed"}
    for name, word in [("uri", "archive"), ("pvc", "claim")]:
        unit = kube.get(UNIT, f"{name}-use")
        assert unit is not None
        assert unit["status"]["outputs"] == [{"name": "word", "value": word}]
    reason, message = failure(kube, "badurl-use")
    assert reason == "LaunchFailed"
    assert f"has the digest {digest(ARCHIVE)}, and code.uri.digest is {wrong}" in message
    reason, message = failure(kube, "badpvc-use")
    assert (reason, f"have the digest {known}" in message) == ("LaunchFailed", True)
    for pod in kube.list("pods"):
        if pod["metadata"]["labels"].get("runyard.dev/experiment") in ("badurl", "badpvc"):
            ran = [each["state"] for each in pod["status"].get("containerStatuses", [])]
            assert not [state for state in ran if "terminated" in state or "running" in state]


def test_packages_are_installed_once_for_all_that_want_the_same(
    kube: Kubectl, operator: OperatorProcess, index: Index
) -> None:
    """From a claim, for any user; without what the image has; the resolver's word in the status."""
    kube.apply(claim("packages"))
    kube.apply(secret("index", url=index.url))
    run = 'test "$(say)" = said && python3 -c "import say, numpy; numpy.zeros(1)"'
    wanted = {"requirements": ["say~=1.0"], "indexSecret": {"name": "index", "key": "url"}}
    cached = {**wanted, "cache": {"claimName": "packages"}}
    root, other = job("root", run, packages=cached), job("other", run, packages=cached)
    other["after"] = [{"task": "root"}]
    alone = job("alone", run, packages={"requirements": ["say"], "indexUrl": index.url})
    alone["executor"]["job"]["podSpecOverrides"] = {"securityContext": {"runAsUser": 12345}}
    bad = {"requirements": ["say", "no-such-thing==1"], "indexUrl": index.url}
    kube.apply(experiment("cached", root, other))
    kube.apply(experiment("alone", alone))
    kube.apply(experiment("bad", job("bad", "true", packages=bad)))
    succeeded(kube, "cached")
    succeeded(kube, "alone")
    assert phase(finished(kube, "bad")) == "Failed"
    reason, message = failure(kube, "bad-bad")
    assert reason == "LaunchFailed"
    assert "No matching distribution found for no-such-thing==1" in message
    # `cached` fetched it once, `alone` once; `bad` may have had it in its hands as well.
    assert 2 <= len([path for path in index.downloads if "say" in path]) <= 3
    assert not [path for path in index.downloads if "numpy" in path]
