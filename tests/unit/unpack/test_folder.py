"""Code that a claim shows where it lies: checked, and not copied."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard_operator.bundles.digest import content_digest, folder_digest
from runyard_operator.unpack import SOURCES_VARIABLE, UnpackError, run
from runyard_operator.unpack.folder import check

FILES = {"a.py": b"a" * 3_000_000, "pkg/größe.py": b"", "pkg/b": b"b"}


def folder(root: Path) -> Path:
    for name, content in FILES.items():
        place = root / "claim" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return root / "claim"


def test_the_right_content_is_let_through(tmp_path: Path) -> None:
    """The digest is that of the same files in a bundle of inline files; links inside count."""
    claim = folder(tmp_path)
    known = content_digest(FILES.items())
    entry = {"kind": "check", "source": str(claim), "digest": known}
    assert run({SOURCES_VARIABLE: json.dumps([entry])}) == 3
    (claim / "link").symlink_to("pkg/b")
    assert check(str(claim), content_digest([*FILES.items(), ("link", b"b")])) == 4


@pytest.mark.parametrize("change", ["content", "name", "more", "fewer"])
def test_any_change_is_seen(tmp_path: Path, change: str) -> None:
    """And the message has the digest of what is there."""
    claim = folder(tmp_path)
    if change == "content":
        (claim / "pkg/b").write_bytes(b"B")
    elif change == "name":
        (claim / "pkg/b").rename(claim / "pkg/c")
    elif change == "more":
        (claim / "x").touch()
    else:
        (claim / "pkg/größe.py").unlink()
    with pytest.raises(UnpackError, match="they were changed since") as refused:
        check(str(claim), content_digest(FILES.items()))
    told = str(refused.value).split("the digest ")[1].split(",")[0]
    check(str(claim), told)


def test_what_cannot_be_checked_is_refused(tmp_path: Path) -> None:
    """Links out and pipes: reading them would tell of something else, or never end."""
    claim = folder(tmp_path)
    (claim / "link").symlink_to("/etc/passwd")
    with pytest.raises(UnpackError, match="leads out of its volume"):
        check(str(claim), "")
    (claim / "link").unlink()
    os.mkfifo(claim / "pipe")
    with pytest.raises(UnpackError, match="neither a file nor a folder"):
        check(str(claim), "")


@given(st.dictionaries(st.text("abé/", min_size=1, max_size=4), st.binary(max_size=9), max_size=4))
def test_both_ways_to_the_digest_agree(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    """From memory, and from files block by block."""
    place = tmp_path_factory.mktemp("files")
    pairs = []
    for number, (name, content) in enumerate(files.items()):
        (place / str(number)).write_bytes(content)
        pairs.append((name, str(place / str(number))))
    assert folder_digest(pairs) == content_digest(files.items())
