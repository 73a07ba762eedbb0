"""The store's own rules: what is taken in is whole, true, within bounds, and there once."""

from __future__ import annotations

import asyncio
import functools
import gzip
import hashlib
import itertools
import random
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.bundles.names import Refusal
from runyard_operator.bundles import tokens
from runyard_operator.storage.backend import NoSpaceError
from runyard_operator.storage.depot import BUNDLES, CLAIMS, Depot, Limits, bundle_name
from runyard_operator.storage.folder import Folder, _File
from runyard_operator.storage.refusals import RefusedError
from runyard_operator.storage.sweep import forget_logs
from runyard_operator.storage.verify import ContentError, Verifier

SIZE = 3_100_000


@functools.cache
def packed(seed: int, size: int = SIZE) -> tuple[bytes, str]:
    """Bytes that barely compress, as gzip, and the digest of what they unpack to."""
    content = random.Random(seed).randbytes(size)
    return gzip.compress(content, 1, mtime=0), f"sha256:{hashlib.sha256(content).hexdigest()}"


def sender(data: bytes, piece: int = 100_000) -> Callable[[], AsyncIterator[bytes]]:
    async def send() -> AsyncIterator[bytes]:
        for start in range(0, len(data), piece):
            await asyncio.sleep(0)
            yield data[start : start + piece]

    return send


def verify(verifier: Verifier, data: bytes) -> str:
    """The digest of what all the bytes unpack to."""
    verifier.update(data)
    return verifier.finish()


def files(root: Path) -> list[str]:
    """All files of the store, whatever they are."""
    return sorted(str(each.relative_to(root)) for each in root.rglob("*") if each.is_file())


@contextmanager
def refused(reason: Refusal, match: str | None = None) -> Iterator[None]:
    with pytest.raises(RefusedError, match=match) as caught:
        yield
    assert caught.value.reason is reason


async def test_a_bundle_is_kept_once_however_many_send_it_at_the_same_time(tmp_path: Path) -> None:
    """Twelve senders from three namespaces: one archive, three claims, nothing half done."""
    depot = Depot(Folder(tmp_path), Limits())
    data, digest = packed(1)
    sizes = await asyncio.gather(
        *(depot.receive(f"team-{n % 3}", digest, len(data), sender(data)) for n in range(12))
    )
    assert set(sizes) == {len(data)}
    digits = digest.removeprefix("sha256:")
    assert files(tmp_path) == [
        bundle_name(digest),
        *(f"{CLAIMS}team-{n}/{digits}" for n in range(3)),
    ]
    assert (tmp_path / bundle_name(digest)).read_bytes() == data


async def test_another_compression_of_the_same_code_is_the_same_code(tmp_path: Path) -> None:
    """What is there stays, and its size is told."""
    depot = Depot(Folder(tmp_path), Limits())
    data, digest = packed(1)
    await depot.receive("a", digest, len(data), sender(data))
    other = gzip.compress(gzip.decompress(data), 0, mtime=0)
    assert len(other) != len(data)
    assert await depot.receive("b", digest, len(other), sender(other)) == len(data)
    assert (tmp_path / bundle_name(digest)).read_bytes() == data


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda data: data[:-200] + bytes(200), "not gzip"),
        (lambda data: data[:-1000], "bytes came"),
        (lambda data: data + b"more", "announced"),
        (lambda data: b"PK" + data[2:], "not gzip"),
        (lambda _: gzip.compress(bytes(SIZE), 0), "bytes came|has the digest"),
    ],
)
@pytest.mark.parametrize("honest_length", [True, False])
async def test_what_is_not_the_content_of_the_digest_leaves_nothing(
    tmp_path: Path, spoil: Callable[[bytes], bytes], match: str, honest_length: bool
) -> None:
    """Damaged, cut off, padded, of another format, or other content altogether."""
    depot = Depot(Folder(tmp_path), Limits())
    data, digest = packed(1)
    wrong = spoil(data)
    length = len(wrong) if honest_length else len(data)
    with refused(Refusal.CONTENT, None if honest_length else match):
        await depot.receive("a", digest, length, sender(wrong))
    assert files(tmp_path) == []
    assert await depot.size(digest) is None


async def test_a_bomb_is_refused_while_it_goes_off(tmp_path: Path) -> None:
    """Three megabytes that unpack to three gigabytes: it stops at the limit."""
    bomb = gzip.compress(bytes(1_000_000), 9)
    depot = Depot(Folder(tmp_path), Limits(content=50_000_000))
    taken = 0

    async def send() -> AsyncIterator[bytes]:
        nonlocal taken
        stream = zlib.compressobj(9, wbits=31)
        for _ in range(3000):
            piece = stream.compress(bytes(1_000_000))
            taken += 1
            if piece:
                yield piece

    assert len(bomb) < 2000
    with refused(Refusal.CONTENT, "unpacks to more than 50000000 bytes"):
        await depot.receive("a", f"sha256:{'0' * 64}", SIZE, send)
    assert taken < 500
    assert files(tmp_path) == []


