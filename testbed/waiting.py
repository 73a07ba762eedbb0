"""Waiting for a condition with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

from testbed.errors import ClusterError


def until(
    condition: Callable[[], bool],
    seconds: float,
    complaint: Callable[[], str],
    pause: float = 0.05,
) -> None:
    """Wait until ``condition`` holds.

    Raises ClusterError with the text of ``complaint`` when it does not hold within ``seconds``.
    The condition itself may raise to end the wait early.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(complaint())
        time.sleep(pause)
