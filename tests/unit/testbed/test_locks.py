"""One at a time: the lock between commands."""

from __future__ import annotations

import threading
from pathlib import Path

from testbed.locks import locked


def test_the_second_waits_and_learns_who_holds_it(tmp_path: Path) -> None:
    """A waiting command is told the holder's pid, and enters when the first has left."""
    path, order = tmp_path / "locks" / "one.lock", []
    waiting = threading.Event()

    def second() -> None:
        with locked(path, lambda pid: (order.append(f"waits {pid}"), waiting.set())[0]):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(path):
        thread.start()
        assert waiting.wait(30)
        order.append("first")
    thread.join(30)
    assert order[0].startswith("waits ")
    assert order[1:] == ["first", "second"]


def test_nothing_is_left(tmp_path: Path) -> None:
    """The lock's file goes with the lock."""
    path = tmp_path / "one.lock"
    with locked(path):
        assert path.exists()
    assert not path.exists()
