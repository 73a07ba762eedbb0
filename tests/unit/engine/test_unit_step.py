"""The life of one unit, fact by fact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from runyard.api import FailureClass, Handle, OutputValue, UnitPhase
from runyard_operator.engine.effects import AddFinalizer, CancelJob, ReleaseFinalizer, Submit
from runyard_operator.engine.observation import State
from runyard_operator.engine.unit import (
    Fact,
    Rejected,
    SubmitFailed,
    Submitted,
    UnitView,
    needs_observation,
    step,
)
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

SUBMITTED = Submitted(JOB, "sha256:1")
LIVING = (State.WAITING, State.RUNNING, State.TERMINATING, State.UNKNOWN)


def running() -> UnitView:
    """A unit whose job runs."""
    return after(unit(), None, SUBMITTED, seen(State.RUNNING, start_time=NOW))


def submitting() -> UnitView:
    """A unit whose first attempt is written, and nothing is known of its job."""
    return after(unit(), None)


# Before the first attempt


def test_a_fresh_unit_writes_its_attempt_and_key_before_it_submits() -> None:
    """The decision to submit carries the attempt, its number and its key in the status."""
    decision = step(unit(), None, NOW)
    assert decision.status.phase is UnitPhase.SUBMITTING
    assert (attempt(decision).number, attempt(decision).key) == (1, "u1-1")
    assert decision.effects == (Submit(1),)


def test_a_unit_without_finalizer_gets_it_before_anything_else() -> None:
    """No attempt is begun on a unit that could vanish without its job."""
    fresh = unit(finalizer=False)
    decision = step(fresh, None, NOW)
    assert decision.status == fresh.status
    assert decision.status.attempts == []
    assert decision.effects == (AddFinalizer(),)


def test_a_gated_unit_waits() -> None:
    """A gate keeps the unit Pending, and the message names it."""
    decision = step(unit(gates=[{"name": "dependencies"}]), None, NOW)
    assert decision.status.phase is UnitPhase.PENDING
    assert decision.status.reason == "WaitingForTasks"
    assert decision.status.message == "held by: dependencies"
    assert decision.effects == ()


@pytest.mark.parametrize(
    ("view", "phase", "reason"),
    [
        (unit(skip={"reason": "DependencyNotMet"}), UnitPhase.SKIPPED, "DependencyNotMet"),
        (unit(cancel=True), UnitPhase.CANCELLED, "CancelRequested"),
        (unit(deleting=True), UnitPhase.CANCELLED, "Deleted"),
        (unit(cancel=True, gates=[{"name": "g"}]), UnitPhase.CANCELLED, "CancelRequested"),
    ],
    ids=["skip", "cancel", "delete", "cancel while gated"],
)
def test_a_unit_that_never_started_ends_at_once(
    view: UnitView, phase: UnitPhase, reason: str
) -> None:
    """Nothing is submitted, and the finalizer goes once the end is written."""
    ended = after(view, None)
    assert (ended.status.phase, ended.status.reason) == (phase, reason)
    assert ended.status.attempts == []
    assert step(ended, None, LATER).effects == (ReleaseFinalizer(),)


def test_a_rejected_unit_fails_with_the_reason() -> None:
    """A spec that no backend can run ends the unit before its first attempt."""
    decision = step(unit(), Rejected("InvalidSpec", "spec has no image"), NOW)
    assert decision.status.phase is UnitPhase.FAILED
    assert condition(decision, "Accepted").status == "False"
    assert condition(decision, "Succeeded").reason == "InvalidSpec"


def test_a_skip_goes_before_a_rejection() -> None:
    """A unit that must not run is Skipped whatever its spec says."""
    decision = step(unit(skip={"reason": "FailFast"}), Rejected("InvalidSpec", "bad"), NOW)
    assert (decision.status.phase, decision.status.reason) == (UnitPhase.SKIPPED, "FailFast")


def test_a_rejection_cannot_cut_a_job_loose() -> None:
    """A newer operator's stricter check does not end a unit whose job may run."""
    decision = step(running(), Rejected("InvalidSpec", "bad"), NOW)
    assert decision.status == running().status
    assert decision.requeue_after is not None


