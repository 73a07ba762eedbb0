"""Waiting on conditions, never on the clock alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_SHORTEST, _LONGEST = 0.1, 0.5
"""Seconds between two looks."""


def eventually(
    look: Callable[[], T | None],
    what: str,
    *,
    timeout: float = 180.0,
    interval: float | None = None,
    explain: Callable[[], str] = lambda: "",
) -> T:
    """Returns the first truthy result of `look`.

    Without an `interval` in seconds it looks often at first and twice a second later: a look is
    mostly a process of its own, which takes its time from what is waited for.

    Raises:
        AssertionError: nothing truthy within `timeout` seconds; says what was waited for.
    """
    deadline = time.monotonic() + timeout
    pause = _SHORTEST if interval is None else interval
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}\n{explain()}")
        time.sleep(pause)
        if interval is None:
            pause = min(pause * 1.3, _LONGEST)