@given(
    content=st.binary(max_size=5000),
    cuts=st.lists(st.integers(min_value=0, max_value=6000), max_size=5),
    level=st.integers(min_value=0, max_value=9),
)
def test_the_verifier_says_what_hashing_the_whole_says(
    content: bytes, cuts: list[int], level: int
) -> None:
    """However the bytes are cut into pieces."""
    data = gzip.compress(content, level)
    verifier = Verifier(limit=len(content))
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, stop in itertools.pairwise(edges):
        verifier.update(data[start:stop])
    assert verifier.finish() == f"sha256:{hashlib.sha256(content).hexdigest()}"
    if content:
        with pytest.raises(ContentError, match="unpacks to more"):
            verify(Verifier(limit=len(content) - 1), data)
    with pytest.raises(ContentError):
        Verifier(len(content)).finish()


async def test_a_namespace_has_a_cap_and_learns_what_uses_it(tmp_path: Path) -> None:
    """Also when two come at the same time; another namespace is not concerned."""
    depot = Depot(Folder(tmp_path), Limits(namespace=7_000_000))
    one, two, three = packed(1), packed(2), packed(3)
    await depot.receive("a", one[1], len(one[0]), sender(one[0]))
    both = await asyncio.gather(
        *(depot.receive("a", d, len(data), sender(data)) for data, d in (two, three)),
        return_exceptions=True,
    )
    problems = [each for each in both if isinstance(each, RefusedError)]
    assert len(problems) == 1
    assert problems[0].reason is Refusal.FULL
    assert f"code-{one[1][7:23]} (3.1 MB)" in str(problems[0])
    await depot.receive("a", one[1], len(one[0]), sender(one[0]))  # what it has costs nothing
    await depot.receive("b", three[1], len(three[0]), sender(three[0]))


async def test_sizes_that_do_not_belong_into_the_store(tmp_path: Path) -> None:
    """Too small is for ConfigMaps, too big is refused, and a full disk is said."""
    depot = Depot(Folder(tmp_path), Limits(bundle=5_000_000))
    with refused(Refusal.CONTENT, "belong into ConfigMaps"):
        await depot.check("a", packed(1)[1], 3_000_000)
    with refused(Refusal.CONTENT, r"at most 5\.0 MB"):
        await depot.check("a", packed(1)[1], 5_000_001)
    wide = Depot(Folder(tmp_path), Limits(bundle=2**62, namespace=2**62))
    with refused(Refusal.DISK_FULL, r"bundleStore\.size"):
        await wide.check("a", packed(1)[1], 2**61)


async def test_a_silent_sender_is_not_waited_for(tmp_path: Path) -> None:
    """It leaves nothing behind."""
    depot = Depot(Folder(tmp_path), Limits(), wait=0.05)
    data, digest = packed(1)

    async def send() -> AsyncIterator[bytes]:
        yield data[:1000]
        await asyncio.Event().wait()

    with refused(Refusal.CONTENT, "nothing came"):
        await depot.receive("a", digest, len(data), send)
    assert files(tmp_path) == []


async def test_a_disk_that_is_full_says_so(tmp_path: Path) -> None:
    """/dev/full answers every write as a full disk does."""
    with Path("/dev/full").open("wb", buffering=0) as full:  # noqa: ASYNC230
        incoming = _File(tmp_path, tmp_path / "x", full)
        with pytest.raises(NoSpaceError):
            await incoming.write(b"x")


async def test_what_an_earlier_process_left_half_done_is_removed(tmp_path: Path) -> None:
    """A file in the making is never a bundle, and goes with the next start."""
    first = Folder(tmp_path)
    writing = first.writing()
    incoming = await writing.__aenter__()
    await incoming.write(b"half")
    assert files(tmp_path) != []
    assert await first.entries(BUNDLES) == []
    Folder(tmp_path)
    assert files(tmp_path) == []
    await writing.__aexit__(None, None, None)


async def test_a_folder_reads_parts_and_forgets(tmp_path: Path) -> None:
    """Bytes from the middle; a removed name is gone, and its empty folders with it."""
    folder = Folder(tmp_path)
    async with folder.writing() as incoming:
        await incoming.write(b"0123456789")
        await incoming.keep("logs/a/b/1/x.log")
    assert [piece async for piece in folder.read("logs/a/b/1/x.log", 2, 3)] == [b"234"]
    assert await folder.size("logs/a/b/1/x.log") == 10
    assert await folder.size("logs/a/b/1/x.log/y") is None
    now = datetime.now(UTC)
    assert await forget_logs(folder, now - timedelta(days=1)) == 0
    assert await forget_logs(folder, now + timedelta(days=1)) == 1
    assert await folder.entries("logs/") == []
    assert not (tmp_path / "logs").exists()
    await folder.remove("logs/a/b/1/x.log")


def test_tokens_allow_one_thing_only() -> None:
    """Another key, digest, namespace or purpose is another token."""
    key, digest = b"k" * 32, f"sha256:{'1' * 64}"
    made = [
        tokens.get_token(key, digest),
        tokens.get_token(b"l" * 32, digest),
        tokens.proof(key, "a", digest),
        tokens.proof(key, "b", digest),
        tokens.put_logs_token(key, "a"),
        tokens.logs_token(key, "a"),
    ]
    assert len({*made}) == len(made)
    assert tokens.same(made[0], tokens.get_token(key, digest))
    assert not tokens.same(made[0], "\udcff")
