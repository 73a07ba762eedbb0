"""Random specs, news, clocks and wishes: what holds for every unit at every step."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runyard.api import FailureClass, UnitPhase
from runyard.api.unit import MAX_ATTEMPTS, RetryCounts, UnitStatus
from runyard_operator.engine.effects import ReleaseFinalizer, ResumeJob, Submit, SuspendJob
from runyard_operator.engine.observation import State
from runyard_operator.engine.unit import (
    Fact,
    SubmitFailed,
    Submitted,
    UnitDecision,
    UnitView,
    lost_attempts,
    needs_observation,
    step,
)
from tests.unit.engine.builders import JOB, NOW, seen, unit, with_spec

CLASSES = st.sampled_from(FailureClass)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "retry": st.fixed_dictionaries(
            {
                "limit": st.integers(0, 3),
                "backoff": st.fixed_dictionaries({"seconds": st.integers(1, 60)}),
            },
            optional={
                "infrastructureLimit": st.integers(0, 20),
                "failureClasses": st.lists(CLASSES, unique=True, max_size=3),
                "exitCodes": st.lists(st.integers(1, 3), unique=True, max_size=2),
            },
        ),
        "deadlines": st.fixed_dictionaries(
            {}, optional={"queuedSeconds": st.integers(1, 90), "activeSeconds": st.integers(1, 90)}
        ),
    },
)
JUMPS = st.sampled_from([0, 0, 1, 5, 30, 61, 700, 3600, -1, -3600])
WISHES = st.sampled_from([None] * 12 + ["cancel", "delete", "suspend", "suspend", "resume"])
NEWS = st.builds(
    seen,
    st.sampled_from([*State, State.RUNNING, State.FAILED, State.FAILED, State.ABSENT]),
    message=st.sampled_from(["", "m"]),
    failure_class=st.one_of(st.none(), CLASSES),
    exit_code=st.sampled_from([None, 1, 137]),
)
ANSWERS: st.SearchStrategy[Fact] = st.sampled_from(
    [
        Submitted(JOB, "d"),
        SubmitFailed("Unreachable", "timeout"),
        SubmitFailed("QuotaExceeded", "q", stalled=True),
        SubmitFailed("Refused", "r", final=True),
    ]
)


def fact_of(view: UnitView, data: st.DataObject, *, about_lost: bool) -> Fact:
    """What a look can bring, as the reconciler looks."""
    if (lost := lost_attempts(view)) and about_lost:
        return replace(data.draw(NEWS), key=data.draw(st.sampled_from(lost)).key)
    if needs_observation(view) and view.attempt is not None:
        return replace(data.draw(NEWS), key=view.attempt.key)
    return None


def wished(view: UnitView, wish: str | None) -> UnitView:
    """The unit after what a user did to it."""
    match wish:
        case "cancel":
            return with_spec(view, cancel=True)
        case "delete":
            return replace(view, deleting=True)
        case "suspend" | "resume":
            return with_spec(view, suspend=wish == "suspend")
        case _:
            return view


def check(view: UnitView, decision: UnitDecision) -> None:
    """What holds for each decision."""
    new = decision.status
    assert UnitStatus.model_validate(new.to_dict()) == new
    numbers = [each.number for each in new.attempts]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
    assert len(numbers) <= MAX_ATTEMPTS
    assert all(each.completion_time for each in new.attempts[:-1])
    counts = new.retries or RetryCounts()
    latest = numbers[-1] if numbers else 1
    begun = latest if new.next_attempt_time is not None or _waits(new) else latest - 1
    assert counts.user + counts.infrastructure in (begun, latest - 1)
    if view.spec.retry is not None:
        assert counts.user <= view.spec.retry.limit
    ended = new.phase is not None and new.phase.terminal
    assert (new.completion_time is not None) == ended
    assert decision.requeue_after is not None or ended or new.reason == "Suspended"
    for effect in decision.effects:
        if isinstance(effect, Submit):
            assert effect.attempt == latest
            assert new.attempts[-1].completion_time is None
            assert new.attempts[-1].handle is None
            assert not view.ending_wanted
            assert not view.spec.suspend
            assert new.phase is UnitPhase.SUBMITTING
        if isinstance(effect, SuspendJob | ResumeJob):
            assert view.can_suspend
            assert isinstance(effect, SuspendJob) == view.spec.suspend
        assert ended == isinstance(effect, ReleaseFinalizer)


def _waits(status: UnitStatus) -> bool:
    return bool(status.attempts) and status.attempts[-1].completion_time is not None


def check_again(view: UnitView, decision: UnitDecision, fact: Fact, now: datetime) -> None:
    """A second run on its own result changes nothing, unless it said that more is due now."""
    new = replace(view, status=decision.status)
    more_is_due = decision.requeue_after == 0 and not new.ended
    just_begun = view.status.attempts[-1:] != new.status.attempts[-1:] and fact is None
    if not more_is_due and not just_begun:
        assert step(new, fact, now).status == decision.status


@settings(max_examples=100, deadline=None)
@given(
    spec=SPECS,
    settle=st.sampled_from([0.0, 10.0]),
    can_suspend=st.booleans(),
    data=st.data(),
)
def test_every_decision_is_sound_and_a_fixed_point(
    spec: dict[str, Any], settle: float, can_suspend: bool, data: st.DataObject
) -> None:
    """Over histories of twenty steps; an end is for ever."""
    view = replace(unit(**spec), settle_seconds=settle, can_suspend=can_suspend)
    now, end = NOW, None
    submits: Counter[int] = Counter()
    for _ in range(20):
        now += timedelta(seconds=data.draw(JUMPS))
        view = wished(view, data.draw(WISHES))
        fact = fact_of(view, data, about_lost=data.draw(st.booleans()))
        for _ in range(2):
            decision = step(view, fact, now)
            check(view, decision)
            check_again(view, decision, fact, now)
            view = replace(view, status=decision.status)
            sent = [each for each in decision.effects if isinstance(each, Submit)]
            submits.update(each.attempt for each in sent)
            if not sent:
                break
            fact = data.draw(ANSWERS)
        if end is not None:
            assert view.status.model_copy(update={"observed_generation": 0}) == end
        if view.ended:
            end = view.status.model_copy(update={"observed_generation": 0})
