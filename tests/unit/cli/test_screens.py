"""The lines that a follower prints into a pipe: what has changed, each change once."""

from __future__ import annotations

import io
from typing import Any

from runyard.cli.screens import PlainScreen
from runyard.cli.session import Session, Target
from runyard.cli.view import build
from tests.unit.cli.objects import NOW, experiment, member, stamp, unit


class Screen:
    """A screen for pipes, and what it prints for each state."""

    def __init__(self) -> None:
        self.out = io.StringIO()
        self.screen = PlainScreen(Session(Target(), out=self.out, now=lambda: NOW))

    def show(self, made: dict[str, Any], *units: dict[str, Any]) -> list[str]:
        """The new lines, without their times."""
        before = len(self.out.getvalue())
        self.screen.show(build(made, units, NOW), "")
        return [line[9:] for line in self.out.getvalue()[before:].splitlines()]


def test_a_task_that_waits_for_a_person_is_told_once() -> None:
    """Whoever reads the log of a pipeline must learn that it is up to them."""
    made = experiment({"deploy": []}, phase="Running")
    made["spec"]["tasks"][0]["approval"] = {}
    screen = Screen()
    assert screen.show(made) == [
        "deploy waits for approval: runyard approve sft deploy",
        "experiment sft Running",
    ]
    assert screen.show(made) == []


def test_neither_counts_nor_countdowns_are_changes() -> None:
    """A sweep of thousands prints its failures, and no line for each member."""
    made = experiment({"sweep": [], "flaky": []}, phase="Running")
    made["spec"]["tasks"][0]["matrix"] = {}
    made["status"]["tasks"] = [
        {"name": "sweep", "states": "++.."},
        {"name": "flaky", "states": "+"},
    ]
    attempts = [{"number": 1, "key": "k", "failureClass": "Preempted"}]

    def flaky(seconds: float) -> dict[str, Any]:
        return unit("flaky", phase="Queued", attempts=attempts, nextAttemptTime=stamp(-seconds))

    running = [member("sweep", index, {}, phase="Running") for index in (0, 1)]
    screen = Screen()
    assert screen.show(made, *running, flaky(40)) == [
        "sweep Running",
        "flaky Queued (attempt 2 next: Preempted)",
        "experiment sft Running",
    ]
    made["status"]["tasks"][0]["states"] = "S++."
    assert screen.show(made, running[1], flaky(39)) == []
    made["status"]["tasks"][0]["states"] = "SF+."
    third = member("sweep", 2, {}, phase="Running")
    assert screen.show(made, third, flaky(38)) == ["sweep Running (1 failed)"]
