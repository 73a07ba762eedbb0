"""Archives on real folders: what arrives, and what is refused."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import stat
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runyard_operator.unpack.archive import unpack_file, unpack_parts
from runyard_operator.unpack.limits import DEFAULT, Limits
from runyard_operator.unpack.problems import UnpackError
from tests.unit.unpack.archives import Entry, digest, entry, link, parts, tar, zipped

SMALL = Limits(entries=10, entry=1000, total=2000, free=4096)


def unpacked(folder: Path, content: bytes, limits: Limits = DEFAULT) -> Path:
    """Unpacks an archive file and returns the folder."""
    archive = folder / "archive"
    archive.write_bytes(content)
    unpack_file(str(archive), str(folder / "code"), limits)
    return folder / "code"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_bundle_arrives_as_it_was(tmp_path: Path) -> None:
    """Names, executable bits, inner links; open folders; no setuid; nothing is left beside it."""
    plain = tar(
        [
            entry("pkg/größe/a.py", b"a" * 5000, mode=0o600),
            entry("./run.sh", b"#!/bin/sh\n", mode=0o6755),
            entry("pkg", kind=tarfile.DIRTYPE, mode=0o500),
            link("latest", "pkg/größe"),
            link("pkg/up", "../run.sh"),
            link("dangling", "pkg/none"),
            entry("again.sh", kind=tarfile.LNKTYPE, leads_to="run.sh"),
            entry("n" * 200 + "/" + "m" * 120, b""),
        ]
    )
    source = parts(tmp_path / "in", plain, size=100)
    target = tmp_path / "job" / "code"
    target.parent.mkdir()
    for _ in ("once", "again, as after a restart of the container"):
        assert unpack_parts(str(source), str(target), digest(plain)) == 4
    assert (target / "latest/a.py").read_bytes() == b"a" * 5000
    assert (target / "pkg/up").resolve() == target / "run.sh"
    assert os.readlink(target / "dangling") == "pkg/none"
    assert (target / "again.sh").read_bytes() == b"#!/bin/sh\n"
    assert (target / ("n" * 200) / ("m" * 120)).is_file()
    assert (mode(target / "run.sh"), mode(target / "pkg/größe/a.py")) == (0o755, 0o644)
    assert (mode(target), mode(target / "pkg")) == (0o777, 0o777)
    assert os.listdir(target.parent) == ["code"]


@pytest.mark.parametrize("form", ["tar", "gzip", "zip"])
def test_forms_are_told_apart_by_content(tmp_path: Path, form: str) -> None:
    """Whatever the address ends with."""
    plain = tar([entry("pkg/a.py", b"a", mode=0o755), link("b.py", "pkg/a.py")])
    content = {
        "tar": plain,
        "gzip": gzip.compress(plain),
        "zip": zipped([("pkg/a.py", b"a", 0o100755), ("b.py", b"pkg/a.py", 0o120777)]),
    }[form]
    code = unpacked(tmp_path, content)
    assert (code / "b.py").read_text() == "a"
    assert (code / "b.py").is_symlink()
    assert mode(code / "pkg/a.py") == 0o755


def test_another_digest_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """A part that was swapped leaves the code folder as it was."""
    source = parts(tmp_path / "in", tar([entry("a.py", b"bad")]))
    (tmp_path / "code").mkdir()
    with pytest.raises(UnpackError, match="what is stored was changed"):
        unpack_parts(str(source), str(tmp_path / "code"), digest(tar([entry("a.py", b"good")])))
    assert list((tmp_path / "code").iterdir()) == []


REFUSED: list[tuple[str, list[Entry], str]] = [
    ("absolute", [entry("/etc/x", b"")], "absolute path"),
    ("up", [entry("../x", b"")], "leads out"),
    ("up in the middle", [entry("a/../../x", b"")], "leads out"),
    ("up and back", [entry("a/../x", b"")], "leads out"),
    ("folder up", [entry("..", kind=tarfile.DIRTYPE)], "leads out"),
    ("link to root", [link("x", "/etc/passwd")], "absolute"),
    ("link up", [link("x", "../../etc/passwd")], "outside|leads out"),
    ("link up in a folder", [link("a/x", "../../y")], "outside|leads out"),
    ("hard link out", [entry("x", kind=tarfile.LNKTYPE, leads_to="/etc/passwd")], "link|absolute"),
    ("hard link up", [entry("x", kind=tarfile.LNKTYPE, leads_to="../y")], "outside|leads out"),
    ("hard link to a link", [entry("f"), link("l", "f"),
        entry("x", kind=tarfile.LNKTYPE, leads_to="l")], "no file before"),
    ("through a link", [entry("d/f"), link("l", "d"), entry("l/g", b"")], "a folder as well"),
    ("over a link", [entry("d/f"), link("l", "d/f"), entry("l", b"")], "twice"),
    ("a link through a link", [entry("s/t/f"), link("s/t/a", "../.."), link("s/t/b", "a/../x")],
        "outside|leads out"),
    ("twice", [entry("x", b"1"), entry("x", b"2")], "twice"),
    ("file and folder", [entry("x"), entry("x/y")], "a folder as well"),
    ("device", [entry("x", kind=tarfile.CHRTYPE)], "special"),
    ("block device", [entry("x", kind=tarfile.BLKTYPE)], "special"),
    ("pipe", [entry("x", kind=tarfile.FIFOTYPE)], "special"),
    ("large", [entry("x", b"a" * 1001)], "too large"),
    ("large together", [entry("x", b"a" * 999), entry("y", b"a" * 999), entry("z", b"aaa")],
        "too large"),
    ("many", [entry(f"{number}") for number in range(11)], "more than 10"),
    ("deep", [entry("/".join("abcdefghijkl"))], "more than 10"),
    ("the same folder for ever", [entry("d", kind=tarfile.DIRTYPE)] * 12, "more than 10"),
    ("no name", [entry("./", b"x")], "no name"),
    ("long name", [entry("n" * 300)], "no name of a file"),
]  # fmt: skip


@pytest.mark.parametrize(("entries", "said"), [each[1:] for each in REFUSED],
                         ids=[each[0] for each in REFUSED])  # fmt: skip
def test_refused_entries(tmp_path: Path, entries: Sequence[Entry], said: str) -> None:
    """Each with a message of its own, and nothing outside of the folder."""
    (tmp_path / "place").mkdir()
    with pytest.raises(UnpackError, match=said):
        unpacked(tmp_path / "place", tar(entries), SMALL)
    assert sorted(os.listdir(tmp_path)) == ["place"]
    assert set(os.listdir(tmp_path / "place")) <= {"archive", "code"}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([("../x", b"", 0o100644)], "leads out"),
        ([("/x", b"", 0o100644)], "absolute path"),
        ([("x", b"/etc/passwd", 0o120777)], "leads out"),
        ([("x", b"", 0o010644)], "a device or a pipe"),
        ([("x", b"a" * 1001, 0o100644)], "too large"),
        ([("x", b"", 0), ("x/y", b"", 0)], "a folder as well"),
        ([(f"{number}", b"", 0) for number in range(11)], "more than 10"),
    ],
)
def test_refused_entries_of_a_zip(
    tmp_path: Path, files: list[tuple[str, bytes, int]], said: str
) -> None:
    """The same rules as for tar."""
    with pytest.raises(UnpackError, match=said):
        unpacked(tmp_path, zipped(files), SMALL)


def test_bombs_are_stopped_while_they_unfold(tmp_path: Path) -> None:
    """Zeros in gzip and in zip, a zip that lies about its size, a sparse tar, a huge attribute."""
    limits = Limits(free=1_000_000)
    zeros = b"\0" * 30_000_000
    with pytest.raises(UnpackError, match="larger than 2"):
        unpacked(tmp_path, gzip.compress(zeros), limits)
    with pytest.raises(UnpackError, match="too large"):
        unpacked(tmp_path, zipped([("x", zeros, 0)]), limits)
    liar = bytearray(zipped([("x", b"\0" * 1_000_000, 0)]))
    real = (1_000_000).to_bytes(4, "little")
    assert liar.count(real) == 2
    with pytest.raises(UnpackError, match=r"larger than the archive says|damaged|cannot be read"):
        unpacked(tmp_path, bytes(liar.replace(real, (10).to_bytes(4, "little"))), limits)
    sparse = tarfile.TarInfo("x")
    sparse.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "x",
        "GNU.sparse.realsize": str(10**15),
    }
    sparse.size = 512
    with pytest.raises(UnpackError, match="too large"):
        unpacked(tmp_path, tar([(sparse, b"1\n0\n1\n".ljust(512, b"\0"))]), limits)
    header = entry("x", kind=tarfile.XHDTYPE, size=5 * 10**9)
    with pytest.raises(UnpackError, match="too long"):
        unpacked(tmp_path, tar([header]), limits)


def test_an_archive_that_was_cut_off(tmp_path: Path) -> None:
    """The end is missing: no file is taken for whole."""
    with pytest.raises(UnpackError, match=r"cut off|damaged"):
        unpacked(tmp_path, tar([entry("x", b"a" * 9000)])[:4000])
    with pytest.raises(UnpackError, match="damaged"):
        unpacked(tmp_path, gzip.compress(tar([entry("x", b"a" * 9000)]))[:-20])


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 no", b"\x1f\x8b no gzip"])
def test_no_archive(tmp_path: Path, content: bytes) -> None:
    """A page that says "please log in" is told from an archive."""
    with pytest.raises(UnpackError, match="damaged, or no"):
        unpacked(tmp_path, content)


NAMES = st.lists(
    st.sampled_from(["a", "b", "..", ".", "", "ü", "\udcff"]), min_size=1, max_size=4
).map("/".join)
KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]
)
ENTRIES = st.builds(
    lambda name, kind, to, content: entry(
        name,
        content if kind == tarfile.REGTYPE else b"",
        kind=kind,
        leads_to=to if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else "",
        mode=0o7777,
    ),
    NAMES,
    KINDS,
    NAMES,
    st.binary(max_size=20),
)


def assert_tame(root: Path) -> None:
    """Nothing but files, folders and links that stay inside; no bit beyond the usual ones."""
    for path in root.rglob("*"):
        kind = path.lstat().st_mode
        assert stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISLNK(kind)
        if stat.S_ISLNK(kind):
            assert Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
        else:
            assert not kind & 0o7000


@settings(max_examples=300, deadline=None)
@given(st.lists(ENTRIES, min_size=1, max_size=8))
def test_no_archive_gets_out(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]
) -> None:
    """Whatever the entries are: the folder is tame or the archive is refused."""
    place = tmp_path_factory.mktemp("fuzz")
    (place / "inner").mkdir()
    try:
        code = unpacked(place / "inner", tar(entries))
    except UnpackError:
        pass
    else:
        assert_tame(code)
    assert os.listdir(place) == ["inner"]
    assert set(os.listdir(place / "inner")) <= {"archive", "code", "archive.tar"}


@settings(max_examples=300, deadline=None)
@given(st.integers(), st.sampled_from(["tar", "gzip", "zip"]))
def test_damage_is_told(tmp_path_factory: pytest.TempPathFactory, seed: int, form: str) -> None:
    """Any bytes give an UnpackError or a tame folder: never another error, never no end."""
    chance = random.Random(seed)
    plain = tar([entry("a/b", b"x" * 600), link("c", "a/b"), entry("é" * 60, b"y")])
    content = bytearray(
        {
            "tar": plain,
            "gzip": gzip.compress(plain, mtime=0),
            "zip": zipped([("a/b", b"x" * 600, 0o100644), ("c", b"a/b", 0o120777)]),
        }[form]
    )
    for _ in range(chance.randint(1, 6)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    if form == "tar" and chance.random() < 0.5:
        # With a right checksum more of the header is believed.
        content[148:156] = b" " * 8
        content[148:156] = b"%06o\0 " % sum(content[:512])
    del content[chance.randint(len(content) // 2, len(content)) :]
    place = tmp_path_factory.mktemp("damage")
    with contextlib.suppress(UnpackError):
        assert_tame(unpacked(place, bytes(content), Limits(free=10**6)))


def test_a_large_archive_needs_little_memory(tmp_path: Path) -> None:
    """Contents flow through: the container has 128 MiB, whatever the archive has."""
    small = (entry(f"d{number % 9}/f{number}", b"x" * 100) for number in range(2000))
    plain = tar([entry("large", b"x" * 60_000_000), *small])
    (tmp_path / "archive").write_bytes(zlib.compress(plain, wbits=31))
    program = (
        "import sys\n"
        "from runyard_operator.unpack.archive import unpack_file\n"
        "print(unpack_file(sys.argv[1], sys.argv[2]))\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "archive"), str(tmp_path / "code")],
        capture_output=True,
        text=True,
        check=True,
    )
    count, kibibytes = map(int, done.stdout.split())
    assert count == 2001
    assert kibibytes < 48 * 1024
