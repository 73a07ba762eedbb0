"""Commits fetched from servers on loopback, over HTTP and SSH, by git and OpenSSH themselves."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from runyard_operator.unpack.git import unpack_git
from runyard_operator.unpack.gitcommand import Git, checked
from runyard_operator.unpack.problems import UnpackError, Unreachable
from runyard_operator.unpack.secret import Secret
from tests.support.gitserver import (
    GitServer,
    Repository,
    SshServer,
    git,
    git_over_http,
    git_over_ssh,
)
from tests.support.tls import self_signed

PASSWORD = "p@ss/w:rd %41"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "srv", "code")


@pytest.fixture
def server(repository: Repository) -> Iterator[GitServer]:
    with git_over_http(repository.folder.parent) as running:
        yield running


@pytest.fixture
def ssh(repository: Repository) -> Iterator[SshServer]:
    with git_over_ssh(repository.folder.parent) as running:
        yield running


def secret(folder: Path, keys: Mapping[str, str]) -> Secret:
    """The keys as the kubelet shows them."""
    place = folder / "secret"
    place.mkdir(exist_ok=True)
    for name, value in keys.items():
        (place / name).write_text(value)
    return Secret(str(place))


def source(folder: Path, url: str, keys: Mapping[str, str] | None = None) -> Git:
    """Git with this Secret, and a folder for its credentials."""
    memory = folder / "memory"
    memory.mkdir(exist_ok=True)
    return Git(url, Secret(None) if keys is None else secret(folder, keys), str(memory))


def fetched(git_: Git, folder: Path, commit: str, **more: object) -> Path:
    """The code folder, after the commit was put there."""
    code = folder / "job" / "code"
    code.parent.mkdir(exist_ok=True)
    unpack_git(git_, str(code), commit, sleep=lambda _: None, **more)  # type: ignore[arg-type]
    assert os.listdir(code.parent) == ["code"]
    return code


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_exactly_the_commit_arrives(
    tmp_path: Path, repository: Repository, server: GitServer
) -> None:
    """An older one than the branch: its files, bits and links; no history, nothing of git."""
    (repository.folder / "run.sh").write_text("#!/bin/sh\n")
    (repository.folder / "run.sh").chmod(0o755)
    (repository.folder / "link").symlink_to("pkg/größe.py")
    first = repository.commit({"pkg/größe.py": "one", "pkg/sub/x": ""})
    repository.commit({"pkg/größe.py": "two"})
    where = source(tmp_path, f"{server.url}/code.git")
    for _ in ("once", "again, as after a restart of the container"):
        code = fetched(where, tmp_path, first)
    assert names(code) == {"run.sh", "link", "pkg/größe.py", "pkg/sub/x"}
    assert (code / "link").read_text() == "one"
    assert os.access(code / "run.sh", os.X_OK)
    for folder in (code, code / "pkg", code / "pkg/sub"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o777


def test_a_server_that_gives_branches_only(
    tmp_path: Path, repository: Repository, server: GitServer
) -> None:
    """The branch is fetched and the commit looked for in it; without a ref, in all of them."""
    server.old = True
    first = repository.commit({"a": "1"})
    git(repository.folder, "checkout", "-q", "-b", "side")
    side = repository.commit({"b": "2"})
    # A commit at the end of a branch is given by its name even by old servers.
    repository.commit({"b": "4"})
    git(repository.folder, "checkout", "-q", "main")
    repository.commit({"a": "3"})
    where = source(tmp_path, f"{server.url}/code.git")
    assert names(fetched(where, tmp_path, first, ref="main")) == {"a"}
    assert names(fetched(where, tmp_path, side)) == {"a", "b"}
    with pytest.raises(UnpackError, match=f"the commit {side} is not in ref 'main'"):
        fetched(where, tmp_path, side, ref="main")


def test_a_commit_that_is_nowhere(
    tmp_path: Path, repository: Repository, server: GitServer
) -> None:
    """Removed by a forced push: the message says so."""
    repository.commit({"a": "1"})
    where = source(tmp_path, f"{server.url}/code.git")
    with pytest.raises(UnpackError, match="removed by a forced push"):
        fetched(where, tmp_path, "1" * 40)


def test_a_folder_of_the_repository(
    tmp_path: Path, repository: Repository, server: GitServer
) -> None:
    """`subpath` becomes the code folder; it is a folder, and no link out."""
    (repository.folder / "out").symlink_to("/etc")
    commit = repository.commit({"recipes/sft/a.py": "", "other": ""})
    where = source(tmp_path, f"{server.url}/code.git")
    assert names(fetched(where, tmp_path, commit, subpath="recipes")) == {"sft/a.py"}
    for wrong in ("other", "none", "out"):
        with pytest.raises(UnpackError, match=f"{wrong!r} is not a folder of commit"):
            fetched(where, tmp_path, commit, subpath=wrong)


def test_submodules_when_asked_for(
    tmp_path: Path, repository: Repository, server: GitServer
) -> None:
    """Also those of submodules, by relative addresses; their bookkeeping is left out."""
    inner = Repository.create(tmp_path / "srv", "inner")
    inner.commit({"deep": ""})
    middle = Repository.create(tmp_path / "srv", "middle")
    git(middle.folder, "submodule", "add", "-q", "../inner.git", "in")
    middle.commit({"mid": ""})
    git(repository.folder, "submodule", "add", "-q", "../middle.git", "sub/mid")
    commit = repository.commit({"top": ""})
    for module in (repository.folder / ".gitmodules", middle.folder / ".gitmodules"):
        assert "url = ../" in module.read_text()
    where = source(tmp_path, f"{server.url}/code.git")
    assert names(fetched(where, tmp_path, commit)) == {"top", ".gitmodules"}
    code = fetched(where, tmp_path, commit, submodules=True)
    assert {"top", "sub/mid/mid", "sub/mid/in/deep"} <= names(code)
    assert not [name for name in names(code) if name.split("/")[-1] == ".git"]


@pytest.mark.parametrize("url", ["file:///etc", "ext::sh -c 'touch /tmp/pwned'", "/etc"])
def test_submodules_cannot_be_of_this_machine(
    tmp_path: Path, repository: Repository, server: GitServer, url: str
) -> None:
    """The protocols that are allowed hold for them, too."""
    commit = repository.commit({".gitmodules": f'[submodule "x"]\npath = x\nurl = "{url}"\n'})
    git(repository.folder, "update-index", "--add", "--cacheinfo", f"160000,{commit},x")
    git(repository.folder, "commit", "-q", "-m", "a module")
    head = git(repository.folder, "rev-parse", "HEAD")
    with pytest.raises(UnpackError, match=r"not allowed|failed"):
        fetched(source(tmp_path, f"{server.url}/code.git"), tmp_path, head, submodules=True)


def test_a_password_is_given_to_its_server_alone(
    tmp_path: Path, repository: Repository, server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In no argument, address or message; a submodule elsewhere does not get it."""
    seen: list[str] = []
    real = os.environ["PATH"]
    spy = tmp_path / "spy"
    spy.mkdir()
    (spy / "git").write_text(f'#!/bin/sh\necho "$@" >> {spy}/words\nPATH={real} exec git "$@"\n')
    (spy / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{spy}:{real}")
    with git_over_http(tmp_path / "srv", password="other") as elsewhere:
        other = Repository.create(tmp_path / "srv", "other")
        other.commit({"x": ""})
        git(repository.folder, "submodule", "add", "-q", str(other.folder), "x")
        git(repository.folder, "config", "-f", ".gitmodules", "submodule.x.url",
            f"{elsewhere.url}/other.git")  # fmt: skip
        commit = repository.commit({"a": ""})
        server.user, server.password = "robot", PASSWORD
        keys = {"username": "robot\n", "password": f"{PASSWORD}\n"}
        where = source(tmp_path, f"{server.url}/code.git", keys)
        assert names(fetched(where, tmp_path, commit)) == {"a", ".gitmodules"}
        with pytest.raises(UnpackError) as refused:
            fetched(where, tmp_path, commit, submodules=True)
        assert elsewhere.requests
        server.password = "changed"
        with pytest.raises(UnpackError, match="does not take the credentials") as wrong:
            fetched(where, tmp_path, commit)
    seen += [str(refused.value), str(wrong.value), (spy / "words").read_text(), *server.requests]
    assert "fetch" in seen[2]
    assert not [each for each in seen if "p@ss" in each or "p%40ss" in each]
    kept = tmp_path / "memory" / "credentials"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_private_repository_asks_for_a_secret(
    tmp_path: Path, repository: Repository, server: GitServer
) -> None:
    """Without one nobody is asked at a terminal; with a wrong one its keys are named."""
    server.password = "x"
    commit = repository.commit({"a": ""})
    with pytest.raises(UnpackError, match=r"name a Secret in code\.git\.secret"):
        fetched(source(tmp_path, f"{server.url}/code.git"), tmp_path, commit)
    with pytest.raises(UnpackError, match="has the keys token: an https address needs password"):
        source(tmp_path, f"{server.url}/code.git", {"token": "x"})


def test_a_server_that_is_away_is_tried_again(
    tmp_path: Path, repository: Repository, server: GitServer
) -> None:
    """A few times; then the error is one that may pass."""
    commit = repository.commit({"a": ""})
    where = source(tmp_path, f"{server.url}/code.git")
    server.broken = 2
    assert names(fetched(where, tmp_path, commit)) == {"a"}
    server.broken = 99
    with pytest.raises(Unreachable, match="503"):
        fetched(where, tmp_path, commit)
    with pytest.raises(Unreachable, match="connect"):
        fetched(source(tmp_path, "http://127.0.0.1:9/code.git"), tmp_path, commit)


def test_hooks_and_filters_of_a_repository_do_nothing(
    tmp_path: Path, repository: Repository, server: GitServer
) -> None:
    """A commit cannot bring programs that git runs here."""
    trap = tmp_path / "trap"
    commit = repository.commit(
        {
            ".gitattributes": "* filter=evil\n",
            ".gitconfig": f'[filter "evil"]\nsmudge = touch {trap}\n',
            ".githooks/post-checkout": f"#!/bin/sh\ntouch {trap}\n",
            "a": "",
        }
    )
    fetched(source(tmp_path, f"{server.url}/code.git"), tmp_path, commit)
    assert not trap.exists()


def test_ssh_with_a_pinned_host_key(tmp_path: Path, repository: Repository, ssh: SshServer) -> None:
    """The right key and the right server; else a message that says what to change."""
    commit = repository.commit({"a": ""})
    url = f"{ssh.url}/code.git"
    keys = {"ssh-privatekey": ssh.key, "known_hosts": ssh.known_hosts}
    assert names(fetched(source(tmp_path, url, keys), tmp_path, commit)) == {"a"}
    wrong = {**keys, "known_hosts": ssh.others_known_hosts}
    with pytest.raises(UnpackError, match="server's key is not the one in known_hosts"):
        fetched(source(tmp_path, url, wrong), tmp_path, commit)
    with pytest.raises(UnpackError, match="does not take the key in ssh-privatekey"):
        fetched(source(tmp_path, url, {**keys, "ssh-privatekey": ssh.other_key}), tmp_path, commit)
    with pytest.raises(UnpackError, match=r"add to the Secret a key known_hosts.*ssh-keyscan"):
        source(tmp_path, url, {**keys, "known_hosts": "\n"})
    with pytest.raises(UnpackError, match="needs a key: name a Secret with ssh-privatekey"):
        source(tmp_path, url)


def test_an_authority_of_ones_own(tmp_path: Path, repository: Repository) -> None:
    """Its certificate alone in the Secret, or beside a password; without it, what to do is told."""
    commit = repository.commit({"a": ""})
    context, authority = self_signed(tmp_path)
    with git_over_http(repository.folder.parent, tls=context) as server:
        url = f"{server.url}/code.git"
        with pytest.raises(UnpackError, match=r"into the Secret as ca\.crt"):
            fetched(source(tmp_path, url), tmp_path, commit)
        known = {"ca.crt": authority}
        assert names(fetched(source(tmp_path, url, known), tmp_path, commit)) == {"a"}
        server.user, server.password = "git", "pw"
        assert fetched(source(tmp_path, url, {**known, "password": "pw"}), tmp_path, commit)


@pytest.mark.parametrize(
    "url",
    ["file:///srv/code.git", "ext::sh -c id", "/srv/code", "git://host/code", "ftp://host/x",
     "https://me:secret@host/code", "https://me@host/code", "ssh://-oProxyCommand=id/x",
     "--upload-pack=id"],
)  # fmt: skip
def test_addresses_that_are_not_fetched(url: str) -> None:
    """Other protocols, options in disguise, and addresses with credentials, which are not shown."""
    with pytest.raises(UnpackError) as refused:
        checked(url)
    assert "secret@" not in str(refused.value)


@pytest.mark.parametrize("url", ["https://host/a", "git@host:team/a.git", "ssh://git@host:22/a"])
def test_addresses_that_are_fetched(url: str) -> None:
    """As people copy them."""
    assert checked(url) == url
