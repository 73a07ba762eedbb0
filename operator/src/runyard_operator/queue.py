"""The keyed work queue: client-go's semantics, with fairness between groups.

A key is in the queue at most once, no two workers ever hold the same key, and a key that is added
while a worker holds it comes again when that worker is done. `Schedule` decides all of this with
the time as an argument; `Queue` is the asyncio shell around it.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from runyard_operator.held import Held
from runyard_operator.kube.errors import Unavailable
from runyard_operator.logs_json import bound

logger = logging.getLogger(__name__)

BACKOFF_BASE: Final = 0.5
BACKOFF_CAP: Final = 300.0
REST_FACTOR: Final = 10.0
"""A run rests for this many times as long as it has kept the event loop to itself: a pass over an
experiment costs as much as it has members, and each member's news wants one."""
MIN_REST: Final = 0.02
MAX_REST: Final = 2.0
MAX_RESTING: Final = 1000
# Beyond this many failures the cap has long been reached; it keeps the power small.
_MAX_EXPONENT: Final = 16


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """The name of an object to reconcile."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


Worker = Callable[[Key], Awaitable[float | None]]
"""Reconciles one key and returns after how many seconds to come again, or None."""

Done = Callable[[Key, float, BaseException | None], None]
"""Is told of each finished run: its key, the seconds it took, and the error that ended it."""


class Schedule:
    """Which key is next. All times are seconds of one monotonic clock.

    Args:
        group: keys of one group stand in one line; the lines take turns.
        rng: for the jitter of the backoff.
    """

    def __init__(self, group: Callable[[Key], str], rng: random.Random) -> None:
        self._group = group
        self._rng = rng
        self._lines: OrderedDict[str, deque[Key]] = OrderedDict()
        self._dirty: dict[Key, float] = {}
        self._running: dict[Key, float] = {}
        self._due: dict[Key, float] = {}
        self._timers: list[tuple[float, Key]] = []
        self._failures: dict[Key, int] = {}
        self._resting: dict[Key, float] = {}
        self._ready = 0

    def add(self, key: Key, now: float) -> None:
        """Wants a run that begins after this moment."""
        if key in self._dirty:
            return
        rested = self._resting.get(key, now)
        if rested > now:
            self.add_at(key, rested)
            return
        self._resting.pop(key, None)
        self._dirty[key] = now
        if key not in self._running:
            self._line_up(key)

    def add_at(self, key: Key, when: float) -> None:
        """Adds the key at a time to come; of several wishes the earliest counts."""
        if when >= self._due.get(key, float("inf")):
            return
        self._due[key] = when
        heapq.heappush(self._timers, (when, key))

    def ripen(self, now: float) -> float | None:
        """Adds what is due by now; returns the time of the next timer, or None."""
        while self._timers:
            when, key = self._timers[0]
            if self._due.get(key) != when:
                heapq.heappop(self._timers)  # an earlier wish has replaced it
                continue
            if when > now:
                return when
            heapq.heappop(self._timers)
            del self._due[key]
            self.add(key, now)
        return None

    def take(self, now: float) -> Key | None:
        """Hands the next key to a worker, which must give it back with `done`."""
        if not self._lines:
            return None
        group, line = next(iter(self._lines.items()))
        key = line.popleft()
        if line:
            self._lines.move_to_end(group)
        else:
            del self._lines[group]
        self._ready -= 1
        del self._dirty[key]
        self._running[key] = now
        return key

    def done(
        self,
        key: Key,
        now: float,
        *,
        again: float | None = None,
        error: BaseException | None,
        rest: float = 0.0,
    ) -> None:
        """Takes a key back from its worker and plans its next run.

        Args:
            key: as `take` handed it out.
            now: the time of the end.
            again: seconds until the next run, after a success.
            error: what ended a run that failed; the next one comes after a backoff.
            rest: seconds for which others go first, whoever wants a run of the key.
        """
        del self._running[key]
        if rest >= MIN_REST:
            self._rest(key, now, rest)
        if key in self._dirty:
            self._line_up(key)
        if error is not None:
            self.add_at(key, now + self._backoff(key, error))
            return
        self._failures.pop(key, None)
        if again is not None:
            self.add_at(key, now + again)

    def due(self, key: Key) -> float | None:
        """The time of the key's timer, if it has one."""
        return self._due.get(key)

    @property
    def ready(self) -> int:
        """Number of keys that wait for a worker."""
        return self._ready

    @property
    def depth(self) -> int:
        """Number of keys that want a run now, those that a worker still holds included."""
        return len(self._dirty)

    @property
    def failing(self) -> int:
        """Number of keys whose last run failed."""
        return len(self._failures)

    def oldest_age(self, now: float) -> float:
        """Seconds that the longest waiting key has wanted a run."""
        return max((now - since for since in self._dirty.values()), default=0.0)

    def longest_run(self, now: float) -> float:
        """Seconds that the longest of the current runs has taken so far."""
        return max((now - since for since in self._running.values()), default=0.0)

    def _rest(self, key: Key, now: float, seconds: float) -> None:
        if len(self._resting) > MAX_RESTING:
            self._resting = {each: end for each, end in self._resting.items() if end > now}
        self._resting[key] = now + min(seconds, MAX_REST)
        if self._dirty.pop(key, None) is not None:
            self.add(key, now)

    def _line_up(self, key: Key) -> None:
        self._lines.setdefault(self._group(key), deque()).append(key)
        self._ready += 1

    def _backoff(self, key: Key, error: BaseException) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        ceiling = min(BACKOFF_BASE * 2.0 ** min(failures + 1, _MAX_EXPONENT), BACKOFF_CAP)
        # Full jitter: keys that failed together because the API server was away come back apart.
        wait = self._rng.uniform(BACKOFF_BASE, ceiling)
        if isinstance(error, Unavailable) and error.retry_after is not None:
            wait = max(wait, min(error.retry_after, BACKOFF_CAP))
        return wait


