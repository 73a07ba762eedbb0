"""Which failures are tried again, how often, and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from runyard.api import FailureClass, UnitPhase
from runyard.api.policy import Retry
from runyard.api.unit import MAX_ATTEMPTS, Attempt, RetryCounts
from runyard_operator.engine.effects import AddFinalizer, Submit
from runyard_operator.engine.observation import State
from runyard_operator.engine.unit import SubmitFailed, Submitted, UnitView, needs_observation, step
from runyard_operator.engine.unit.retry import backoff
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

CLASSES = list(FailureClass)
USER = [each for each in CLASSES if not each.infrastructure]
PLACE = [each for each in CLASSES if each.infrastructure]
REFUSED = SubmitFailed("Refused", "no", final=True)
HOUR = timedelta(hours=1)


def retried(**policy: Any) -> UnitView:
    """A unit with a retry policy, whose job runs; the backoff is ten seconds and has no jitter."""
    backoff = {"seconds": 10, "jitterPercent": 0, **policy.pop("backoff", {})}
    view = unit(retry={"limit": 2, **policy, "backoff": backoff})
    return after(view, None, Submitted(JOB, "d"), seen(State.RUNNING))


def fail(view: UnitView, failure: FailureClass = FailureClass.ERROR, **more: Any) -> UnitView:
    """The unit after a failure of its current attempt."""
    return after(view, seen(State.FAILED, failure_class=failure, message="broke", **more))


def again(view: UnitView) -> UnitView:
    """The unit's next attempt, running."""
    assert view.status.next_attempt_time is not None
    view = replace(view, status=step(view, None, view.status.next_attempt_time).status)
    return after(view, Submitted(JOB, "d"), seen(State.RUNNING))


def waits(view: UnitView) -> bool:
    """Whether another attempt comes."""
    return (view.status.phase, view.status.reason) == (UnitPhase.QUEUED, "Retrying")


# Which


@pytest.mark.parametrize("failure", CLASSES)
def test_without_a_policy_nothing_is_tried_again(failure: FailureClass) -> None:
    """A retry must be asked for."""
    view = fail(after(unit(), None, seen(State.RUNNING)), failure)
    assert view.status.phase is UnitPhase.FAILED
    assert view.status.retries is None


@pytest.mark.parametrize("failure", CLASSES)
def test_by_default_all_but_a_failed_launch_is_tried_again(failure: FailureClass) -> None:
    """What could not be launched would not be launched the next time."""
    assert waits(fail(retried(), failure)) == (failure is not FailureClass.LAUNCH_FAILED)


@pytest.mark.parametrize("failure", CLASSES)
@pytest.mark.parametrize("named", CLASSES)
def test_only_the_classes_that_are_named_are_tried_again(
    named: FailureClass, failure: FailureClass
) -> None:
    """A list in `failureClasses` is complete."""
    assert waits(fail(retried(failureClasses=[named]), failure)) == (named is failure)


@pytest.mark.parametrize(
    ("failure", "code", "expected"),
    [
        (FailureClass.ERROR, 3, True),
        (FailureClass.ERROR, 4, False),
        (FailureClass.ERROR, None, False),
        (FailureClass.OUT_OF_MEMORY, 137, True),
    ],
)
def test_exit_codes_choose_among_errors(
    failure: FailureClass, code: int | None, expected: bool
) -> None:
    """They say nothing about the other classes."""
    assert waits(fail(retried(exitCodes=[3]), failure, exit_code=code)) == expected


def test_a_refused_submit_is_tried_again_where_it_is_named() -> None:
    """Nothing was launched, and the user expects that this may change."""
    named = after(unit(retry={"limit": 1, "failureClasses": ["LaunchFailed"]}), None, REFUSED)
    assert waits(named)
    unnamed = after(unit(retry={"limit": 1}), None, REFUSED)
    assert unnamed.status.phase is UnitPhase.FAILED


# How often


@pytest.mark.parametrize(("first", "other"), [(USER[0], PLACE[0]), (PLACE[1], USER[2])])
def test_failures_of_the_place_are_counted_apart(first: FailureClass, other: FailureClass) -> None:
    """The last retry of one kind takes nothing from the other."""
    view = fail(retried(limit=1, infrastructureLimit=1), first)
    view = fail(again(view), other)
    assert waits(view)
    assert view.status.retries == RetryCounts(user=1, infrastructure=1)
    for failure in (first, other):
        end = fail(again(view), failure)
        assert end.status.phase is UnitPhase.FAILED
        assert end.status.retries == RetryCounts(user=1, infrastructure=1)


