"""The bundles: taken in once, counted for each namespace that has sent them.

Names in the backend: `bundles/<2 hex>/<hex>` holds an archive, `claims/<namespace>/<hex>` is empty
and says that the namespace has sent it. Content is shared between namespaces, knowledge is not:
who only knows a digest must send the content to get it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from runyard.bundles import names
from runyard.bundles.guard import human
from runyard.bundles.names import Location, Refusal
from runyard_operator.storage.backend import Backend, Incoming, NoSpaceError
from runyard_operator.storage.refusals import RefusedError
from runyard_operator.storage.verify import ContentError, Verifier

BUNDLES: Final = "bundles/"
CLAIMS: Final = "claims/"
RESERVE_BYTES: Final = 16_000_000
"""Kept free, so that a full disk can still be worked on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bytes of one archive, of what it unpacks to, and of all archives of one namespace."""

    bundle: int = 2_000_000_000
    content: int = 10_000_000_000
    namespace: int = 10_000_000_000


def bundle_name(digest: str) -> str:
    """Where the archive of a digest lies."""
    digits = digest.removeprefix("sha256:")
    return f"{BUNDLES}{digits[:2]}/{digits}"


def claim_name(namespace: str, digest: str) -> str:
    """What says that a namespace has sent it."""
    return f"{CLAIMS}{namespace}/{digest.removeprefix('sha256:')}"


class Depot:
    """Takes bundles in and tells what there is.

    Args:
        backend: where they lie.
        limits: what is refused.
        wait: seconds for which a silent sender is waited for.
    """

    def __init__(self, backend: Backend, limits: Limits, wait: float = 60.0) -> None:
        self.backend = backend
        self.lock = asyncio.Lock()
        """Held while names change hands: the sweep looks and removes under it."""
        self._limits = limits
        self._wait = wait

    async def size(self, digest: str) -> int | None:
        """The bytes of an archive; None when there is none."""
        return await self.backend.size(bundle_name(digest))

    async def claimed(self, namespace: str, digest: str) -> int | None:
        """The bytes of an archive that this namespace has sent before, which counts as now."""
        async with self.lock:
            size = await self.size(digest)
            if size is None or await self.backend.size(claim_name(namespace, digest)) is None:
                return None
            await self._mark(namespace, digest)
            return size

    async def check(self, namespace: str, digest: str, size: int) -> None:
        """Whether so many bytes would be taken.

        Raises:
            RefusedError: they belong into ConfigMaps, or there is no room.
        """
        if names.location(size) is not Location.STORE:
            raise RefusedError(
                400, Refusal.CONTENT, f"{human(size)} belong into ConfigMaps, not into the store"
            )
        if size > self._limits.bundle:
            raise RefusedError(
                413,
                Refusal.CONTENT,
                f"the code takes {human(size)} (compressed) and at most"
                f" {human(self._limits.bundle)} are taken: leave out what is no code, by"
                " .runyardignore",
            )
        await self._check_cap(namespace, digest, size)
        free = await self.backend.free()
        if free is not None and free - RESERVE_BYTES < size:
            raise _full(size)

    async def _check_cap(self, namespace: str, digest: str, size: int) -> None:
        used = {name: count for name, count in await self.usage(namespace) if name != digest}
        total = sum(used.values())
        if total + size <= self._limits.namespace:
            return
        biggest = sorted(used.items(), key=lambda pair: -pair[1])[:5]
        listed = ", ".join(f"{names.manifest_name(name)} ({human(n)})" for name, n in biggest)
        raise RefusedError(
            413,
            Refusal.FULL,
            f"the code of the namespace {namespace} takes {human(total)} of"
            f" {human(self._limits.namespace)}, and {human(size)} more do not fit: delete"
            f" experiments that need the old code no more; within about an hour its room is free."
            f" The biggest are {listed or 'none'}; see runyard code list",
        )

    async def usage(self, namespace: str) -> list[tuple[str, int]]:
        """The bundles of a namespace and their bytes."""
        prefix = f"{CLAIMS}{namespace}/"
        digests = [
            f"sha256:{each.name.removeprefix(prefix)}"
            for each in await self.backend.entries(prefix)
        ]
        return [(digest, await self.size(digest) or 0) for digest in digests]

    async def receive(
        self,
        namespace: str,
        digest: str,
        size: int,
        read: Callable[[], AsyncIterator[bytes]],
    ) -> int:
        """Takes an archive in; the bytes of the one that is kept.

        Raises:
            RefusedError: there is no room, or the content is not what it should be.
        """
        await self.check(namespace, digest, size)
        try:
            async with self.backend.writing() as incoming:
                await self._take(incoming, digest, size, read)
                async with self.lock:
                    return await self._keep(incoming, namespace, digest, size)
        except NoSpaceError as error:
            raise _full(size) from error

    async def _take(
        self, incoming: Incoming, digest: str, size: int, read: Callable[[], AsyncIterator[bytes]]
    ) -> None:
        verifier = Verifier(self._limits.content)
        count = 0
        try:
            pieces = read()
            while True:
                async with asyncio.timeout(self._wait):
                    piece = await anext(pieces, b"")
                if not piece:
                    break
                count += len(piece)
                if count > size:
                    raise ContentError(f"more than the {size} bytes that were announced came")
                await incoming.write(piece)
                await asyncio.to_thread(verifier.update, piece)
            if count < size:
                raise ContentError(f"only {count} of {size} bytes came")
            found = await asyncio.to_thread(verifier.finish)
            if found != digest:
                raise ContentError(f"its content has the digest {found}, not {digest}")
        except ContentError as error:
            raise RefusedError(422, Refusal.CONTENT, f"the code is refused: {error}") from error
        except TimeoutError as error:
            raise RefusedError(
                408, Refusal.CONTENT, f"nothing came for {self._wait:g} seconds: push again"
            ) from error

    async def _keep(self, incoming: Incoming, namespace: str, digest: str, size: int) -> int:
        there = await self.size(digest)
        # Again, and alone: others of the namespace may have come meanwhile.
        await self._check_cap(namespace, digest, there or size)
        if there is None:
            await incoming.keep(bundle_name(digest))
        await self._mark(namespace, digest)
        return there or size

    async def _mark(self, namespace: str, digest: str) -> None:
        async with self.backend.writing() as empty:
            await empty.keep(claim_name(namespace, digest))


def _full(size: int) -> RefusedError:
    return RefusedError(
        507,
        Refusal.DISK_FULL,
        f"the disk of the code store is full: there is no room for {human(size)}. Ask the"
        " administrator of Runyard for a bigger volume (the chart's value bundleStore.size)",
    )