# The submit


@pytest.mark.parametrize(
    "fact",
    [SubmitFailed("Unreachable", "t"), SubmitFailed("QuotaExceeded", "q", stalled=True)],
    ids=["unknown", "stalled"],
)
def test_a_submit_that_may_still_work_is_tried_again_without_an_event(fact: Fact) -> None:
    """Nobody tells the operator that a quota was raised or a network mended."""
    assert step(submitting(), fact, NOW).requeue_after is not None


def test_a_submit_that_worked_is_written() -> None:
    """The handle and the digest of the plan are in the attempt."""
    view = after(submitting(), SUBMITTED)
    assert (attempt(view).handle, attempt(view).plan_digest) == (JOB, "sha256:1")
    assert view.status.phase is UnitPhase.WAITING
    assert condition(view, "Submitted").message == "Job exp-a-1"
    assert condition(view, "CodeStaged").status == "True"


def test_a_refused_submit_is_final() -> None:
    """A request that can never succeed fails the unit with the class LaunchFailed."""
    view = after(submitting(), SubmitFailed("Refused", "bad image name", final=True))
    assert view.status.phase is UnitPhase.FAILED
    assert (view.status.reason, view.status.message) == ("Refused", "bad image name")
    assert attempt(view).failure_class is FailureClass.LAUNCH_FAILED
    assert attempt(view).completion_time == NOW


def test_a_stalled_submit_waits_for_a_human_and_tries_again() -> None:
    """Stalled is True with the reason, and a clear "none" leads to the next try."""
    view = after(submitting(), SubmitFailed("QuotaExceeded", "no room", stalled=True))
    assert view.status.phase is UnitPhase.SUBMITTING
    assert condition(view, "Stalled").status == "True"
    assert condition(view, "Reconciling").status == "False"
    assert step(view, seen(State.ABSENT), LATER).effects == (Submit(1),)
    mended = after(view, SUBMITTED)
    assert condition(mended, "Stalled").status == "False"
    assert condition(mended, "Reconciling").status == "True"


def test_an_unknown_outcome_of_a_submit_is_looked_up() -> None:
    """Nothing is concluded from a lost answer; what is found by key is adopted."""
    view = after(submitting(), SubmitFailed("Unreachable", "timeout"))
    assert view.status.phase is UnitPhase.SUBMITTING
    assert condition(view, "BackendReachable").status == "False"
    assert needs_observation(view)
    adopted = after(view, seen(State.RUNNING))
    assert attempt(adopted).handle == JOB
    assert condition(adopted, "BackendReachable").status == "True"


def test_a_submit_that_never_arrived_is_repeated_for_the_same_attempt() -> None:
    """Absent and without a handle: the same attempt is submitted again, no new one begun."""
    decision = step(submitting(), seen(State.ABSENT), LATER)
    assert decision.effects == (Submit(1),)
    assert decision.status == submitting().status


@pytest.mark.parametrize("state", [State.WAITING, State.RUNNING, State.TERMINATING])
@pytest.mark.parametrize("handle", [JOB, None], ids=["with handle", "without handle"])
def test_a_job_that_was_seen_once_is_never_submitted_again(
    state: State, handle: Handle | None
) -> None:
    """A job that disappears after any sight of it is lost, not resubmitted."""
    view = after(submitting(), seen(state, handle=handle))
    decision = step(view, seen(State.ABSENT), LATER)
    assert decision.effects == ()
    assert (decision.status.phase, decision.status.reason) == (UnitPhase.FAILED, "JobLost")
    assert attempt(decision).failure_class is FailureClass.BACKEND_LOST


# On the way