@pytest.mark.parametrize(
    ("limits", "failure", "expected"),
    [
        ({"limit": 0}, USER[0], 0),
        ({"limit": 0}, PLACE[0], 0),
        ({"limit": 3}, PLACE[0], 3),
        ({"limit": 0, "infrastructureLimit": 2}, PLACE[0], 2),
        ({"limit": 0, "infrastructureLimit": 2}, USER[0], 0),
        ({"limit": 2, "infrastructureLimit": 0}, PLACE[0], 0),
    ],
)
def test_each_kind_of_failure_has_its_limit(
    limits: dict[str, int], failure: FailureClass, expected: int
) -> None:
    """The place's limit is the common one unless it is set."""
    view = fail(retried(**limits), failure)
    for _ in range(expected):
        view = fail(again(view), failure)
    assert view.status.phase is UnitPhase.FAILED
    assert attempt(view).number == expected + 1


def test_the_records_are_bounded_and_the_oldest_go_first() -> None:
    """The numbers go on rising."""
    view = fail(retried(limit=1000))
    for _ in range(MAX_ATTEMPTS + 3):
        view = fail(again(view))
    numbers = [each.number for each in view.status.attempts]
    assert numbers == list(range(5, MAX_ATTEMPTS + 5))
    assert len({each.key for each in view.status.attempts}) == MAX_ATTEMPTS


# When


@pytest.mark.parametrize(
    ("policy", "number", "expected"),
    [
        ({}, 1, 10),
        ({}, 2, 20),
        ({}, 4, 80),
        ({}, 1000, 600),
        ({"factor": 1}, 7, 10),
        ({"seconds": 0}, 5, 0),
        ({"seconds": 300, "maxSeconds": 200}, 1, 200),
        ({"factor": 10, "maxSeconds": 604800}, 1000, 604800),
    ],
)
def test_the_backoff_grows_up_to_its_cap(
    policy: dict[str, int], number: int, expected: int
) -> None:
    """`seconds * factor ^ (n - 1)`, at most `maxSeconds`."""
    policy = {"jitterPercent": 0, **policy}
    given = Retry.model_validate({"limit": 1, "backoff": policy})
    assert backoff(given, Attempt(number=number, key="k")) == timedelta(seconds=expected)


def test_the_jitter_is_taken_off_and_spreads_the_units() -> None:
    """It is the same for the same attempt, and never makes a backoff longer."""
    policy = Retry.model_validate(
        {"limit": 1, "backoff": {"seconds": 1000, "maxSeconds": 1000, "jitterPercent": 30}}
    )
    waits = [backoff(policy, Attempt(number=1, key=f"u{n}-1")).total_seconds() for n in range(200)]
    assert waits == [
        backoff(policy, Attempt(number=1, key=f"u{n}-1")).total_seconds() for n in range(200)
    ]
    assert 700 <= min(waits) < 730
    assert 970 < max(waits) <= 1000


def test_the_next_attempt_begins_when_it_is_due_and_not_before() -> None:
    """Its time is in the status, the operator wakes for it, and the number and key are new."""
    view = fail(retried())
    due = NOW + timedelta(seconds=10)
    assert view.status.next_attempt_time == due
    early = step(view, None, due - timedelta(seconds=3))
    assert (early.status, early.effects, early.requeue_after) == (view.status, (), 3.0)
    begun = step(view, None, due)
    assert begun.effects == (Submit(2),)
    assert begun.status.phase is UnitPhase.SUBMITTING
    assert begun.status.next_attempt_time is None
    assert (attempt(begun).number, attempt(begun).key) == (2, "u1-2")
    assert attempt(begun).submit_time == due
    assert attempt(begun).handle is None


def test_the_status_tells_what_failed_and_what_follows() -> None:
    """The failed attempt keeps its record, and no condition says that the unit has ended."""
    view = fail(retried(), exit_code=3, node="n1")
    assert view.status.message == (
        "retry 1 of 2 at 2026-01-01T12:00:10Z; attempt 1 failed (Error, exit code 3): broke"
    )
    failed = attempt(view)
    assert (failed.failure_class, failed.exit_code, failed.node) == (FailureClass.ERROR, 3, "n1")
    assert failed.completion_time == NOW
    assert view.status.completion_time is None
    assert condition(view, "Succeeded").status == "Unknown"
    assert condition(view, "Running").status == "False"
    assert condition(view, "Submitted").status == "False"
    lost = fail(retried(infrastructureLimit=5), FailureClass.PREEMPTED)
    assert (lost.status.message or "").startswith("infrastructure retry 1 of 5 at")


