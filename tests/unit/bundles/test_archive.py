"""A folder becomes an archive whose digest says its content."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.bundles.archive import Archive, fingerprint, pack
from runyard.bundles.guard import human, looks_secret
from runyard.bundles.listing import ArchiveError, code_files


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for path, content in files.items():
        whole = folder / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def git(folder: Path, *args: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=m")
    subprocess.run(["git", *identity, *args], cwd=folder, check=True, capture_output=True)


def members(archive: Archive) -> list[tarfile.TarInfo]:
    with tarfile.open(archive.path) as tar:
        return tar.getmembers()


def paths(archive: Archive) -> list[str]:
    return [each.name for each in members(archive)]


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder that no git knows."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_the_digest_is_that_of_the_tar_and_the_same_everywhere(outside: Path) -> None:
    """A fixed folder has a fixed digest, whatever the Python, the zlib, the time and the user."""
    long = "deep/" * 25 + "ä.txt"
    write(outside, {"b.py": "print(1)\n", "a/run.sh": "#!/bin/sh\n", long: "x" * 1000, "leer": ""})
    (outside / "a" / "run.sh").chmod(0o700)
    (outside / "link").symlink_to("a/run.sh")
    with pack(outside) as archive:
        whole = gzip.decompress(archive.path.read_bytes())
        assert archive.digest == f"sha256:{hashlib.sha256(whole).hexdigest()}"
        assert archive.digest == (
            "sha256:f86a9e1ffa40c413415accc940a7f297f19076d33e22a30350b07dbfe4445722"
        )
        assert fingerprint(outside) == archive.digest
        assert archive.size == archive.path.stat().st_size
        assert archive.path.read_bytes()[4:8] == bytes(4), "the time in the gzip header"
    assert not archive.path.exists()


def test_what_is_kept_and_what_is_not(outside: Path) -> None:
    """Modes are 644 or 755, owners and times are zero, links inside are links."""
    write(outside, {"b.py": "1", "a/run.sh": "2"})
    (outside / "a" / "run.sh").chmod(0o700)
    (outside / "a" / "up").symlink_to("../b.py")
    (outside / "folder").symlink_to("a")
    with pack(outside) as archive:
        found = {each.name: each for each in members(archive)}
    assert list(found) == ["a/run.sh", "a/up", "b.py", "folder"]
    assert {each.mtime for each in found.values()} == {0}
    assert {(each.uid, each.gid, each.uname) for each in found.values()} == {(0, 0, "")}
    assert found["a/run.sh"].mode == 0o755
    assert found["b.py"].mode == 0o644
    assert found["a/up"].issym()
    assert found["a/up"].linkname == "../b.py"
    assert found["folder"].linkname == "a"


names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=40
).filter(lambda text: text not in (".", "..") and len(text.encode()) < 200)
trees = st.dictionaries(
    st.lists(names, min_size=1, max_size=4).map("/".join), st.binary(max_size=2000), max_size=8
)


@given(tree=trees)
def test_any_tree_comes_back_and_packs_to_the_same_digest(tree: dict[str, bytes]) -> None:
    """Whatever the names and contents: extracted, they are the same, and so is their digest."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        kept: dict[str, bytes] = {}
        for path, content in tree.items():
            try:
                write(Path(one), {path: content})
            except OSError:
                continue  # a file is where a folder should be
            kept[path] = content
        if not kept:
            return
        chosen = {"files": list(kept), "allow_secrets": True}
        with pack(Path(one), **chosen) as first:  # type: ignore[arg-type]
            with tarfile.open(first.path) as tar:
                tar.extractall(two, filter="data")
            digest = first.digest
        assert {path: (Path(two) / path).read_bytes() for path in kept} == kept
        with pack(Path(two), **chosen) as second:  # type: ignore[arg-type]
            assert second.digest == digest


def test_git_says_which_files_are_code(tmp_path: Path) -> None:
    """Tracked and new files, not ignored ones; a file that was deleted is no trouble."""
    git(tmp_path, "init")
    write(tmp_path, {".gitignore": "*.log\n", "kept.py": "1", "gone.py": "2", "out.log": "3"})
    git(tmp_path, "add", "-A")
    write(tmp_path, {"new.py": "4", "pkg/__pycache__/x.pyc": "5"})
    (tmp_path / "gone.py").unlink()
    assert code_files(tmp_path) == [".gitignore", "kept.py", "new.py"]
    write(tmp_path, {"sub/a.py": "6", "sub/b.log": "7"})
    assert code_files(tmp_path / "sub") == ["a.py"]


def test_submodules_are_code_too(tmp_path: Path) -> None:
    """The files of a submodule are taken as git has them there."""
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    for each in (inner, outer):
        each.mkdir()
        git(each, "init")
    write(inner, {"lib.py": "1"})
    git(inner, "add", "-A")
    git(inner, "commit", "-m", "x")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "add", str(inner), "vendor/inner")
    assert code_files(outer) == [".gitmodules", "vendor/inner/lib.py"]