@pytest.mark.parametrize(
    ("state", "phase"), [(State.WAITING, UnitPhase.WAITING), (State.RUNNING, UnitPhase.RUNNING)]
)
def test_the_phase_follows_the_job(state: State, phase: UnitPhase) -> None:
    """Waiting and Running are what the backend says, with its reason and message."""
    view = after(submitting(), seen(state, reason="Because", message="see", node="n1"))
    assert (view.status.phase, view.status.reason, view.status.message) == (phase, "Because", "see")
    assert attempt(view).node == "n1"


def test_unreachable_is_a_condition_and_never_a_phase() -> None:
    """T2: without a clear answer everything but BackendReachable stays as it is."""
    before = running()
    view = after(before, seen(State.UNKNOWN, message="timeout"), now=LATER)
    assert condition(view, "BackendReachable").status == "False"
    assert condition(view, "BackendReachable").reason == "Unreachable"
    rest = view.status.model_copy(update={"conditions": before.status.conditions})
    assert rest == before.status
    back = after(view, seen(State.RUNNING, start_time=NOW), now=LATER)
    assert condition(back, "BackendReachable").status == "True"


def test_a_healthy_unit_is_looked_at_again_without_an_event() -> None:
    """Every state on the way has a next look: watches can die silently."""
    for state in LIVING:
        assert step(running(), seen(state), NOW).requeue_after is not None


def test_what_is_known_of_an_attempt_is_not_forgotten() -> None:
    """A later look that knows less keeps node, exit code, log lines and start."""
    rich = seen(State.RUNNING, node="n1", exit_code=3, last_log_lines=("x",), start_time=NOW)
    view = after(submitting(), rich, seen(State.RUNNING))
    kept = attempt(view)
    assert (kept.node, kept.exit_code, kept.last_log_lines, kept.start_time) == (
        "n1",
        3,
        ["x"],
        NOW,
    )


# The end


def test_a_succeeded_job_succeeds_with_its_outputs() -> None:
    """Declared outputs are in the status, others are not."""
    view = after(
        unit(outputs=[{"name": "rows"}]),
        None,
        SUBMITTED,
        seen(State.SUCCEEDED, outputs=(("rows", "7"), ("more", "8")), exit_code=0),
    )
    assert view.status.phase is UnitPhase.SUCCEEDED
    assert view.status.outputs == [OutputValue(name="rows", value="7")]
    assert view.status.completion_time == NOW
    assert condition(view, "Succeeded").status == "True"


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [((), "OutputsMissing"), ((("rows", "x" * 3501),), "OutputsTooLarge")],
)
def test_success_without_usable_outputs_is_a_failure(
    outputs: tuple[tuple[str, str], ...], reason: str
) -> None:
    """A dependant could not be started with them: the unit fails and the message names them."""
    view = after(
        unit(outputs=[{"name": "rows"}]), None, SUBMITTED, seen(State.SUCCEEDED, outputs=outputs)
    )
    assert (view.status.phase, view.status.reason) == (UnitPhase.FAILED, reason)
    assert "rows" in (view.status.message or "")
    assert view.status.outputs == []


def test_a_failed_job_fails_with_class_exit_code_and_last_lines() -> None:
    """What the backend knows of the failure is in the attempt, bounded as the schema asks."""
    failed = seen(
        State.FAILED,
        reason="OOMKilled",
        message="m" * 9999,
        exit_code=137,
        failure_class=FailureClass.OUT_OF_MEMORY,
        last_log_lines=tuple(str(n) * 2000 for n in range(30)),
    )
    view = after(running(), failed)
    assert (view.status.phase, view.status.reason) == (UnitPhase.FAILED, "OOMKilled")
    ended = attempt(view)
    assert (ended.exit_code, ended.failure_class) == (137, FailureClass.OUT_OF_MEMORY)
    assert len(ended.last_log_lines) == 20
    assert ended.last_log_lines[-1] == ("29" * 1024)[:1024]
    assert len(ended.message or "") == 1024


