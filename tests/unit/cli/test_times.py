"""Durations, read and written."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.cli.times import age, duration, parse, parse_duration
from tests.unit.cli.objects import NOW


@pytest.mark.parametrize(
    ("seconds", "as_age", "as_duration"),
    [
        (0, "0s", "0s"),
        (59, "59s", "59s"),
        (65, "65s", "1m05s"),
        (7199, "119m", "1h59m"),
        (7200, "2h", "2h00m"),
        (172800, "2d", "2d00h"),
        (900000, "10d", "10d10h"),
    ],
)
def test_elapsed_time_is_written_short(seconds: int, as_age: str, as_duration: str) -> None:
    """An age has one unit, a duration two."""
    start = NOW - timedelta(seconds=seconds)
    assert (age(start, NOW), duration(start, NOW)) == (as_age, as_duration)


def test_a_server_clock_ahead_of_ours_gives_zero() -> None:
    """A moment in the future counts as now."""
    assert age(NOW + timedelta(seconds=30), NOW) == "0s"


def test_what_has_no_start_or_end_has_no_duration() -> None:
    """Missing moments give nothing to read."""
    assert (duration(None, NOW), duration(NOW, None), age(None, NOW)) == ("", "", "")


def test_api_timestamps_are_read() -> None:
    """Whole and fractional seconds in UTC are understood."""
    assert parse("2026-03-01T12:00:00Z") == NOW
    assert parse("2026-03-01T12:00:00.000000Z") == NOW


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("0.5s", 0.5)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """Plain seconds and units, also combined, are understood."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1y", "10 m", "m"])
def test_other_texts_are_no_durations(text: str) -> None:
    """What is not a duration is refused with an example."""
    with pytest.raises(ValueError, match="write for example"):
        parse_duration(text)


@given(st.integers(0, 10**8))
def test_written_durations_fit_their_column(seconds: int) -> None:
    """Eight columns are enough for three years."""
    assert len(duration(NOW - timedelta(seconds=seconds), NOW)) <= 8
