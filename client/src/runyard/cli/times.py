"""Reads the API's timestamps and writes durations as people read them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse(stamp: str | None) -> datetime | None:
    """The moment of an RFC 3339 timestamp; None for none."""
    return datetime.fromisoformat(stamp) if stamp else None


def age(start: datetime | None, now: datetime) -> str:
    """How long ago, in the one unit that kubectl would use; empty for none."""
    if start is None:
        return ""
    seconds = _elapsed(start, now)
    if seconds < 2 * _MINUTE:
        return f"{seconds}s"
    if seconds < 2 * _HOUR:
        return f"{seconds // _MINUTE}m"
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR}h"
    return f"{seconds // _DAY}d"


def duration(start: datetime | None, end: datetime | None) -> str:
    """The time between, in two units such as 1m05s; empty when either is missing."""
    if start is None or end is None:
        return ""
    seconds = _elapsed(start, end)
    if seconds < _MINUTE:
        return f"{seconds}s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE}m{seconds % _MINUTE:02}s"
    if seconds < _DAY:
        return f"{seconds // _HOUR}h{seconds % _HOUR // _MINUTE:02}m"
    return f"{seconds // _DAY}d{seconds % _DAY // _HOUR:02}h"


def _elapsed(start: datetime, end: datetime) -> int:
    # The clocks of the server and of this machine may differ: never less than nothing.
    return max(0, int((end - start).total_seconds()))


def parse_duration(text: str) -> float:
    """Seconds of 90, 90s, 10m, 1h30m or 2d.

    Raises:
        ValueError: the text is none of these.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(r"(\d+(\.\d+)?[smhd])+", text):
        raise ValueError(f"{text!r} is not a duration: write for example 90s, 10m or 1h30m")
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
