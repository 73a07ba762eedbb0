"""The file in which places are kept from one call to the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from runyard.logs.position import Bookmarks, Position, PositionError, second


def test_places_are_kept_from_one_call_to_the_next(tmp_path: Path) -> None:
    """Each log has its own; what was not read again stays."""
    file = tmp_path / "places"
    places = {
        "a/main": Position("2026-03-01T12:00:00Z", 7, "abc"),
        "b/main": Position(None, 2, "def"),
    }
    with Bookmarks(file) as marks:
        assert marks.get("a/main") is None
        for key, place in places.items():
            marks.put(key, place)
    with Bookmarks(file) as marks:
        assert {key: marks.get(key) for key in places} == places
        marks.put("a/main", Position(None, 9, "x"))
    with Bookmarks(file) as marks:
        assert marks.get("a/main") == Position(None, 9, "x")
        assert marks.get("b/main") == places["b/main"]
    assert [each.name for each in tmp_path.iterdir()] == ["places"]


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"version": 2, "logs": {}}', '{"version": 1, "logs": {"a": 1}}']
)
def test_a_file_that_is_none_of_ours_is_refused(content: str, tmp_path: Path) -> None:
    """Rather than read from the beginning, or overwrite it."""
    file = tmp_path / "places"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(PositionError, match="no file of positions"):
        Bookmarks(file)
    assert file.read_text(encoding="utf-8") == content


def test_a_folder_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    """Not after an hour of following."""
    with pytest.raises(PositionError, match="there is no folder"):
        Bookmarks(tmp_path / "none" / "places")


@pytest.mark.parametrize(
    ("stamp", "whole"),
    [
        ("2026-03-01T12:00:00.000000001Z", "2026-03-01T12:00:00Z"),
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"),
        ("2026-03-01T12:00:00.5+02:00", "2026-03-01T12:00:00+02:00"),
    ],
)
def test_seconds_keep_their_zone(stamp: str, whole: str) -> None:
    """A node's clock may be in any zone."""
    assert second(stamp) == whole