def test_a_failure_without_class_is_an_error() -> None:
    """T6: success is an allow-list, and so is every special failure."""
    view = after(running(), seen(State.FAILED))
    assert (view.status.reason, attempt(view).failure_class) == ("Error", FailureClass.ERROR)


def test_a_backend_that_uses_our_word_for_a_cancel_still_failed() -> None:
    """A failed job whose reason is `Deleted` is Failed: nobody asked for a cancel."""
    assert after(running(), seen(State.FAILED, reason="Deleted")).status.phase is UnitPhase.FAILED


def test_a_lost_job_names_what_is_gone() -> None:
    """The message says which object was deleted behind our back."""
    view = after(running(), seen(State.ABSENT))
    assert (view.status.phase, view.status.reason) == (UnitPhase.FAILED, "JobLost")
    assert (view.status.message or "").startswith("Job exp-a-1 is gone without a result")


TERMINAL = {
    "succeeded": lambda: after(running(), seen(State.SUCCEEDED)),
    "failed": lambda: after(running(), seen(State.FAILED)),
    "cancelled": lambda: after(unit(cancel=True), None),
    "skipped": lambda: after(unit(skip={"reason": "FailFast"}), None),
}


@pytest.mark.parametrize("end", TERMINAL)
@pytest.mark.parametrize(
    "fact",
    [*(seen(state) for state in State), None, SUBMITTED, SubmitFailed("x", "y", final=True)],
    ids=str,
)
def test_terminal_is_latched(end: str, fact: Fact) -> None:
    """No late result, absence or failure changes a finished unit; only the finalizer goes."""
    view = TERMINAL[end]()
    decision = step(view, fact, LATER)
    assert decision.status == view.status
    assert decision.effects == (ReleaseFinalizer(),)
    assert not needs_observation(view)


@pytest.mark.parametrize("end", TERMINAL)
def test_a_finished_unit_without_finalizer_is_left_alone(end: str) -> None:
    """A cancel of a finished unit is acknowledged by observedGeneration and nothing else."""
    view = with_spec(replace(TERMINAL[end](), finalizer=False), cancel=True)
    decision = step(view, None, LATER)
    assert decision.effects == ()
    assert decision.requeue_after is None
    assert decision.status == view.status.model_copy(update={"observed_generation": 2})


# Cancel