def test_the_last_failure_says_which_attempt_it_was() -> None:
    """The reason is that of the failure."""
    view = fail(again(fail(retried(limit=1))), reason="OOMKilled")
    assert view.status.phase is UnitPhase.FAILED
    assert (view.status.reason, view.status.message) == ("OOMKilled", "attempt 2: broke")
    assert condition(view, "Succeeded").status == "False"


def test_nothing_is_asked_of_the_backend_during_a_backoff() -> None:
    """The job before is over."""
    view = fail(retried())
    assert not needs_observation(view)
    assert needs_observation(after(view, None, now=LATER))


def test_the_second_attempt_is_submitted_anew_when_it_never_arrived() -> None:
    """What was known of the first job says nothing about the second."""
    view = fail(retried())
    begun = after(view, None, now=LATER)
    assert step(begun, seen(State.ABSENT), LATER).effects == (Submit(2),)


def test_a_retry_that_succeeds_is_a_success() -> None:
    """The failures stay in the records."""
    view = after(again(fail(retried())), seen(State.SUCCEEDED))
    assert view.status.phase is UnitPhase.SUCCEEDED
    assert [each.failure_class for each in view.status.attempts] == [FailureClass.ERROR, None]
    assert view.status.start_time == NOW


# Cancel, delete, skip, suspend and the finalizer


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cancel": True}, "CancelRequested"),
        ({"skip": {"reason": "FailFast"}}, "CancelRequested"),
        ({}, "Deleted"),
    ],
    ids=["cancel", "skip", "delete"],
)
def test_an_end_during_a_backoff_is_at_once(change: dict[str, Any], reason: str) -> None:
    """Nothing new is begun."""
    view = fail(retried())
    view = with_spec(view, **change) if change else replace(view, deleting=True)
    for now in (NOW, LATER):
        decision = step(view, None, now)
        assert (decision.status.phase, decision.status.reason) == (UnitPhase.CANCELLED, reason)
        assert decision.effects == ()
        assert decision.status.next_attempt_time is None
        assert attempt(decision).number == 1


def test_a_failure_of_a_cancelled_unit_is_not_tried_again() -> None:
    """The job had failed before the cancel reached it."""
    view = fail(with_spec(retried(), cancel=True))
    assert view.status.phase is UnitPhase.FAILED


def test_a_suspend_holds_the_next_attempt() -> None:
    """It begins when the unit is resumed, if its backoff is over by then."""
    held = after(with_spec(fail(retried()), suspend=True), None, now=LATER)
    assert (held.status.phase, held.status.reason) == (UnitPhase.QUEUED, "Suspended")
    assert attempt(held).number == 1
    resumed = with_spec(held, suspend=False)
    assert waits(after(resumed, None))
    assert step(resumed, None, LATER).effects == (Submit(2),)


def test_the_finalizer_is_put_back_before_the_next_attempt() -> None:
    """Somebody took it off while nothing ran."""
    view = replace(fail(retried()), finalizer=False)
    assert step(view, None, LATER).effects == (AddFinalizer(),)


# Clock jumps


def test_a_clock_that_is_set_back_makes_no_backoff_longer_than_a_whole_one() -> None:
    """The time is stated anew, and counts from then."""
    view = fail(retried())
    back = after(view, None, now=NOW - HOUR)
    assert waits(back)
    assert back.status.next_attempt_time == NOW - HOUR + timedelta(seconds=10)
    assert after(back, None, now=NOW - HOUR) == back


def test_a_clock_that_jumps_starts_no_attempt_twice() -> None:
    """An attempt that was begun too early stays the one; its own backoff is a whole one."""
    begun = after(fail(retried()), None, now=NOW + HOUR)
    back = after(begun, seen(State.RUNNING), now=NOW)
    assert attempt(back).number == 2
    failed = fail(back)
    assert failed.status.next_attempt_time == NOW + timedelta(seconds=20)
    assert step(failed, None, NOW).effects == ()
