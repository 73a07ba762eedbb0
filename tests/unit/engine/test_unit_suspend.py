"""Suspend and resume of one unit."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from runyard.api import UnitPhase
from runyard_operator.engine import pace
from runyard_operator.engine.effects import CancelJob, ResumeJob, Submit, SuspendJob
from runyard_operator.engine.observation import State
from runyard_operator.engine.unit import SubmitFailed, Submitted, UnitView, step
from tests.unit.engine.builders import (
    JOB,
    LATER,
    NOW,
    after,
    attempt,
    condition,
    seen,
    unit,
    with_spec,
)

SUSPENDED = seen(State.SUSPENDED, reason="Held")
WAITING = seen(State.WAITING)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def running(**spec: Any) -> UnitView:
    """A unit whose job runs at a backend that can suspend."""
    view = replace(unit(**spec), can_suspend=True)
    return after(view, None, Submitted(JOB, "d"), seen(State.RUNNING, start_time=NOW))


def suspended(**spec: Any) -> UnitView:
    """A unit whose job was suspended."""
    view = with_spec(running(**spec), suspend=True)
    return after(view, seen(State.RUNNING), SUSPENDED)


def resumed(view: UnitView) -> UnitView:
    return with_spec(view, suspend=False)


# Before the submit


def test_a_suspended_unit_is_not_submitted() -> None:
    """It is Queued until somebody lets it go on."""
    view = after(unit(suspend=True), None)
    assert (view.status.phase, view.status.reason) == (UnitPhase.QUEUED, "Suspended")
    assert condition(view, "Suspended").status == "True"
    assert view.status.attempts == []
    decision = step(resumed(view), None, LATER)
    assert decision.effects == (Submit(1),)
    assert condition(decision, "Suspended").status == "False"


@pytest.mark.parametrize("change", [{"cancel": True}, {"skip": {"reason": "FailFast"}}], ids=str)
def test_a_suspended_unit_can_be_ended(change: dict[str, Any]) -> None:
    """A cancel does not wait for a resume."""
    view = after(with_spec(after(unit(suspend=True), None), **change), None)
    assert view.status.phase in (UnitPhase.CANCELLED, UnitPhase.SKIPPED)


def test_a_submit_that_never_arrived_is_not_repeated_while_suspended() -> None:
    """The attempt goes on afterwards; it is not a new one, and its wait begins anew."""
    view = after(unit(deadlines={"queuedSeconds": 100}), None, SubmitFailed("Unreachable", "t"))
    held = after(with_spec(view, suspend=True), seen(State.ABSENT), now=at(50))
    assert (held.status.phase, held.status.reason) == (UnitPhase.QUEUED, "Suspended")
    assert step(held, seen(State.ABSENT), at(500)).effects == ()
    decision = step(resumed(held), seen(State.ABSENT), at(500))
    assert decision.effects == (Submit(1),)
    assert decision.status.phase is UnitPhase.SUBMITTING
    back = after(replace(resumed(held), status=decision.status), WAITING, now=at(599))
    assert (back.status.phase, attempt(back).number) == (UnitPhase.WAITING, 1)
    assert condition(back, "Suspended").status == "False"


# With a job


def test_a_job_is_suspended_and_only_then_said_to_be() -> None:
    """It is asked until the backend says that it holds nothing."""
    view = with_spec(running(), suspend=True)
    for state in (State.RUNNING, State.WAITING):
        decision = step(view, seen(state), NOW)
        assert decision.effects == (SuspendJob(1),)
        assert decision.requeue_after == 5
        assert condition(decision, "Suspended").status == "False"
        assert condition(decision, "Suspended").reason == "Suspending"
    view = after(view, seen(State.RUNNING))
    decision = step(view, SUSPENDED, NOW)
    assert decision.effects == ()
    assert (decision.status.phase, decision.status.reason) == (UnitPhase.WAITING, "Suspended")
    assert condition(decision, "Suspended").status == "True"
    assert condition(decision, "Running").status == "False"
    assert attempt(decision).start_time is None
    assert decision.status.start_time == NOW


def test_a_suspended_job_is_resumed_and_only_then_said_to_run() -> None:
    """It is the same attempt, which starts anew."""
    view = resumed(suspended())
    decision = step(view, SUSPENDED, LATER)
    assert decision.effects == (ResumeJob(1),)
    assert condition(decision, "Suspended").reason == "Resuming"
    assert condition(decision, "Suspended").status == "True"
    view = replace(view, status=decision.status)
    back = after(view, seen(State.RUNNING, start_time=LATER), now=LATER)
    assert back.status.phase is UnitPhase.RUNNING
    assert condition(back, "Suspended").status == "False"
    assert (attempt(back).number, attempt(back).start_time) == (1, LATER)
    assert step(back, seen(State.RUNNING), LATER).effects == ()


def test_a_suspend_that_is_taken_back_at_once_is_taken_back_at_the_backend() -> None:
    """The job may become suspended only after both were asked for."""
    view = resumed(after(with_spec(running(), suspend=True), seen(State.RUNNING)))
    decision = step(view, seen(State.RUNNING), NOW)
    assert decision.effects == (ResumeJob(1),)
    view = after(view, seen(State.RUNNING), seen(State.RUNNING))
    assert condition(view, "Suspended").reason == "Resumed"
    assert step(view, SUSPENDED, NOW).effects == (ResumeJob(1),)


def test_a_job_that_somebody_else_suspended_is_left_to_them() -> None:
    """A queue system holds jobs in just this way until it admits them."""
    decision = step(running(), SUSPENDED, NOW)
    assert decision.effects == ()
    assert (decision.status.phase, decision.status.reason) == (UnitPhase.WAITING, "Held")


def test_a_backend_that_cannot_suspend_says_so_and_the_job_goes_on() -> None:
    """No backend is asked for what it cannot do."""
    view = replace(with_spec(running(), suspend=True), can_suspend=False)
    decision = step(view, seen(State.RUNNING), NOW)
    assert decision.effects == ()
    assert decision.status.phase is UnitPhase.RUNNING
    told = condition(decision, "Suspended")
    assert (told.status, told.reason) == ("False", "SuspendNotSupported")
    assert "goes on" in told.message
    view = replace(resumed(view), status=decision.status)
    assert condition(after(view, seen(State.RUNNING)), "Suspended").reason == "None"


def test_a_suspended_job_is_cancelled_like_any_other() -> None:
    """It is not resumed for it."""
    decision = step(with_spec(suspended(), cancel=True), SUSPENDED, NOW)
    assert decision.effects == (CancelJob(1),)
    assert decision.status.phase is UnitPhase.CANCELLING


# The clocks


def test_no_deadline_counts_while_suspended() -> None:
    """Neither that of the queue nor that of the run; after a resume both begin anew."""
    view = suspended(deadlines={"queuedSeconds": 100, "activeSeconds": 100})
    assert step(view, SUSPENDED, at(5000)).effects == ()
    assert step(view, SUSPENDED, at(5000)).requeue_after == 60
    view = after(resumed(view), SUSPENDED, WAITING, now=at(5000))
    assert step(view, WAITING, at(5099)).effects == ()
    assert step(view, WAITING, at(5100)).effects == (CancelJob(1),)
    view = after(view, seen(State.RUNNING, start_time=at(5050)), now=at(5050))
    assert step(view, seen(State.RUNNING), at(5149)).effects == ()
    assert step(view, seen(State.RUNNING), at(5150)).effects == (CancelJob(1),)


def test_a_backend_that_cannot_suspend_keeps_its_deadlines() -> None:
    """The job goes on, and so does its clock."""
    view = with_spec(running(deadlines={"activeSeconds": 100}), suspend=True)
    view = replace(view, can_suspend=False)
    assert step(view, seen(State.RUNNING), at(100)).effects == (CancelJob(1),)


def test_a_failure_of_a_unit_that_is_to_be_suspended_leads_to_no_new_attempt() -> None:
    """It waits as suspended, and goes on with its next attempt when it is resumed."""
    view = after(with_spec(running(retry={"limit": 1}), suspend=True), seen(State.FAILED))
    assert (view.status.phase, view.status.reason) == (UnitPhase.QUEUED, "Suspended")
    assert view.status.next_attempt_time is not None
    assert step(view, None, LATER).effects == ()
    assert step(resumed(view), None, LATER).effects == (Submit(2),)


def test_a_job_that_is_about_to_be_suspended_meets_no_deadline() -> None:
    """It would lose its work just before it could be kept."""
    view = with_spec(running(deadlines={"activeSeconds": 100}), suspend=True)
    assert step(view, seen(State.RUNNING), at(100)).effects == (SuspendJob(1),)


def test_a_job_that_somebody_else_holds_waits_in_a_queue() -> None:
    """A queue system that holds it back, or takes it out of its run, begins the wait anew."""
    view = replace(unit(deadlines={"queuedSeconds": 100}), can_suspend=True)
    view = after(view, None, Submitted(JOB, "d"), SUSPENDED)
    assert step(view, SUSPENDED, at(50)).requeue_after == 50
    assert step(view, SUSPENDED, at(100)).effects == (CancelJob(1),)
    view = after(view, seen(State.RUNNING, start_time=at(90)), now=at(90))
    view = after(view, SUSPENDED, now=at(500))
    assert step(view, SUSPENDED, at(599)).effects == ()
    assert step(view, SUSPENDED, at(600)).effects == (CancelJob(1),)


def test_a_job_that_a_queue_manager_evicts_waits_anew() -> None:
    """Its clock is that of the queue again, why it waits is looked up often, and nobody steers."""
    view = running(deadlines={"activeSeconds": 60, "queuedSeconds": 600})
    evicted = seen(State.WAITING, queued=True, reason="Preempted", message="by another")
    decision = step(view, evicted, at(50))
    assert decision.effects == ()
    assert decision.requeue_after == pace.QUEUED
    view = after(view, evicted, now=at(50))
    assert (view.status.phase, view.status.reason) == (UnitPhase.WAITING, "Preempted")
    assert (attempt(view).start_time, attempt(view).submit_time) == (None, at(50))
    assert step(view, evicted, at(649)).effects == ()
    assert step(view, evicted, at(651)).effects == (CancelJob(1),)