ENDINGS: dict[str, tuple[Callable[[UnitView], UnitView], str]] = {
    "cancel": (lambda view: with_spec(view, cancel=True), "CancelRequested"),
    "delete": (lambda view: replace(view, deleting=True), "Deleted"),
    "skip": (lambda view: with_spec(view, skip={"reason": "FailFast"}), "CancelRequested"),
    "cancel and delete": (
        lambda view: replace(with_spec(view, cancel=True), deleting=True),
        "CancelRequested",
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_cancel_has_two_phases(ending: str) -> None:
    """Cancelling lasts until the backend confirms; the finalizer stays until then."""
    change, reason = ENDINGS[ending]
    view = change(running())
    for state in (State.RUNNING, State.WAITING, State.UNKNOWN):
        decision = step(view, seen(state), NOW)
        assert decision.status.phase is UnitPhase.CANCELLING
        assert decision.effects == (CancelJob(1),)
        assert decision.requeue_after is not None
    leaving = after(view, seen(State.RUNNING))
    assert step(leaving, seen(State.TERMINATING), NOW).effects == ()
    ended = after(leaving, seen(State.ABSENT), now=LATER)
    assert (ended.status.phase, ended.status.reason) == (UnitPhase.CANCELLED, reason)
    assert attempt(ended).completion_time == LATER
    assert step(ended, None, LATER).effects == (ReleaseFinalizer(),)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_cancel_during_the_submit_finds_the_job(ending: str) -> None:
    """The attempt has no handle yet: the job that is found by key is noted and cancelled."""
    view = ENDINGS[ending][0](submitting())
    decision = step(view, seen(State.WAITING), NOW)
    assert attempt(decision).handle == JOB
    assert decision.effects == (CancelJob(1),)
    assert step(view, seen(State.ABSENT), NOW).status.phase is UnitPhase.CANCELLED


def test_a_submit_that_answers_after_the_cancel_is_noted() -> None:
    """The fresh job's handle is written, and the job cancelled."""
    decision = step(with_spec(submitting(), cancel=True), SUBMITTED, NOW)
    assert attempt(decision).handle == JOB
    assert decision.status.phase is UnitPhase.CANCELLING
    assert decision.effects == (CancelJob(1),)


@pytest.mark.parametrize("final", [True, False])
def test_a_submit_that_fails_after_the_cancel_does_not_end_it(final: bool) -> None:
    """Only the backend's clear "none" confirms a cancel."""
    decision = step(with_spec(submitting(), cancel=True), SubmitFailed("x", "y", final=final), NOW)
    assert decision.status.phase is UnitPhase.CANCELLING


def test_a_result_from_before_the_cancel_stands() -> None:
    """A job that ended before the cancel reached it keeps its result."""
    view = with_spec(running(), cancel=True)
    assert step(view, seen(State.SUCCEEDED), NOW).status.phase is UnitPhase.SUCCEEDED
    assert step(view, seen(State.FAILED), NOW).status.phase is UnitPhase.FAILED


def test_a_failure_while_cancelling_is_the_cancel() -> None:
    """A job that we killed fails because of it."""
    view = after(with_spec(running(), cancel=True), seen(State.RUNNING))
    ended = after(view, seen(State.FAILED, exit_code=143))
    assert ended.status.phase is UnitPhase.CANCELLED
    assert attempt(ended).exit_code == 143
    assert attempt(ended).failure_class is None


def test_reachability_is_told_while_cancelling() -> None:
    """An outage during a cancel shows, and shows that it is over."""
    view = after(with_spec(running(), cancel=True), seen(State.UNKNOWN))
    assert condition(view, "BackendReachable").reason == "Unreachable"
    back = after(view, seen(State.TERMINATING))
    assert condition(back, "BackendReachable").status == "True"


# Everywhere


FACTS: list[Fact] = [
    *(seen(state, message="m") for state in State),
    SubmitFailed("Unreachable", "t"),
    SubmitFailed("QuotaExceeded", "q", stalled=True),
    SubmitFailed("Refused", "r", final=True),
    SUBMITTED,
    None,
]
STATES = {
    "fresh": unit(),
    "no finalizer": unit(finalizer=False),
    "gated": unit(gates=[{"name": "g"}]),
    "submitting": submitting(),
    "running": running(),
    "cancelling": after(with_spec(running(), cancel=True), seen(State.RUNNING)),
    "deleting": replace(running(), deleting=True),
}


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("fact", FACTS, ids=str)
def test_the_second_decision_on_the_same_news_changes_nothing(name: str, fact: Fact) -> None:
    """A decision is a fixed point: applied, the same fact leads to the same status."""
    once = after(STATES[name], fact)
    twice = after(once, fact if once.status.attempts else None)
    thrice = after(twice, fact, now=LATER)
    assert twice.status == after(twice, fact).status
    assert thrice.status == twice.status


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("fact", FACTS, ids=str)
def test_every_status_tells_its_generation_and_fits_the_schema(name: str, fact: Fact) -> None:
    """ObservedGeneration is current, and the status is valid as the API server reads it.

    But where the finalizer goes on first: that writes no status.
    """
    view = after(STATES[name], fact)
    if view.status == STATES[name].status and not view.finalizer:
        return
    assert view.status.observed_generation == view.generation
    assert type(view.status).model_validate(view.status.to_dict()) == view.status
