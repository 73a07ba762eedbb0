"""The archive's place: the code store's Service, or an S3 bucket behind the same Service."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

import aiohttp

from runyard_operator.bundles import tokens

CONNECT_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 120.0
"""The store may have to write a whole part to S3 before it takes more."""


class SinkError(Exception):
    """The archive did not take or give something; the message says why. It may work later."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file as the archive has it."""

    size: int
    digest: str


class Sink(Protocol):
    """Where logs are kept."""

    async def put(self, path: str, pieces: AsyncIterator[bytes]) -> Stored:
        """Keeps a file, in place of what was there. An error of `pieces` leaves nothing behind.

        Raises:
            SinkError: it was not kept.
        """
        ...

    async def get(self, path: str) -> bytes | None:
        """A small file; None when there is none.

        Raises:
            SinkError: that is not known.
        """
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...


class StoreSink:
    """See `Sink`.

    Args:
        url: of the store, for example http://runyard-store.runyard-system.svc:8080.
        key: shared with the store.
    """

    def __init__(self, url: str, key: bytes) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._session: aiohttp.ClientSession | None = None

    async def put(self, path: str, pieces: AsyncIterator[bytes]) -> Stored:
        digest, failures = sha256(), []

        async def body() -> AsyncIterator[bytes]:
            try:
                async for piece in pieces:
                    if piece:
                        digest.update(piece)
                        yield piece
            except Exception as error:
                failures.append(error)
                raise

        headers = {tokens.HEADER: tokens.put_logs_token(self._key, path)}
        try:
            async with self._open().put(
                f"{self._url}/v1/logs/{path}", data=body(), headers=headers
            ) as answer:
                data = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if failures:
                raise failures[0] from None
            raise SinkError(f"the archive does not answer: {_said(error)}") from error
        if failures:
            raise failures[0]
        if answer.status >= 300:
            raise SinkError(_refusal(answer.status, data))
        said = json.loads(data)
        found = f"sha256:{digest.hexdigest()}"
        if said["digest"] != found:
            raise SinkError(f"the archive has {said['digest']} of {path}, what was sent is {found}")
        return Stored(int(said["sizeBytes"]), found)

    async def get(self, path: str) -> bytes | None:
        namespace = path.partition("/")[0]
        headers = {tokens.HEADER: tokens.logs_token(self._key, namespace)}
        try:
            async with self._open().get(f"{self._url}/v1/logs/{path}", headers=headers) as answer:
                data = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SinkError(f"the archive does not answer: {_said(error)}") from error
        if answer.status == 404:
            return None
        if answer.status >= 300:
            raise SinkError(_refusal(answer.status, data))
        return data

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _refusal(status: int, data: bytes) -> str:
    try:
        message = str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        message = data[:200].decode("utf-8", "replace").strip() or "no message"
    return f"the archive refuses ({status}): {message}"
