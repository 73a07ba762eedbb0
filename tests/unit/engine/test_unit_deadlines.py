"""How long an attempt may wait and run, and what happens then."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from runyard.api import FailureClass, UnitPhase
from runyard_operator.engine.effects import CancelJob, Submit
from runyard_operator.engine.observation import State
from runyard_operator.engine.unit import SubmitFailed, Submitted, UnitView, step
from tests.unit.engine.builders import (
    JOB,
    NOW,
    after,
    attempt,
    condition,
    seen,
    unit,
    with_spec,
)

RUNNING = seen(State.RUNNING, start_time=NOW)
WAITING = seen(State.WAITING)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def waiting(**deadlines: int) -> UnitView:
    """A unit with deadlines whose job waits since NOW."""
    return after(unit(deadlines=deadlines), None, Submitted(JOB, "d"), WAITING)


def running(**deadlines: int) -> UnitView:
    """A unit with deadlines whose job runs since NOW."""
    return after(waiting(**deadlines), RUNNING)


CASES = {
    "queued": (waiting(queuedSeconds=100), WAITING, "QueueDeadlineExceeded"),
    "active": (running(activeSeconds=100), RUNNING, "DeadlineExceeded"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_operator_wakes_at_the_deadline_and_not_later(case: str) -> None:
    """No event tells that time is over."""
    view, news, _ = CASES[case]
    assert step(view, news, NOW).requeue_after == 60
    assert step(view, news, NOW + seconds(70)).requeue_after == 30
    early = step(view, news, NOW + seconds(99))
    assert early.requeue_after == 1
    assert early.effects == ()


def test_a_job_that_never_started_tells_why_it_waited() -> None:
    """A person sees the missing image in the attempt, not only that time was over."""
    image = seen(State.WAITING, reason="ErrImagePull", message="pod a: not found")
    view = after(unit(deadlines={"queuedSeconds": 100}), None, Submitted(JOB, "d"), image)
    judged = attempt(step(view, image, NOW + seconds(100)))
    assert (judged.message or "").endswith("ErrImagePull: pod a: not found")


def test_the_operator_wakes_at_the_deadline_of_a_submit() -> None:
    """Whether the backend has taken it or not."""
    view = after(unit(deadlines={"queuedSeconds": 100}), None)
    stalled = SubmitFailed("QuotaExceeded", "q", stalled=True)
    assert step(view, Submitted(JOB, "d"), NOW + seconds(70)).requeue_after == 30
    assert step(view, stalled, NOW + seconds(80)).requeue_after == 20


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_is_written_before_the_job_is_ended(case: str) -> None:
    """The status that goes with the cancel says why, and is honest: the job may still live."""
    view, news, reason = CASES[case]
    decision = step(view, news, NOW + seconds(100))
    assert decision.effects == (CancelJob(1),)
    assert (decision.status.phase, decision.status.reason) == (UnitPhase.CANCELLING, reason)
    judged = attempt(decision)
    assert (judged.failure_class, judged.reason) == (FailureClass.TIMEOUT, reason)
    assert judged.completion_time is None
    assert "100 s" in (judged.message or "")
    assert condition(decision, "Succeeded").status == "Unknown"
    assert decision.requeue_after is not None


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("end", [seen(State.ABSENT), seen(State.FAILED, exit_code=143)], ids=str)
def test_the_failure_comes_when_the_backend_confirms_the_end(case: str, end: Any) -> None:
    """Until then the job is asked to end, again and again; its own last word is not the reason."""
    view, news, reason = CASES[case]
    late = NOW + seconds(100)
    view = after(view, news, now=late)
    for state in (State.RUNNING, State.WAITING, State.UNKNOWN):
        decision = step(view, seen(state), late)
        assert decision.status.phase is UnitPhase.CANCELLING
        assert decision.effects == (CancelJob(1),)
        assert attempt(decision).reason == reason
    assert step(view, seen(State.TERMINATING), late).effects == ()
    ended = after(view, end, now=late)
    assert (ended.status.phase, ended.status.reason) == (UnitPhase.FAILED, reason)
    assert attempt(ended).failure_class is FailureClass.TIMEOUT
    assert attempt(ended).exit_code == end.exit_code
    assert ended.status.completion_time == late


@pytest.mark.parametrize("case", CASES)
def test_a_result_from_before_the_cancel_stands(case: str) -> None:
    """The job was faster than its end."""
    view, news, _ = CASES[case]
    view = after(view, news, seen(State.SUCCEEDED), now=NOW + seconds(100))
    assert (view.status.phase, view.status.reason) == (UnitPhase.SUCCEEDED, "Succeeded")
    assert attempt(view).failure_class is None
    assert attempt(view).message is None


@pytest.mark.parametrize("case", CASES)
def test_a_backend_that_does_not_answer_leads_to_no_verdict(case: str) -> None:
    """The job may have started, or ended, in time."""
    view, _, _ = CASES[case]
    decision = step(view, seen(State.UNKNOWN), NOW + seconds(500))
    assert decision.effects == ()
    assert attempt(decision).failure_class is None
    assert decision.status.phase is view.status.phase


def test_a_timeout_is_tried_again_where_it_may() -> None:
    """The next attempt has the whole time."""
    view = unit(deadlines={"activeSeconds": 100}, retry={"limit": 1, "failureClasses": ["Timeout"]})
    late = NOW + seconds(100)
    view = after(view, None, RUNNING)
    view = after(view, RUNNING, seen(State.ABSENT), now=late)
    assert view.status.reason == "Retrying"
    due = view.status.next_attempt_time
    assert due is not None
    begun = replace(view, status=step(view, None, due).status)
    decision = step(begun, seen(State.RUNNING, start_time=due), due + seconds(99))
    assert decision.effects == ()
    assert decision.requeue_after == 1


def test_the_queue_has_no_say_once_the_job_runs() -> None:
    """Each of the two clocks has its time."""
    view = waiting(queuedSeconds=10, activeSeconds=100)
    late = NOW + seconds(9)
    view = after(view, seen(State.RUNNING, start_time=late), now=late)
    assert step(view, seen(State.RUNNING), NOW + seconds(108)).effects == ()
    assert step(view, seen(State.RUNNING), NOW + seconds(109)).effects == (CancelJob(1),)


def test_a_backend_without_start_times_counts_from_the_first_sight() -> None:
    """An activeSeconds that never ends would be no deadline."""
    view = after(waiting(activeSeconds=100), seen(State.RUNNING), now=NOW + seconds(50))
    assert step(view, seen(State.RUNNING), NOW + seconds(149)).effects == ()
    assert step(view, seen(State.RUNNING), NOW + seconds(150)).effects == (CancelJob(1),)


def test_a_submit_that_never_gets_through_meets_the_queue_deadline() -> None:
    """No job is at the backend, so none is ended; each submit has a new time, the clock goes on."""
    view = replace(unit(deadlines={"queuedSeconds": 100}), settle_seconds=10)
    view = after(view, None, SubmitFailed("QuotaExceeded", "q", stalled=True))
    assert step(view, SubmitFailed("QuotaExceeded", "q", stalled=True), NOW).requeue_after == 30
    for late in (40, 60):
        view = after(view, seen(State.ABSENT), now=NOW + seconds(late - 10))
        decision = step(view, seen(State.ABSENT), NOW + seconds(late))
        assert decision.effects == (Submit(1),)
        view = replace(view, status=decision.status)
    view = after(view, seen(State.ABSENT), now=NOW + seconds(100))
    assert (view.status.phase, view.status.reason) == (UnitPhase.FAILED, "QueueDeadlineExceeded")


@pytest.mark.parametrize("case", CASES)
def test_who_cancels_during_the_end_gets_a_cancelled_unit(case: str) -> None:
    """The record of the attempt still tells of its time."""
    view, news, reason = CASES[case]
    view = with_spec(after(view, news, now=NOW + seconds(100)), cancel=True)
    ended = after(view, seen(State.ABSENT))
    assert (ended.status.phase, ended.status.reason) == (UnitPhase.CANCELLED, "CancelRequested")
    assert attempt(ended).reason == reason


@pytest.mark.parametrize("case", CASES)
def test_a_clock_that_is_set_back_ends_nothing(case: str) -> None:
    """The deadline may come later for it, and never earlier."""
    view, news, _ = CASES[case]
    decision = step(view, news, NOW - seconds(3600))
    assert decision.effects == ()
    assert decision.status.phase is view.status.phase


def test_without_deadlines_patience_has_no_end() -> None:
    """T15: days in a queue are normal."""
    view = after(unit(), None, Submitted(JOB, "d"), WAITING)
    assert step(view, WAITING, NOW + timedelta(days=300)).effects == ()
