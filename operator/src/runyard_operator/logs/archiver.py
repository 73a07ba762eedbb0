"""Copies the logs of attempts that are over to the archive, in the background."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from runyard.api.constants import LABEL_ATTEMPT, LABEL_UNIT_UID
from runyard.api.unit import LogArchive
from runyard_operator.kube.api import KubeApi, Object
from runyard_operator.kube.errors import Forbidden, Invalid, KubeError, NotFound
from runyard_operator.kube.resources import Ref
from runyard_operator.logs import plan
from runyard_operator.logs.plan import Kept, Packer, Source, Subject
from runyard_operator.logs.store import Sink, SinkError
from runyard_operator.logs.token import ForeignConfigMapError, Tokens

logger = logging.getLogger(__name__)

STREAMS: Final = 4
"""Logs that are copied at once. Each takes some MiB of memory."""
TRIES: Final = 5
"""For a log that comes incomplete, before it is kept as it is."""
PATIENCE_SECONDS: Final = 3600.0
"""How long an archive that does not work is tried."""
BACKOFF_SECONDS: Final = (2.0, 5.0, 15.0, 30.0, 60.0)
MAX_RESULTS: Final = 10_000
# What the kubelet says, with status 200, in place of a log whose file has gone.
NO_FILE: Final = (b"unable to retrieve container logs for ", b"failed to try resolving symlinks in")

Key = tuple[str, int]
"""The unit's uid and the attempt."""


class _Incomplete(Exception):  # noqa: N818 - never leaves this module
    """The stream ended before the log did."""


class _NoLog(Exception):  # noqa: N818
    """There is no log, and there will be none; the message says why."""


