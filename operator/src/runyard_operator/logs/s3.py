"""Archived logs in a bucket of S3, or of a server that speaks the same protocol.

It is a back end of the code store: the store has the bucket's keys, and the operator and the users
come to it as they do when the logs lie on its volume. boto3 does the signing, the retries and the
checksums of what is sent; it blocks, so its calls run in threads.
"""

from __future__ import annotations

import asyncio
import errno
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, TypeVar
from urllib.parse import urlsplit

from runyard.bundles.names import Refusal
from runyard_operator.config import UsageError
from runyard_operator.storage.backend import Entry, NoSpaceError
from runyard_operator.storage.refusals import RefusedError

T = TypeVar("T")
PART_BYTES: Final = 8 << 20
"""What is longer is sent in parts of so many bytes; boto3 makes them longer where 10,000 would
not do."""
_PIECE: Final = 1 << 18
_TRIES: Final = 5
_CONNECT_SECONDS: Final = 10
_READ_SECONDS: Final = 60


class S3Logs:
    """See `storage.backend.Backend`.

    Args:
        client: boto3's client for S3.
        prefix: goes before every name; it may be empty, or ends with `/`.
        folder: for what is on its way.
    """

    def __init__(
        self, client: Any, bucket: str, prefix: str = "", folder: Path | None = None
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._folder = folder

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[_Upload]:
        upload = _Upload(self._client, self._bucket, self._prefix, self._folder)
        try:
            yield upload
        finally:
            upload.close()

    async def read(self, name: str, start: int, count: int) -> AsyncIterator[bytes]:
        if count < 1:
            return
        wanted = f"bytes={start}-{start + count - 1}"
        found = await self._call("get_object", name, Range=wanted)
        if found is None:
            raise FileNotFoundError(name)
        body = found["Body"]
        try:
            while piece := await asyncio.to_thread(body.read, _PIECE):
                yield piece
        finally:
            await asyncio.to_thread(body.close)

    async def size(self, name: str) -> int | None:
        found = await self._call("head_object", name)
        return None if found is None else int(found["ContentLength"])

    async def entries(self, prefix: str) -> list[Entry]:
        return await _threaded(lambda: sorted(self._list(prefix), key=lambda e: e.name))

    def _list(self, prefix: str) -> Iterator[Entry]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=f"{self._prefix}{prefix}"
        )
        for page in pages:
            for each in page.get("Contents") or []:
                name = each["Key"].removeprefix(self._prefix)
                yield Entry(name, int(each["Size"]), each["LastModified"].astimezone(UTC))

    async def remove(self, name: str) -> None:
        await self._call("delete_object", name)

    async def free(self) -> int | None:
        return None

    async def _call(self, method: str, name: str, **more: Any) -> Any:
        """The answer; None where there is nothing of that name."""
        call = partial(getattr(self._client, method), Bucket=self._bucket, **more)
        return await _threaded(lambda: call(Key=f"{self._prefix}{name}"))


async def _threaded(call: Callable[[], T]) -> T | Any:
    """What `call` returns; None for what the bucket does not have.

    Raises:
        RefusedError: the bucket does not do it.
    """
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return await asyncio.to_thread(call)
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code = error.response.get("Error", {}).get("Code")
        if status == 404 and code != "NoSuchBucket":
            return None
        raise RefusedError(502, Refusal.NO_ANSWER, f"the bucket of the logs: {error}") from error
    except (BotoCoreError, S3UploadFailedError) as error:
        raise RefusedError(502, Refusal.NO_ANSWER, f"the bucket of the logs: {error}") from error


class _Upload:
    """See `storage.backend.Incoming`. S3 wants the name first and the store tells it last, so what
    comes lies in a file without a name meanwhile."""

    def __init__(self, client: Any, bucket: str, prefix: str, folder: Path | None) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115

    async def write(self, data: bytes) -> None:
        try:
            await asyncio.to_thread(self._file.write, data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpaceError(str(error)) from error
            raise

    async def keep(self, name: str) -> None:
        await _threaded(lambda: self._send(f"{self._prefix}{name}"))

    def _send(self, key: str) -> None:
        from boto3.s3.transfer import TransferConfig

        size = self._file.tell()
        self._file.seek(0)
        self._client.upload_fileobj(
            self._file,
            self._bucket,
            key,
            ExtraArgs={"ChecksumAlgorithm": "SHA256"},
            Config=TransferConfig(
                multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=2
            ),
        )
        # upload_fileobj closes the file.
        found = self._client.head_object(Bucket=self._bucket, Key=key)["ContentLength"]
        if found != size:
            raise RefusedError(
                502, Refusal.NO_ANSWER, f"the bucket has {found} bytes of {key}, {size} were sent"
            )

    def close(self) -> None:
        """Lets go of what was not kept."""
        self._file.close()


def from_environ(environ: Mapping[str, str], folder: Path | None = None) -> S3Logs | None:
    """The bucket that RUNYARD_LOG_ARCHIVE_* name; None where the type is not s3.

    Keys come as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or by whatever else boto3 knows.

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
    endpoint = value["ENDPOINT"] or None
    if endpoint is not None and urlsplit(endpoint).scheme not in ("http", "https"):
        raise UsageError(f"logArchive.endpoint: {endpoint} is no URL such as https://minio:9000")
    try:
        from boto3.session import Session
        from botocore.config import Config
    except ImportError as error:
        raise UsageError(
            "logs in S3 need boto3: install runyard-operator[s3]; the published image has it"
        ) from error
    client = Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=value["REGION"] or "us-east-1",
        config=Config(
            retries={"mode": "standard", "max_attempts": _TRIES},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            # Other servers than Amazon's seldom have a host name for each bucket.
            s3={"addressing_style": "path" if endpoint else "auto"},
        ),
    )
    prefix = value["PREFIX"].strip("/")
    return S3Logs(client, value["BUCKET"], f"{prefix}/" if prefix else "", folder)
