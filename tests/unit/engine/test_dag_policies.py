"""What a failure does to the others, and how the experiment ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runyard.api import Task, UnitPhase
from runyard_operator.engine.effects import ReleaseFinalizer
from runyard_operator.engine.experiment import plan
from tests.unit.engine.builders import LATER, NOW, condition, experiment, made, task, told

PENDING, RUNNING = UnitPhase.PENDING, UnitPhase.RUNNING
SUCCEEDED, FAILED = UnitPhase.SUCCEEDED, UnitPhase.FAILED
CANCELLED, SKIPPED = UnitPhase.CANCELLED, UnitPhase.SKIPPED
NOT_MET, FAST = "skip:DependencyNotMet", "skip:FailFast"

A, B, X = task("a"), task("b", "a"), task("x")
WAITS = task("w", "x")
HANDLER = task("h", "a:Failed")
ALLOWED = task("a", allowFailure=True)

STEPS: list[tuple[str, tuple[Task, ...], str, dict[str, UnitPhase], dict[str, str]]] = [
    (
        "Continue lets other branches go on",
        (A, B, X, WAITS),
        "Continue",
        {"a": FAILED, "x": SUCCEEDED},
        {"b": NOT_MET, "w": "create"},
    ),
    (
        "FailFast cancels what runs and skips what waits",
        (A, B, X, WAITS),
        "FailFast",
        {"a": FAILED, "x": RUNNING},
        {"exp-x": "cancel", "w": FAST, "b": NOT_MET},
    ),
    (
        "FailFast skips even a task that is ready",
        (A, X, WAITS),
        "FailFast",
        {"a": FAILED, "x": SUCCEEDED},
        {"w": FAST},
    ),
    (
        "a failure that a Failed edge waits for stops nobody",
        (A, B, HANDLER, X),
        "FailFast",
        {"a": FAILED, "x": RUNNING},
        {"b": NOT_MET, "h": "create"},
    ),
    (
        "a failure that a Finished edge waits for stops nobody",
        (A, task("c", "a:Finished"), X),
        "FailFast",
        {"a": FAILED, "x": RUNNING},
        {"c": "create"},
    ),
    (
        "the failure of the handler itself stops everything",
        (A, HANDLER, X),
        "FailFast",
        {"a": FAILED, "h": FAILED, "x": RUNNING},
        {"exp-x": "cancel"},
    ),
    (
        "a failure that is allowed stops nobody",
        (ALLOWED, B, X),
        "FailFast",
        {"a": FAILED, "x": RUNNING},
        {"b": NOT_MET},
    ),
    (
        "a cancelled or skipped task is no failure",
        (A, task("s"), X),
        "FailFast",
        {"a": CANCELLED, "s": SKIPPED, "x": RUNNING},
        {},
    ),
]


@pytest.mark.parametrize(
    ("tasks", "policy", "phases", "expected"),
    [row[1:] for row in STEPS],
    ids=[row[0] for row in STEPS],
)
def test_what_a_failure_does(
    tasks: tuple[Task, ...], policy: str, phases: dict[str, UnitPhase], expected: dict[str, str]
) -> None:
    """Phases of the units in, what each slot and unit is told out."""
    decision = plan(made(experiment(*tasks, failurePolicy=policy), **phases), NOW)
    assert told(decision) == expected


def test_fail_fast_is_the_default() -> None:
    """A user who says nothing does not pay for tasks whose experiment has failed."""
    assert told(plan(made(experiment(A, X), a=FAILED, x=RUNNING), NOW)) == {"exp-x": "cancel"}


PAIR, HANDLED = (A, B), (A, B, HANDLER)
RESULTS: list[tuple[str, tuple[Task, ...], dict[str, UnitPhase], str, str]] = [
    ("all succeeded", PAIR, {"a": SUCCEEDED, "b": SUCCEEDED}, "Succeeded", "Succeeded"),
    ("one failed", PAIR, {"a": FAILED, "b": SKIPPED}, "Failed", "TasksFailed"),
    (
        "skipped tasks alone never fail it",
        HANDLED,
        {"a": SUCCEEDED, "b": SUCCEEDED, "h": SKIPPED},
        "Succeeded",
        "Succeeded",
    ),
    (
        "handled: a task with a Failed edge on it succeeded",
        HANDLED,
        {"a": FAILED, "b": SKIPPED, "h": SUCCEEDED},
        "Succeeded",
        "Succeeded",
    ),
    (
        "a handler that failed handles nothing",
        HANDLED,
        {"a": FAILED, "b": SKIPPED, "h": FAILED},
        "Failed",
        "TasksFailed",
    ),
    (
        "a Finished edge waits for a failure and does not handle it",
        (A, task("c", "a:Finished")),
        {"a": FAILED, "c": SUCCEEDED},
        "Failed",
        "TasksFailed",
    ),
    ("handled: allowFailure", (ALLOWED, B), {"a": FAILED, "b": SKIPPED}, "Succeeded", "Succeeded"),
    (
        "tasks cancelled one by one",
        PAIR,
        {"a": CANCELLED, "b": SKIPPED},
        "Cancelled",
        "CancelRequested",
    ),
    (
        "what FailFast cancelled does not hide the failure",
        (A, X),
        {"a": FAILED, "x": CANCELLED},
        "Failed",
        "TasksFailed",
    ),
]


@pytest.mark.parametrize(
    ("tasks", "phases", "phase", "reason"),
    [row[1:] for row in RESULTS],
    ids=[row[0] for row in RESULTS],
)
def test_the_result(
    tasks: tuple[Task, ...], phases: dict[str, UnitPhase], phase: str, reason: str
) -> None:
    """Once every task is terminal the experiment has its result, and lets go of its finalizer."""
    view = made(experiment(*tasks, failurePolicy="Continue"), **dict.fromkeys(phases, RUNNING))
    units = {slot: replace(each, phase=phases[slot.task]) for slot, each in view.units.items()}
    decision = plan(replace(view, units=units), LATER)
    assert (decision.status.phase, decision.status.reason) == (phase, reason)
    assert decision.status.completion_time == LATER
    assert decision.effects == ()
    assert condition(decision, "Succeeded").status == str(phase == "Succeeded")
    assert condition(decision, "Reconciling").status == "False"
    again = plan(replace(view, status=decision.status), LATER)
    assert again.status == decision.status
    assert again.effects == (ReleaseFinalizer(),)


@pytest.mark.parametrize("phases", [{"a": FAILED, "b": SUCCEEDED}, {"a": RUNNING}, {}], ids=str)
def test_the_result_is_latched(phases: dict[str, UnitPhase]) -> None:
    """Whatever is done to its units afterwards, a finished experiment stays as it ended."""
    done = made(experiment(*PAIR), a=SUCCEEDED, b=SUCCEEDED)
    assert done.ended
    ended = replace(done, units=made(experiment(*PAIR), **phases).units)
    decision = plan(replace(ended, finalizer=False, generation=2), LATER)
    assert decision.status.model_copy(update={"observed_generation": 1}) == done.status
    assert decision.status.observed_generation == 2
    assert decision.effects == ()