class Archiver:
    """Keeps logs, each attempt's once.

    A restart forgets what was asked for: whoever asks again gets what the archive has already, or
    the copying is repeated under the same names.

    Args:
        kube: where the logs are.
        sink: where they go.
        location: what to call the folder of an attempt, for people: folder -> address.
        tokens: lets the users of a namespace read what is kept of it.
        done: is told when there is a result to ask for.
        now: the wall clock.
        streams: how many logs are copied at once.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        kube: KubeApi,
        sink: Sink,
        *,
        location: Callable[[str], str],
        tokens: Tokens,
        done: Callable[[Subject], None],
        now: Callable[[], datetime],
        streams: int = STREAMS,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._kube = kube
        self._sink = sink
        self._location = location
        self._tokens = tokens
        self._done = done
        self._now = now
        self._sleep = sleep
        self._slots = asyncio.Semaphore(streams)
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._results: dict[Key, LogArchive] = {}

    def request(self, subject: Subject, pods: Sequence[Object] = ()) -> None:
        """Asks for the logs of an attempt that is over; asking again changes nothing.

        `pods` are those that are known: such as are gone by now are named as missing.
        """
        key = subject.uid, subject.attempt
        if key in self._tasks or key in self._results:
            return
        task = asyncio.create_task(self._work(subject, list(pods)), name=f"logs {subject.folder}")
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._tasks.pop(key, None))

    def result(self, uid: str, attempt: int) -> LogArchive | None:
        """What became of it; None while it is under way, or when nobody has asked."""
        return self._results.get((uid, attempt))

    def forget(self, uid: str, attempt: int) -> None:
        """The result has been written down."""
        self._results.pop((uid, attempt), None)

    async def close(self) -> None:
        """Ends all copying; what is half done leaves nothing behind."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sink.close()

    async def _work(self, subject: Subject, pods: list[Object]) -> None:
        result = await self._try_for_long(subject, pods)
        if len(self._results) >= MAX_RESULTS:  # nobody asks for the oldest any more
            self._results.pop(next(iter(self._results)))
        self._results[subject.uid, subject.attempt] = result
        self._done(subject)

    async def _try_for_long(self, subject: Subject, pods: list[Object]) -> LogArchive:
        waited, tries = 0.0, 0
        while True:
            try:
                return await self._archive(subject, pods)
            except (SinkError, KubeError) as error:
                if waited >= PATIENCE_SECONDS:
                    logger.error("The logs of %s are not kept: %s", subject.folder, error)
                    return LogArchive(location="", message=f"not kept: {error}"[: plan.MAX_MESSAGE])
                logger.warning("The logs of %s cannot be kept yet: %s", subject.folder, error)
            seconds = BACKOFF_SECONDS[min(tries, len(BACKOFF_SECONDS) - 1)]
            await self._sleep(seconds)
            waited, tries = waited + seconds, tries + 1

    async def _archive(self, subject: Subject, known: list[Object]) -> LogArchive:
        unreadable = await self._let_read(subject.namespace)
        path = f"{subject.folder}/{plan.MANIFEST}"
        earlier = await self._sink.get(path)
        if earlier is not None:  # an operator before this one has done it
            return self._described(subject, earlier, unreadable)
        there = await self._pods(subject)
        problems = plan.missing(subject, known, there)
        wanted = plan.sources(there)
        async with asyncio.TaskGroup() as group:
            copies = [group.create_task(self._guarded(subject, each)) for each in wanted]
        results = [each.result() for each in copies]
        for each in results:
            if isinstance(each, Exception):
                raise each
        kept = [each for each in results if isinstance(each, Kept)]
        if not kept:
            said = "; ".join(problems) or "no container has run, so there is no log"
            return LogArchive(location="", message=said[: plan.MAX_MESSAGE])
        data = plan.manifest(subject, kept, problems, f"{self._now():%Y-%m-%dT%H:%M:%SZ}")
        await self._sink.put(path, _once(data))
        return self._described(subject, data, unreadable)

    async def _let_read(self, namespace: str) -> list[str]:
        try:
            await self._tokens.give(namespace)
        except ForeignConfigMapError as error:
            return [f"users cannot read it: {error}"]
        return []

    def _described(self, subject: Subject, data: bytes, unreadable: list[str]) -> LogArchive:
        document: Mapping[str, Any] = json.loads(data)
        files = document["files"]
        said = [*unreadable, *document["problems"]]
        said += [f"{each['name']}: {each['problem']}" for each in files if each["problem"]]
        return LogArchive(
            location=self._location(subject.folder),
            size_bytes=sum(each["sizeBytes"] for each in files),
            digest=f"sha256:{sha256(data).hexdigest()}",
            message="; ".join(said)[: plan.MAX_MESSAGE] or None,
        )

    async def _pods(self, subject: Subject) -> list[Object]:
        selector = f"{LABEL_UNIT_UID}={subject.uid},{LABEL_ATTEMPT}={subject.attempt}"
        return await self._kube.list(
            "v1", "Pod", namespace=subject.namespace, label_selector=selector
        )

    async def _guarded(self, subject: Subject, source: Source) -> Kept | SinkError | KubeError:
        """As `_copy`; an error is returned, so that other copies come to their end."""
        try:
            async with self._slots:
                return await self._copy(subject, source)
        except (SinkError, KubeError) as error:
            return error

    async def _copy(self, subject: Subject, source: Source) -> Kept:
        """Copies one log; what cannot be had is told in the result.

        Raises:
            SinkError: the archive does not take it.
            KubeError: the API server does not give it; perhaps later.
        """
        for attempt in range(1, TRIES + 1):
            packer = Packer()
            last = attempt == TRIES
            body = self._compressed(subject, source, packer, strict=not last)
            try:
                async with aclosing(body) as pieces:
                    await self._sink.put(f"{subject.folder}/{source.file}", pieces)
            except _NoLog as none:
                return Kept(source=source, problem=str(none))
            except _Incomplete:
                await self._sleep(BACKOFF_SECONDS[0])
                continue
            kept = Kept(
                source=source,
                size=packer.size,
                stored=packer.stored,
                sha256=packer.sha256,
                lines=packer.lines,
                first=packer.first,
                last=packer.last,
                blocks=packer.blocks,
            )
            if last:
                said = "the log came shorter each time than its last line says: its end is missing"
                return replace(kept, truncated=True, problem=said)
            return kept
        raise AssertionError("the last try returns or raises")

    async def _compressed(
        self, subject: Subject, source: Source, packer: Packer, *, strict: bool
    ) -> AsyncGenerator[bytes]:
        """The log as a file; with `strict`, an error where it is not complete."""
        ref = Ref("v1", "Pod", source.pod, subject.namespace)
        try:
            async with aclosing(_stream(self._kube, ref, source)) as pieces:
                async for piece in pieces:
                    yield await asyncio.to_thread(packer.feed, piece)
        except NotFound:
            raise _NoLog("the pod was gone before its log was read") from None
        except Forbidden as error:
            raise _NoLog(f"the operator may not read it: {error}") from None
        except Invalid as error:
            raise _NoLog(f"there is none: {error}") from None
        out = packer.finish()
        if packer.lines == 1 and packer.last_line.startswith(NO_FILE):
            raise _NoLog("the node had no log of it any more")
        if strict and not await self._complete(ref, source, packer):
            raise _Incomplete
        yield out

    async def _complete(self, ref: Ref, source: Source, packer: Packer) -> bool:
        """Whether the last line is the log's: a server that is stopping ends streams early."""
        try:
            text = await self._kube.pod_log(
                ref, container=source.container, tail_lines=1, limit_bytes=plan.LAST_BYTES // 2
            )
        except NotFound:
            return False
        ours = packer.last_line.decode("utf-8", "replace")
        ours = ours.partition(" ")[2] if plan.stamp_of(packer.last_line) else ours
        theirs = text.removesuffix("\n")
        # Cut off in the middle of a character, both end with something else.
        least = min(len(ours), len(theirs)) if len(text) > plan.LAST_BYTES // 8 else None
        return ours == theirs if least is None else ours[: least - 4] == theirs[: least - 4]


async def _once(data: bytes) -> AsyncGenerator[bytes]:
    yield data


async def _stream(kube: KubeApi, ref: Ref, source: Source) -> AsyncGenerator[bytes]:
    async for piece in kube.stream_pod_log(ref, container=source.container):
        yield piece
