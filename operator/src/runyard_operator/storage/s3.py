"""Archived logs in a bucket of S3, or of a server that speaks the same protocol.

It is a back end of the code store: the store has the bucket's keys, and the operator and the users
come to it as they do when the logs lie on its volume. obstore does the signing (of the content,
too), the checksums, the parts and the retries.
"""

from __future__ import annotations

import asyncio
import errno
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from runyard.bundles.names import Refusal
from runyard_operator.flags import UsageError
from runyard_operator.storage.backend import Entry, NoSpaceError
from runyard_operator.storage.refusals import RefusedError

PART_BYTES: Final = 8 << 20
"""What is longer is sent in parts of so many bytes. S3 takes 10,000 of them."""
_AT_ONCE: Final = 2
_PIECE: Final = 4 << 20
_RETRIES: Final = 4
_PART_SECONDS: Final = 120
_NO_BUCKET: Final = "NoSuchBucket"


class S3Logs:
    """See `storage.backend.Backend`.

    Args:
        store: the bucket, and the prefix of all names in it.
        folder: for what is on its way; the system's own for such things when None.
    """

    def __init__(self, store: S3Store, folder: Path | None = None) -> None:
        self._store = store
        self._folder = folder

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[_Upload]:
        upload = _Upload(self._store, self._folder)
        try:
            yield upload
        finally:
            upload.close()

    async def read(self, name: str, start: int, count: int) -> AsyncIterator[bytes]:
        while count > 0:
            length = min(_PIECE, count)
            with _told():
                piece = await obstore.get_range_async(self._store, name, start=start, length=length)
            yield bytes(piece)
            start, count = start + length, count - length

    async def size(self, name: str) -> int | None:
        try:
            with _told():
                found = await obstore.head_async(self._store, name)
        except FileNotFoundError:
            return None
        return found["size"]

    async def entries(self, prefix: str) -> list[Entry]:
        found: list[Entry] = []
        with _told():
            async for chunk in obstore.list(self._store, prefix=prefix.rstrip("/")):
                found += (
                    Entry(each["path"], each["size"], each["last_modified"].astimezone(UTC))
                    for each in chunk
                )
        return sorted(found, key=lambda each: each.name)

    async def remove(self, name: str) -> None:
        with _told():
            await obstore.delete_async(self._store, name)

    async def free(self) -> int | None:
        return None


class _Upload:
    """See `storage.backend.Incoming`. S3 wants the name first and the store tells it last, so what
    comes lies in a file without a name meanwhile."""

    def __init__(self, store: S3Store, folder: Path | None) -> None:
        self._store = store
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - see close

    async def write(self, data: bytes) -> None:
        try:
            await asyncio.to_thread(self._file.write, data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpaceError(str(error)) from error
            raise

    async def keep(self, name: str) -> None:
        size = self._file.tell()
        self._file.seek(0)
        with _told():
            await obstore.put_async(
                self._store,
                name,
                self._file,
                chunk_size=PART_BYTES,
                max_concurrency=_AT_ONCE,
            )
            found = (await obstore.head_async(self._store, name))["size"]
        if found != size:
            raise _refused(f"it has {found} bytes of {name}, {size} were sent")

    def close(self) -> None:
        """Lets go of what was not kept."""
        self._file.close()


@contextmanager
def _told() -> Iterator[None]:
    """Turns the bucket's errors into refusals that can be tried again.

    Raises:
        FileNotFoundError: the bucket has nothing of that name.
        RefusedError: anything else.
    """
    try:
        yield
    except FileNotFoundError as error:
        if _NO_BUCKET in str(error):
            raise _refused(str(error)) from error
        raise
    except (BaseError, PermissionError) as error:
        raise _refused(str(error)) from error


def _refused(said: str) -> RefusedError:
    # What obstore says goes on for lines, with its own innards at the end.
    text = " ".join(said.partition("Debug source:")[0].split())
    return RefusedError(502, Refusal.NO_ANSWER, f"the bucket of the logs: {text[:800]}")


def from_environ(environ: Mapping[str, str], folder: Path | None = None) -> S3Logs | None:
    """The bucket that RUNYARD_LOG_ARCHIVE_* name; None where the type is not s3.

    Keys come as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or by the pod's own identity.

    Args:
        environ: RUNYARD_LOG_ARCHIVE_TYPE, _BUCKET, _ENDPOINT, _PREFIX and _REGION.
        folder: for what is on its way; the system's own for such things when None.

    Raises:
        UsageError: the settings are no usable ones.
    """
    value = {
        name: environ.get(f"RUNYARD_LOG_ARCHIVE_{name}", "").strip()
        for name in ("TYPE", "BUCKET", "ENDPOINT", "PREFIX", "REGION")
    }
    if value["TYPE"] != "s3":
        return None
    if not value["BUCKET"]:
        raise UsageError("logArchive.type is s3, and logArchive.bucket is empty: name the bucket")
    endpoint = value["ENDPOINT"]
    if endpoint and urlsplit(endpoint).scheme not in ("http", "https"):
        raise UsageError(f"logArchive.endpoint: {endpoint} is no URL such as https://minio:9000")
    config = {
        "bucket": value["BUCKET"],
        "region": value["REGION"] or "us-east-1",
        "checksum_algorithm": "SHA256",
    }
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    config |= {key.lower(): environ[key] for key in keys if environ.get(key)}
    if endpoint:
        config["endpoint"] = endpoint
    store = S3Store(
        prefix=value["PREFIX"].strip("/") or None,
        config=config,  # type: ignore[arg-type]
        client_options={"timeout": f"{_PART_SECONDS}s", "allow_http": endpoint.startswith("http:")},
        retry_config={"max_retries": _RETRIES},
    )
    return S3Logs(store, folder)