def test_an_ignore_file_leaves_files_out(outside: Path) -> None:
    """`.runyardignore` has the rules of `.gitignore`, and works without git."""
    write(outside, {"a.py": "", "data/x.bin": "", "data/keep.txt": "", "b.tmp": ""})
    write(outside, {".runyardignore": "# big\ndata/*\n!data/keep.txt\n*.tmp\n"})
    assert code_files(outside) == [".runyardignore", "a.py", "data/keep.txt"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../other", "a/../../other", "sly/../../x"])
def test_links_that_lead_out_are_refused(outside: Path, target: str) -> None:
    """By their text and by where they really lead."""
    inside = outside / "code"
    write(inside, {"a/b/c.py": ""})
    (inside / "sly").symlink_to("a/b")
    (inside / "link").symlink_to(target)
    with pytest.raises(ArchiveError, match="the link link leads out of the folder"):
        pack(inside)


def test_a_link_that_leads_out_by_another_link_is_refused(outside: Path) -> None:
    """Its text alone looks harmless."""
    inside = outside / "code"
    write(inside, {"a.py": ""})
    (inside / "here").symlink_to(".")
    (inside / "link").symlink_to("here/../x")
    with pytest.raises(ArchiveError, match="leads out"):
        pack(inside)


def test_pipes_and_sockets_are_refused(outside: Path) -> None:
    """What is neither file nor link would block or be nonsense in a pod."""
    os.mkfifo(outside / "pipe")
    with pytest.raises(ArchiveError, match=r"pipe is neither a file nor a link.*runyardignore"):
        pack(outside)
    (outside / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(outside / "sock"))
        with pytest.raises(ArchiveError, match="sock is neither"):
            pack(outside)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (".env", "A=1"),
        ("deploy/prod.env", "A=1"),
        ("home/.aws/credentials", "[default]"),
        ("id_ed25519", "x"),
        ("certs/tls.key", "-----BEGIN RSA PRIVATE KEY-----\nMII"),
        ("named-otherwise.txt", "\n-----BEGIN OPENSSH PRIVATE KEY-----\n"),
    ],
)
def test_keys_and_credentials_are_refused_unless_allowed(
    outside: Path, path: str, content: str
) -> None:
    """The message names them and says both ways out."""
    write(outside, {path: content, "a.py": ""})
    with pytest.raises(ArchiveError, match=rf"{path}.*\.runyardignore.*--allow-secrets"):
        pack(outside)
    with pack(outside, allow_secrets=True) as archive:
        assert path in paths(archive)


@pytest.mark.parametrize("path", [".env.example", "environment.yml", "tls.crt", "env.py"])
def test_what_only_sounds_like_a_secret_is_packed(path: str) -> None:
    """Examples and code are no credentials."""
    assert not looks_secret(path, b"-----BEGIN CERTIFICATE-----")


def test_too_much_is_refused_with_the_biggest_files_named(outside: Path) -> None:
    """A checkpoint left in the folder is what is usually wrong."""
    write(outside, {"model.ckpt": bytes(3000), "data.bin": bytes(2000), "a.py": "x"})
    with pytest.raises(ArchiveError, match=r"5\.0 kB .* 4\.0 kB.*model\.ckpt \(3\.0 kB\), data"):
        pack(outside, max_content_bytes=4000)


def test_nothing_to_pack_is_said(outside: Path) -> None:
    """An empty folder, and one that is not there."""
    with pytest.raises(ArchiveError, match="has no files"):
        pack(outside)
    with pytest.raises(ArchiveError, match="is not a folder"):
        pack(outside / "none")


def test_chosen_files_only(outside: Path) -> None:
    """`files` names them; what leads out or lies behind a link is refused."""
    write(outside, {"a.py": "", "b/c.py": "", "d.py": ""})
    (outside / "behind").symlink_to("b")
    with pack(outside, files=["b/c.py", "./a.py", "a.py"]) as archive:
        assert paths(archive) == ["a.py", "b/c.py"]
    for wrong in ("../x", "/etc/passwd", "behind/c.py", "none.py"):
        with pytest.raises(ArchiveError):
            pack(outside, files=[wrong])


def test_a_name_that_is_not_unicode_is_refused(outside: Path) -> None:
    """Not every filesystem could hold it."""
    Path(os.fsdecode(os.fsencode(outside) + b"/\xff.py")).write_text("")
    with pytest.raises(ArchiveError, match="not UTF-8"):
        pack(outside)


def test_ten_thousand_files(outside: Path) -> None:
    """Nothing is lost, and the folder is not touched."""
    write(outside, {f"p{index % 97}/m{index}.py": f"x = {index}\n" for index in range(10_000)})
    before = {path: path.stat().st_mtime_ns for path in [outside, *outside.rglob("*")]}
    with pack(outside) as archive, pack(outside) as again:
        assert len(members(archive)) == archive.files == 10_000
        assert archive.digest == again.digest
        assert archive.path.read_bytes() == again.path.read_bytes()
    assert before == {path: path.stat().st_mtime_ns for path in [outside, *outside.rglob("*")]}


def test_the_tar_is_readable_by_tar_itself(outside: Path) -> None:
    """Long names, too, come out of GNU tar as they went in."""
    path = "x" * 150 + "/" + "ü" * 60
    write(outside, {path: "content"})
    with pack(outside) as archive:
        done = subprocess.run(
            ["tar", "-xzOf", str(archive.path)], capture_output=True, check=True, text=True
        )
        assert done.stdout == "content"
        assert paths(archive) == [path]


def test_sizes_for_people() -> None:
    """Three digits at most."""
    assert [human(each) for each in (0, 999, 1500, 999_950, 40_000_000)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "1.0 MB",
        "40.0 MB",
    ]