class Queue:
    """Runs a worker over the keys of a schedule, several keys at once.

    Args:
        clock: monotonic seconds.
        rng: for the jitter of the backoff.
        group: which line a key stands in, for example its experiment.
        done: is told of each finished run.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        rng: random.Random,
        group: Callable[[Key], str] = str,
        done: Done | None = None,
    ) -> None:
        self._clock = clock
        self._empty = partial(Schedule, group, rng)
        self._schedule = self._empty()
        self._done = done
        self._idle: deque[asyncio.Future[None]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._opened = asyncio.Event()
        self._stopping = False

    def add(self, key: Key) -> None:
        """Wants a run of the key that begins after this moment."""
        self._schedule.add(key, self._clock())
        self._wake()

    def add_after(self, key: Key, seconds: float) -> None:
        """Wants a run of the key in this many seconds; of several wishes the earliest counts."""
        self._schedule.add_at(key, self._clock() + seconds)
        self._wake()

    def forget(self) -> None:
        """Drops all keys; only before the work begins, when no worker can hold one of them."""
        if self._opened.is_set():
            raise RuntimeError("the queue is served")
        self._schedule = self._empty()

    def open(self) -> None:
        """Lets workers begin that were started with `held`."""
        self._opened.set()

    def start(self, worker: Worker, workers: int = 8, *, held: bool = False) -> None:
        """Starts the workers; they run until `stop`. When `held`, they begin with `open`."""
        if not held:
            self.open()
        self._tasks = [
            asyncio.create_task(self._work(worker), name=f"queue worker {number}")
            for number in range(workers)
        ]

    async def run(self, worker: Worker, workers: int = 8) -> None:
        """Starts the workers and returns when they have stopped.

        Raises:
            RuntimeError: a worker ended by itself; the queue is not served as it should be.
        """
        self.start(worker, workers)
        await self.join()

    async def join(self) -> None:
        """Waits until the workers have stopped; see `run`."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        if not self._stopping:
            raise RuntimeError("a worker of the queue has ended")
        await asyncio.wait(self._tasks)

    async def stop(self, grace: float) -> bool:
        """Takes no further key, and cancels what still runs after `grace` seconds.

        Returns whether every run could finish.
        """
        self._stopping = True
        self.open()
        while self._idle:
            self._wake()
        if not self._tasks:
            return True
        _, late = await asyncio.wait(self._tasks, timeout=grace)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return not late

    @property
    def depth(self) -> int:
        """Number of keys that want a run now."""
        return self._schedule.depth

    @property
    def failing(self) -> int:
        """Number of keys whose last run failed."""
        return self._schedule.failing

    @property
    def alive(self) -> bool:
        """Whether all workers are there."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    def oldest_age(self) -> float:
        """Seconds that the longest waiting key has wanted a run."""
        return self._schedule.oldest_age(self._clock())

    def longest_run(self) -> float:
        """Seconds that the longest of the current runs has taken so far."""
        return self._schedule.longest_run(self._clock())

    async def _work(self, worker: Worker) -> None:
        await self._opened.wait()
        while (key := await self._next()) is not None:
            with bound(kind=key.kind, namespace=key.namespace, name=key.name):
                await self._reconcile(worker, key)

    async def _next(self) -> Key | None:
        while not self._stopping:
            now = self._clock()
            alarm = self._schedule.ripen(now)
            key = self._schedule.take(now)
            if key is not None:
                if self._schedule.ready:
                    self._wake()  # what has just ripened may be for others, too
                return key
            # No await stands between the look above and the wait below: nothing is missed.
            self._set_alarm(None if alarm is None else max(alarm - now, 0.0))
            waiting = asyncio.get_running_loop().create_future()
            self._idle.append(waiting)
            await waiting
        return None

    def _wake(self) -> None:
        """Lets one idle worker look; it wakes the next one when there is more than it takes."""
        while self._idle:
            waiting = self._idle.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return

    def _set_alarm(self, seconds: float | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        if seconds is None:
            self._alarm = None
        else:
            self._alarm = asyncio.get_running_loop().call_later(seconds, self._wake)

    async def _reconcile(self, worker: Worker, key: Key) -> None:
        started = self._clock()
        again: float | None = None
        error: BaseException | None = None
        held = Held(time.thread_time)
        try:
            again = await held.run(worker(key))
        except Unavailable as unavailable:
            error = unavailable
            logger.warning("The API server gave no answer: %s", unavailable)
        except Exception as unexpected:  # the top of a reconcile: whatever it was, it is repeated
            error = unexpected
            logger.exception("The reconcile failed and will be repeated")
        except asyncio.CancelledError as cancelled:
            error = cancelled
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something that the reconcile awaited was cancelled, not the reconcile itself.
            logger.warning("The reconcile was cut off and will be repeated")
        finally:
            now = self._clock()
            rest = held.seconds * REST_FACTOR
            self._schedule.done(key, now, again=again, error=error, rest=rest)
            if self._schedule.ready:
                self._wake()
            if self._done is not None:
                self._done(key, now - started, error)
