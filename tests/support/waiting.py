"""Waiting on conditions, never on the clock alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    look: Callable[[], T | None],
    what: str,
    *,
    timeout: float = 180.0,
    interval: float = 0.2,
    explain: Callable[[], str] = lambda: "",
) -> T:
    """Returns the first truthy result of `look`.

    Raises:
        AssertionError: nothing truthy within `timeout` seconds; says what was waited for.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}\n{explain()}")
        time.sleep(interval)
