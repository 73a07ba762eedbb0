"""How much of the event loop's time something takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from functools import partial
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Held:
    """Measures for how long an awaitable keeps the event loop from everybody else.

    Args:
        clock: seconds, best those of the thread's own CPU time: on a busy machine the loop waits
            for its turn, and nobody can help that by resting.

    Attributes:
        seconds: the sum so far.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.seconds = 0.0

    @coroutine
    def run(self, awaitable: Awaitable[T]) -> Generator[Any, Any, T]:
        """Awaits it."""
        steps = awaitable.__await__()
        step: Callable[[], Any] = partial(next, steps)
        while True:
            started = self._clock()
            try:
                waits_for = step()
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                self.seconds += self._clock() - started
            try:
                yield waits_for
            except BaseException as error:  # a cancellation above all; it goes on inside
                step = partial(steps.throw, error)
            else:
                step = partial(next, steps)
