"""Archived logs in a real S3 server, behind the store's own address."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from runyard_operator.flags import UsageError
from runyard_operator.logs.store import SinkError, StoreSink
from runyard_operator.storage import s3 as s3_module
from runyard_operator.storage.refusals import RefusedError
from runyard_operator.storage.s3 import S3Logs, from_environ
from tests.support.logstore import KEY, log_store
from tests.support.s3 import S3, s3_server

pytestmark = pytest.mark.integration

SETTINGS = {"RUNYARD_LOG_ARCHIVE_TYPE": "s3", "RUNYARD_LOG_ARCHIVE_BUCKET": "logs"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A server with the bucket `logs`."""
    with s3_server(tmp_path_factory.mktemp("s3"), "logs") as running:
        yield running


@pytest.fixture
def place(server: S3) -> S3Logs:
    """The bucket as the store's environment names it."""
    return bucket(server)


def bucket(server: S3, **more: str) -> S3Logs:
    keys = {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": more.pop("secret", server.secret_key),
    }
    where = {"ENDPOINT": server.endpoint, "REGION": server.region, "PREFIX": "/team-logs/", **more}
    environ = (
        SETTINGS | keys | {f"RUNYARD_LOG_ARCHIVE_{key}": value for key, value in where.items()}
    )
    found = from_environ(environ)
    assert found is not None
    return found


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 100_000):
        yield data[at : at + 100_000]


@pytest.mark.parametrize("size", [0, 17, 3 * s3_module.PART_BYTES + 5])
async def test_what_is_put_is_in_the_bucket_and_comes_back(
    size: int, place: S3Logs, server: S3, tmp_path: Path
) -> None:
    """In one part or in several, whole or from a byte on; the object is a plain file."""
    data = random.Random(size).randbytes(size)
    name = f"team/uid-1/1/log-{size}"
    async with log_store(tmp_path, None, place) as url:
        sink = StoreSink(url, KEY)
        stored = await sink.put(name, pieces(data))
        assert (stored.size, stored.digest) == (size, f"sha256:{sha256(data).hexdigest()}")
        assert await sink.get(name) == data
        assert await sink.get("team/uid-1/1/none") is None
        await sink.close()
    assert (server.buckets / "logs" / "team-logs" / "logs" / name).read_bytes() == data
    start = max(size - 9, 0)
    rest = [piece async for piece in place.read(f"logs/{name}", start, size - start)]
    assert b"".join(rest) == data[start:]


async def test_a_log_that_breaks_off_leaves_nothing(
    place: S3Logs, server: S3, tmp_path: Path
) -> None:
    """Neither the object nor parts of it; and a second try of the same name replaces the first."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        raise OSError("the pod's log broke off")

    async with log_store(tmp_path, None, place) as url:
        sink = StoreSink(url, KEY)
        with pytest.raises(OSError, match="broke off"):
            await sink.put("team/uid-2/1/log", broken())
        assert await sink.get("team/uid-2/1/log") is None
        for content in (b"first", b"second"):
            await sink.put("team/uid-2/1/log", pieces(content))
        assert await sink.get("team/uid-2/1/log") == b"second"
        await sink.close()
    listed = await place.entries("logs/team/uid-2/")
    assert [(each.name, each.size) for each in listed] == [("logs/team/uid-2/1/log", 6)]
    await place.remove("logs/team/uid-2/1/log")
    assert await place.size("logs/team/uid-2/1/log") is None


async def test_a_bucket_that_refuses_is_told_in_its_own_words(server: S3, tmp_path: Path) -> None:
    """Wrong keys and a bucket that is not there; the operator tries again later."""
    for wrong, said in (
        ({"secret": "wrong"}, "signature|Signature"),
        ({"BUCKET": "none"}, "bucket"),
    ):
        place = bucket(server, **wrong)
        async with log_store(tmp_path, None, place) as url:
            sink = StoreSink(url, KEY)
            with pytest.raises(SinkError, match=said):
                await sink.put("team/uid-3/1/log", pieces(b"text"))
            await sink.close()


async def test_a_server_that_is_away_is_no_missing_log(
    server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not known what the bucket has, and that is what is said."""
    monkeypatch.setattr(s3_module, "_RETRIES", 0)
    away = bucket(server, ENDPOINT="http://127.0.0.1:9")
    with pytest.raises(RefusedError, match="bucket of the logs"):
        await away.size("logs/x")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"RUNYARD_LOG_ARCHIVE_TYPE": "s3"}, "name the bucket"),
        (SETTINGS | {"RUNYARD_LOG_ARCHIVE_ENDPOINT": "minio:9000"}, "is no URL"),
    ],
)
def test_unusable_settings_are_refused(settings: dict[str, Any], said: str) -> None:
    """With what to do."""
    with pytest.raises(UsageError, match=said):
        from_environ(settings)
    assert from_environ({"RUNYARD_LOG_ARCHIVE_TYPE": "store"}) is None
