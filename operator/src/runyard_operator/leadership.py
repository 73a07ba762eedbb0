"""Holds the Lease, and ends the process rather than let it act without."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, NoReturn, Protocol

from runyard_operator.kube.api import Object
from runyard_operator.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from runyard_operator.kube.resources import Ref
from runyard_operator.lease import Record, Sighting, Terms, claimed, released, vacant

logger = logging.getLogger(__name__)

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_clock() -> float:
    """Seconds that never step; where the kernel can, they go on while the machine is suspended."""
    return time.clock_gettime(_CLOCK)


def end_process(why: str) -> NoReturn:
    """Ends the process at once, with exit code 1: no handler, no finalizer, no last write."""
    logger.critical("The lease is lost, so this process ends: %s", why)
    os._exit(1)


class NotLeadingError(RuntimeError):
    """A process that never led, or has given the lease back, was about to write."""


class LeaseApi(Protocol):
    """The part of `KubeApi` that a lease needs."""

    async def get(self, ref: Ref) -> Object | None: ...

    async def create(self, manifest: Object) -> Object: ...

    async def replace(self, manifest: Object) -> Object: ...

    async def close(self) -> None: ...


class Leadership:
    """One candidate for the lease.

    Args:
        api: the API server, best over connections of its own: a renewal must not stand in line.
        ref: the Lease.
        identity: of this process; no other process, not even its next life, may have the same.
        now: the wall clock.
        terms: the durations.
        clock: seconds that never step.
        end: ends the process, for the given reason.
    """

    def __init__(
        self,
        api: LeaseApi,
        ref: Ref,
        identity: str,
        *,
        now: Callable[[], datetime],
        terms: Terms | None = None,
        clock: Callable[[], float] = boot_clock,
        end: Callable[[str], NoReturn] = end_process,
    ) -> None:
        self._api = api
        self._ref = ref
        self._identity = identity
        self._now = now
        self._terms = terms or Terms()
        self._clock = clock
        self._end = end
        self._sighting = Sighting()
        self._stored: Object | None = None
        self._until: float | None = None
        self._tried = clock()
        self._trouble = ""
        self._wrote = False
        self._led = asyncio.Event()
        self.transitions = 0
        self.seen = False

    @property
    def leading(self) -> bool:
        """Whether this process may act at this moment."""
        return self._until is not None and self._clock() < self._until

    @property
    def epoch(self) -> int:
        """Which leadership this is: above that of every leader before. 0 while there is none."""
        return self.transitions if self._until is not None else 0

    def check(self) -> None:
        """Stands before each write: ends the process when its lease may have run out.

        Raises:
            NotLeadingError: this process does not lead, which is a mistake of the caller's.
        """
        if self._until is None:
            raise NotLeadingError("only the leader writes")
        if self._clock() >= self._until:
            self._end("it was not renewed in time")

    def since_try(self) -> float:
        """Seconds since the lease was last looked at or renewed, with or without success."""
        return self._clock() - self._tried

    async def acquire(self, waiting: Callable[[], None] = lambda: None) -> None:
        """Returns once this process leads.

        Args:
            waiting: is called after each look that left the lease with somebody else.
        """
        while not await self._attempt():
            waiting()
            await asyncio.sleep(self._terms.look)
        logger.info("Leading", extra={"epoch": self.epoch, "identity": self._identity})

    async def renew(self) -> None:
        """Renews for ever, once this process leads."""
        pause = self._terms.renew
        while True:
            await asyncio.sleep(pause)
            pause = self._terms.renew if await self._attempt() else self._terms.again

    async def keep_time(self) -> None:
        """Ends the process at the moment when its time is up; runs for ever, from the start on.

        Apart from the renewals: whatever becomes of a request, the time is kept.
        """
        await self._led.wait()
        while self._until is not None:
            await asyncio.sleep(max(self._until - self._clock(), 0.0))
            if not self.leading:
                self.check()

    async def release(self) -> None:
        """Gives the lease back, after the last write of a process that ends in good order.

        `acquire`, `renew` and `keep_time` must have ended. When it fails, the others wait until
        the time is up.
        """
        self._until = None
        if not self._wrote:
            return
        try:
            async with asyncio.timeout(self._terms.patience):
                # Read afresh: the answer to the last write may not have come.
                found = await self._api.get(self._ref)
                if found is not None and Record.of(found).holder == self._identity:
                    await self._api.replace(released(found, self._now()))
                    logger.info("The lease is given back")
        except (KubeError, TimeoutError) as error:
            logger.warning("The lease could not be given back: %s", _told(error))

    async def close(self) -> None:
        """Closes the connections."""
        await self._api.close()

    async def step(self) -> bool:
        """One try to get or to keep the lease; whether this process leads by it.

        Raises:
            KubeError: the API server refused, or gave no answer: the outcome is not known.
        """
        if self._until is not None:
            self.check()
            if self._stored is not None:
                return await self._write(self._stored)
        asked = self._clock()
        found = await self._api.get(self._ref)
        answered = self._clock()
        if found is None:
            await self._make()
            return False
        record = Record.of(found)
        self.transitions = max(self.transitions, record.transitions)
        # It may be ours without our knowing: an answer was lost.
        if record.holder != self._identity:
            if self._until is not None:
                self._end(f"{record.holder or 'nobody'} holds it")
            if not self._sighting.free(record, asked=asked, answered=answered, terms=self._terms):
                return False
        return await self._write(found)

    async def _make(self) -> None:
        if self._until is not None:
            self._end("somebody has deleted it")
        new = vacant(self._ref, self._now(), self._terms, transitions=self.transitions)
        with contextlib.suppress(AlreadyExists):
            await self._api.create(new)

    async def _write(self, stored: Object) -> bool:
        """Writes our name; False when somebody else has written meanwhile."""
        self._stored, self._wrote = None, True
        mine = claimed(stored, self._identity, self._now(), self._terms)
        sent = self._clock()
        try:
            answer = await self._api.replace(mine)
        except (Conflict, NotFound):
            # Perhaps it was we, and the answer was lost: the next look tells.
            return False
        self._stored = answer
        self.transitions = Record.of(answer).transitions
        self._until = sent + self._terms.valid
        self._led.set()
        return True

    async def _attempt(self) -> bool:
        """As `step`, within bounds; False when it is not known how it went."""
        try:
            async with asyncio.timeout(self._terms.patience):
                done = await self.step()
        except (KubeError, TimeoutError) as error:
            self._note(_told(error))
            done = False
        else:
            self._note("")
            self.seen = True
        self._tried = self._clock()
        return done

    def _note(self, trouble: str) -> None:
        """Tells of trouble once, and not every second."""
        if trouble and trouble != self._trouble:
            logger.warning("The lease could not be read or written: %s", trouble)
        self._trouble = trouble


def _told(error: Exception) -> str:
    return str(error) or "no answer in time"
