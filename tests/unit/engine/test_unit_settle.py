"""When "there is no such job" is believed, and what is written before a submit is repeated."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from runyard.api import FailureClass, UnitPhase
from runyard_operator.engine.effects import CancelJob, Submit
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

ABSENT = seen(State.ABSENT)
UNKNOWN = seen(State.UNKNOWN)
HOUR = timedelta(hours=1)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def submitting() -> UnitView:
    """A unit whose submit was sent, and nothing is known of its job; the place needs 30 s."""
    view = replace(unit(), settle_seconds=30)
    return after(view, None, SubmitFailed("Unreachable", "timeout"))


def running() -> UnitView:
    """A unit whose job runs; the place needs 30 s."""
    view = replace(unit(), settle_seconds=30)
    return after(view, None, Submitted(JOB, "d"), seen(State.RUNNING))


# No job was ever seen


def test_a_submit_is_repeated_only_when_the_place_has_settled() -> None:
    """Until then the job may still appear; the operator looks again in between."""
    view = after(submitting(), ABSENT, now=at(5))
    for second in (5, 10, 34):
        decision = step(view, ABSENT, at(second))
        assert (decision.effects, decision.status) == ((), view.status)
        assert decision.requeue_after == min(5, 35 - second)
    assert step(view, ABSENT, at(35)).effects == (Submit(1),)


def test_a_job_that_appears_late_is_adopted() -> None:
    """And nothing is submitted."""
    view = after(after(submitting(), ABSENT, now=at(5)), seen(State.RUNNING), now=at(20))
    assert view.status.phase is UnitPhase.RUNNING
    assert attempt(view).handle == JOB
    assert attempt(view).missing_since is None


def test_each_submit_begins_a_new_time_to_settle_before_it_is_sent() -> None:
    """The time is in the very status that is written before the effect."""
    view = after(submitting(), ABSENT, now=at(5))
    again = step(view, ABSENT, at(35))
    assert attempt(again).submit_time == at(35)
    view = replace(view, status=again.status)
    assert step(view, ABSENT, at(64)).effects == ()
    assert step(view, ABSENT, at(65)).effects == (Submit(1),)


@pytest.mark.parametrize("cancel", [False, True])
def test_an_outage_interrupts_the_absence(cancel: bool) -> None:
    """Nobody knows what was there meanwhile."""
    view = after(with_spec(submitting(), cancel=cancel), ABSENT, now=at(5))
    view = after(after(view, UNKNOWN, now=at(20)), ABSENT, now=at(40))
    early, late = step(view, ABSENT, at(69)), step(view, ABSENT, at(70))
    assert (Submit(1) in early.effects, early.status.phase is UnitPhase.CANCELLED) == (False,) * 2
    assert (Submit(1) in late.effects, late.status.phase is UnitPhase.CANCELLED) == (
        not cancel,
        cancel,
    )


def test_a_place_that_settles_at_once_is_believed_at_once() -> None:
    """Nothing is rewritten: its names can be taken only once."""
    view = after(unit(), None, SubmitFailed("Unreachable", "timeout"))
    decision = step(view, ABSENT, LATER)
    assert decision.effects == (Submit(1),)
    assert decision.status == view.status


def test_a_new_leader_writes_its_number_before_it_submits_again() -> None:
    """So that an earlier one, which still believes in itself, is overtaken."""
    view = after(replace(unit(), epoch=3), None)
    assert attempt(view).epoch == 3
    decision = step(replace(view, epoch=4), ABSENT, LATER)
    assert decision.effects == (Submit(1),)
    assert attempt(decision).epoch == 4
    assert attempt(decision).submit_time == LATER


# A job that was seen


def test_a_job_that_is_not_found_for_a_while_is_not_lost() -> None:
    """T3: it has left the queue before it is in the books."""
    view = after(running(), ABSENT, now=at(5))
    assert view.status.phase is UnitPhase.RUNNING
    assert view.status.reason == "JobNotFound"
    assert attempt(view).missing_since == at(5)
    assert step(view, ABSENT, at(34)).status == view.status
    back = after(view, seen(State.SUCCEEDED), now=at(34))
    assert back.status.phase is UnitPhase.SUCCEEDED


def test_a_job_that_stays_away_is_lost() -> None:
    """After its time, and not before."""
    view = after(running(), ABSENT, now=at(5))
    assert step(view, ABSENT, at(34)).requeue_after == 1
    lost = step(view, ABSENT, at(35))
    assert (lost.status.phase, lost.status.reason) == (UnitPhase.FAILED, "JobLost")
    assert attempt(lost).failure_class is FailureClass.BACKEND_LOST


@pytest.mark.parametrize("news", [seen(State.RUNNING), seen(State.WAITING), UNKNOWN], ids=str)
def test_only_an_unbroken_absence_counts(news: object) -> None:
    """Seen again, or not looked for: it begins anew."""
    view = after(running(), ABSENT, now=at(5))
    view = after(view, news, now=at(30))  # type: ignore[arg-type]
    assert attempt(view).missing_since is None
    assert step(view, ABSENT, at(50)).status.phase is not UnitPhase.FAILED


# Cancel


@pytest.mark.parametrize("begun", [submitting, running])
def test_a_cancel_is_confirmed_only_when_the_place_has_settled(begun: object) -> None:
    """A job that appears in between is found and ended."""
    view = with_spec(begun(), cancel=True)  # type: ignore[operator]
    view = after(view, ABSENT, now=at(5))
    decision = step(view, ABSENT, at(34))
    assert decision.status.phase is UnitPhase.CANCELLING
    assert decision.effects == (CancelJob(1),)
    assert decision.requeue_after == 1
    found = step(view, seen(State.RUNNING), at(34))
    assert found.effects == (CancelJob(1),)
    assert attempt(found).missing_since is None
    assert step(view, ABSENT, at(35)).status.phase is UnitPhase.CANCELLED


# Clock jumps


@pytest.mark.parametrize("begun", [submitting, running])
def test_a_clock_that_is_set_back_begins_the_time_anew(begun: object) -> None:
    """Nothing is submitted or lost early, and nothing waits for an hour."""
    view = after(begun(), ABSENT, now=at(5))  # type: ignore[operator]
    back = after(view, ABSENT, now=at(5) - HOUR)
    assert attempt(back).missing_since == at(5) - HOUR
    early = step(back, ABSENT, at(34) - HOUR)
    assert (early.effects, early.status) == ((), back.status)
    late = step(back, ABSENT, at(35) - HOUR)
    assert late.effects == (Submit(1),) or late.status.phase is UnitPhase.FAILED


# What does not change is not written again


def test_an_outage_is_told_once() -> None:
    """The words of each try differ; the status keeps the first."""
    once = after(submitting(), SubmitFailed("Unreachable", "timeout after 3.1 s"), now=LATER)
    assert once.status == submitting().status
    view = after(running(), seen(State.UNKNOWN, message="a"))
    assert after(view, seen(State.UNKNOWN, message="b"), now=LATER).status == view.status
    other = after(view, seen(State.UNKNOWN, reason="HostKeyMismatch", message="c"))
    assert condition(other, "BackendReachable").message == "c"
