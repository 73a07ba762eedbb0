"""Jobs of attempts that were given up: looked for, recorded, ended, never applied."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from runyard.api import FailureClass, UnitPhase
from runyard.api.unit import Attempt
from runyard_operator.engine.effects import CancelJob
from runyard_operator.engine.observation import Observation, State
from runyard_operator.engine.unit import (
    Submitted,
    UnitView,
    lost_attempts,
    step,
    tells_of_lost,
)
from tests.unit.engine.builders import JOB, LATER, NOW, after, attempt, seen, unit, with_spec

FIRST, SECOND = "u1-1", "u1-2"
ALIVE = (State.WAITING, State.RUNNING, State.SUSPENDED)


def lost() -> UnitView:
    """A unit whose first job is lost, and which waits for its next attempt."""
    view = unit(retry={"limit": 3, "backoff": {"seconds": 100, "jitterPercent": 0}})
    return after(view, None, Submitted(JOB, "d"), seen(State.ABSENT))


def second() -> UnitView:
    """The unit's second attempt, running."""
    view = after(lost(), None, now=LATER)
    return after(view, Submitted(JOB, "d"), seen(State.RUNNING, key=SECOND), now=LATER)


def first(view: UnitView) -> Attempt:
    return view.status.attempts[0]


BOTH = pytest.mark.parametrize("begun", [lost, second], ids=["in the backoff", "later"])


def test_only_lost_attempts_are_looked_for() -> None:
    """In the normal case nothing is."""
    assert [each.number for each in lost_attempts(lost())] == [1]
    assert [each.number for each in lost_attempts(second())] == [1]
    assert lost_attempts(after(unit(), None, seen(State.RUNNING))) == []
    failed = after(unit(retry={"limit": 1}), None, seen(State.FAILED))
    assert lost_attempts(failed) == []
    assert lost_attempts(after(second(), seen(State.SUCCEEDED, key=SECOND))) == []


@pytest.mark.parametrize("state", State)
def test_an_absence_is_no_news(state: State) -> None:
    """A pass goes on to the current attempt where the lost one says nothing."""
    silent = state in (State.ABSENT, State.UNKNOWN)
    assert tells_of_lost(first(lost()), seen(state, key=FIRST)) is not silent


@BOTH
@pytest.mark.parametrize("state", ALIVE)
def test_a_lost_job_that_comes_back_is_ended(begun: object, state: State) -> None:
    """It is noted first; the current attempt stays as it is."""
    view: UnitView = begun()  # type: ignore[operator]
    decision = step(view, seen(state, key=FIRST), LATER)
    assert decision.effects == (CancelJob(1),)
    assert decision.status.phase is view.status.phase
    assert decision.status.reason == "LateJob"
    assert decision.requeue_after is not None
    back = replace(view, status=decision.status)
    assert (first(back).late_result or "").startswith(f"{state}:")
    assert first(back).failure_class is FailureClass.BACKEND_LOST
    assert back.status.attempts[1:] == view.status.attempts[1:]


@BOTH
def test_a_job_that_came_back_is_followed_to_its_end(begun: object) -> None:
    """Nothing else is done before it is gone, not even where nobody can tell."""
    view = after(begun(), seen(State.RUNNING, key=FIRST))  # type: ignore[operator]
    for state in (State.ABSENT, State.UNKNOWN, State.TERMINATING):
        assert tells_of_lost(first(view), seen(state, key=FIRST))
    assert step(view, seen(State.UNKNOWN, key=FIRST), LATER).effects == ()
    assert step(view, seen(State.TERMINATING, key=FIRST), LATER).effects == ()
    gone = after(view, seen(State.ABSENT, key=FIRST))
    assert (first(gone).late_result or "").startswith("Absent:")
    assert lost_attempts(gone) == []


def test_its_end_is_believed_after_the_place_has_settled() -> None:
    """It was said to be gone once before; neither that nor an outage counts."""
    gone, unknown = seen(State.ABSENT, key=FIRST), seen(State.UNKNOWN, key=FIRST)
    soon = NOW + timedelta(seconds=30)
    view = unit(retry={"limit": 3, "backoff": {"seconds": 1000}})
    view = after(replace(view, settle_seconds=30), None, Submitted(JOB, "d"), gone)
    view = after(view, gone, now=soon)
    assert first(view).missing_since == NOW
    view = after(view, seen(State.RUNNING, key=FIRST), gone, now=soon)
    view = after(view, unknown, gone, now=LATER)
    assert [each.number for each in lost_attempts(view)] == [1]
    view = after(view, gone, now=LATER + timedelta(seconds=29))
    assert [each.number for each in lost_attempts(view)] == [1]
    view = after(view, gone, now=LATER + timedelta(seconds=30))
    assert lost_attempts(view) == []


def test_a_lost_job_that_had_no_handle_gets_it() -> None:
    """So that it can be ended by its own name."""
    view = unit(retry={"limit": 3, "backoff": {"seconds": 1000}})
    view = after(view, None, seen(State.TERMINATING, handle=None), seen(State.ABSENT))
    assert first(view).handle is None
    assert first(after(view, seen(State.RUNNING, key=FIRST))).handle == JOB


@BOTH
@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED])
def test_a_late_result_is_recorded_and_never_applied(begun: object, state: State) -> None:
    """Rule 5: neither the unit nor its current attempt takes it."""
    view: UnitView = begun()  # type: ignore[operator]
    late = after(view, seen(state, key=FIRST, message="done", exit_code=0))
    assert first(late).late_result == f"{state}: done"
    assert first(late).failure_class is FailureClass.BACKEND_LOST
    assert first(late).exit_code is None
    assert late.status.phase is view.status.phase
    assert late.status.outputs == []
    assert late.status.attempts[1:] == view.status.attempts[1:]
    assert lost_attempts(late) == []
    again = after(late, seen(State.FAILED, key=FIRST, message="other"))
    assert again.status == late.status


def test_what_is_about_the_current_attempt_is_applied() -> None:
    """The key tells."""
    assert after(second(), seen(State.SUCCEEDED, key=SECOND)).status.phase is UnitPhase.SUCCEEDED


@pytest.mark.parametrize("state", State)
def test_news_of_an_attempt_without_a_record_change_nothing(state: State) -> None:
    """The oldest records go; their jobs must not be taken for the current one."""
    view = second()
    decision = step(view, seen(state, key="u1-0"), LATER)
    assert (decision.status, decision.effects) == (view.status, ())


def test_an_attempt_that_failed_and_yet_lives_is_ended_too() -> None:
    """A backend that contradicts itself gets no second job to live beside the first."""
    view = unit(retry={"limit": 3, "backoff": {"seconds": 0}})
    view = after(view, None, seen(State.FAILED, key=FIRST), None)
    assert attempt(view).number == 2
    assert step(view, seen(State.RUNNING, key=FIRST), NOW).effects == (CancelJob(1),)
    again = seen(State.FAILED, key=FIRST)
    assert after(view, again).status == view.status


def test_a_cancelled_unit_waits_for_the_job_that_came_back() -> None:
    """Cancelled means that no job of the unit is left."""
    view = with_spec(after(second(), seen(State.RUNNING, key=FIRST)), cancel=True)
    news: Observation = seen(State.ABSENT, key=SECOND)
    assert [each.number for each in lost_attempts(view)] == [1]
    view = after(view, seen(State.ABSENT, key=FIRST), news)
    assert view.status.phase is UnitPhase.CANCELLED
