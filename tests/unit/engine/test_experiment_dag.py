"""What the DAG means: who starts, who is skipped, who is cancelled, and how it all ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runyard.api import ExperimentPhase, FailurePolicy, Task, UnitPhase
from runyard_operator.engine.effects import ReleaseFinalizer, UpdateUnit
from runyard_operator.engine.experiment import ExperimentView, plan
from tests.unit.engine.builders import LATER, NOW, condition, experiment, made, task, told

PENDING, RUNNING = UnitPhase.PENDING, UnitPhase.RUNNING
SUCCEEDED, FAILED = UnitPhase.SUCCEEDED, UnitPhase.FAILED
CANCELLED, SKIPPED = UnitPhase.CANCELLED, UnitPhase.SKIPPED
CONTINUE, FAIL_FAST = FailurePolicy.CONTINUE, FailurePolicy.FAIL_FAST

PAIR = (task("a"), task("b", "a"))
CHAIN = (task("a"), task("b", "a"), task("c", "b"))
JOIN = (task("a"), task("b"), task("c", "a", "b:Finished"))
HANDLED = (task("a"), task("b", "a"), task("h", "a:Failed"))

EDGES = [
    # when, how the parent ended, what the child is told
    ("Succeeded", SUCCEEDED, "release"),
    ("Succeeded", FAILED, "skip:DependencyNotMet"),
    ("Succeeded", CANCELLED, "skip:DependencyNotMet"),
    ("Succeeded", SKIPPED, "skip:DependencyNotMet"),
    ("Failed", SUCCEEDED, "skip:DependencyNotMet"),
    ("Failed", FAILED, "release"),
    ("Failed", CANCELLED, "skip:DependencyNotMet"),
    ("Failed", SKIPPED, "skip:DependencyNotMet"),
    ("Finished", SUCCEEDED, "release"),
    ("Finished", FAILED, "release"),
    ("Finished", CANCELLED, "release"),
    ("Finished", SKIPPED, "release"),
]


@pytest.mark.parametrize(("when", "ended", "expected"), EDGES)
@pytest.mark.parametrize("policy", FailurePolicy)
def test_an_edge_is_met_or_never_will_be(
    when: str, ended: UnitPhase, expected: str, policy: FailurePolicy
) -> None:
    """Once the parent has ended, its child starts or is skipped, under both policies."""
    view = made(
        experiment(task("a"), task("b", f"a:{when}"), failurePolicy=policy), a=ended, b=PENDING
    )
    assert told(view, plan(view, NOW)) == {"b": expected}


@pytest.mark.parametrize("when", ["Succeeded", "Failed", "Finished"])
@pytest.mark.parametrize("phase", [phase for phase in UnitPhase if not phase.terminal])
def test_an_edge_waits_while_its_parent_goes_on(when: str, phase: UnitPhase) -> None:
    """Before the parent is terminal nothing is said to the child."""
    view = made(experiment(task("a"), task("b", f"a:{when}")), a=phase, b=PENDING)
    assert "b" not in told(view, plan(view, NOW))


def test_a_skip_names_the_parent_and_how_it_ended() -> None:
    """The message of DependencyNotMet tells what was needed and what came."""
    view = made(experiment(*PAIR), a=FAILED, b=PENDING)
    (effect,) = plan(view, NOW).effects
    assert isinstance(effect, UpdateUnit)
    assert effect.spec.skip is not None
    assert effect.spec.skip.message == "needs 'a' to end as Succeeded; it ended as Failed"


STEPS: list[tuple[str, tuple[Task, ...], FailurePolicy, dict[str, UnitPhase], dict[str, str]]] = [
    (
        "a task without edges starts at once",
        PAIR,
        FAIL_FAST,
        {"a": PENDING, "b": PENDING},
        {"a": "release"},
    ),
    (
        "all edges must be met",
        JOIN,
        FAIL_FAST,
        {"a": SUCCEEDED, "b": RUNNING, "c": PENDING},
        {},
    ),
    (
        "with all edges met it starts",
        JOIN,
        FAIL_FAST,
        {"a": SUCCEEDED, "b": FAILED, "c": PENDING},
        {"c": "release"},
    ),
    (
        "one edge that can never be met is enough to skip, the others unfinished",
        JOIN,
        CONTINUE,
        {"a": FAILED, "b": RUNNING, "c": PENDING},
        {"c": "skip:DependencyNotMet"},
    ),
    (
        "a skip reaches all descendants at once",
        CHAIN,
        CONTINUE,
        {"a": FAILED, "b": PENDING, "c": PENDING},
        {"b": "skip:DependencyNotMet", "c": "skip:DependencyNotMet"},
    ),
    (
        "a skip on its way starts nobody: the Finished child waits for the written end",
        (task("a"), task("b", "a"), task("c", "b:Finished")),
        CONTINUE,
        {"a": FAILED, "b": PENDING, "c": PENDING},
        {"b": "skip:DependencyNotMet"},
    ),
    (
        "Continue lets other branches go on",
        (task("a"), task("b"), task("c", "b")),
        CONTINUE,
        {"a": FAILED, "b": SUCCEEDED, "c": PENDING},
        {"c": "release"},
    ),
    (
        "FailFast cancels what runs and skips what waits",
        (task("a"), task("b"), task("c", "b"), task("d", "a:Succeeded")),
        FAIL_FAST,
        {"a": FAILED, "b": RUNNING, "c": PENDING, "d": PENDING},
        {"b": "cancel", "c": "skip:FailFast", "d": "skip:DependencyNotMet"},
    ),
    (
        "FailFast skips even a task that is ready",
        (task("a"), task("b"), task("c", "b")),
        FAIL_FAST,
        {"a": FAILED, "b": SUCCEEDED, "c": PENDING},
        {"c": "skip:FailFast"},
    ),
    (
        "a failure that a Failed edge waits for is not fatal",
        (*HANDLED, task("x")),
        FAIL_FAST,
        {"a": FAILED, "b": PENDING, "h": PENDING, "x": RUNNING},
        {"b": "skip:DependencyNotMet", "h": "release"},
    ),
    (
        "a failure that a Finished edge waits for is not fatal",
        (task("a"), task("c", "a:Finished"), task("x")),
        FAIL_FAST,
        {"a": FAILED, "c": PENDING, "x": RUNNING},
        {"c": "release"},
    ),
    (
        "the failure of the handler itself is fatal",
        (*HANDLED, task("x")),
        FAIL_FAST,
        {"a": FAILED, "b": SKIPPED, "h": FAILED, "x": RUNNING},
        {"x": "cancel"},
    ),
    (
        "a cancelled or skipped task is no failure",
        (task("a"), task("b"), task("c")),
        FAIL_FAST,
        {"a": CANCELLED, "b": SKIPPED, "c": RUNNING},
        {},
    ),
]


@pytest.mark.parametrize(
    ("tasks", "policy", "phases", "expected"),
    [row[1:] for row in STEPS],
    ids=[row[0] for row in STEPS],
)
def test_the_next_step_of_every_task(
    tasks: tuple[Task, ...],
    policy: FailurePolicy,
    phases: dict[str, UnitPhase],
    expected: dict[str, str],
) -> None:
    """Phases of the units in, what each unit is told out."""
    view = made(experiment(*tasks, failurePolicy=policy), **phases)
    decision = plan(view, NOW)
    assert told(view, decision) == expected
    assert decision.status.phase is ExperimentPhase.RUNNING


def test_cancel_reaches_everything_that_has_not_ended() -> None:
    """What runs and what waits is cancelled; nothing is released any more."""
    view = made(
        experiment(*JOIN, task("d", "a"), cancel=True),
        a=SUCCEEDED,
        b=RUNNING,
        c=PENDING,
        d=PENDING,
    )
    decision = plan(view, NOW)
    assert told(view, decision) == {"b": "cancel", "c": "cancel", "d": "cancel"}
    assert decision.status.phase is ExperimentPhase.CANCELLING


def test_what_was_told_once_is_not_told_again() -> None:
    """A unit that carries its cancel or its skip already gets no further write."""
    view = made(experiment(*CHAIN, cancel=True), a=RUNNING, b=PENDING, c=PENDING)
    assert told(_obeyed(view), plan(_obeyed(view), NOW)) == {}


def _obeyed(view: ExperimentView) -> ExperimentView:
    """The view after its decision's effects, before any unit has looked."""
    units = dict(view.units)
    for effect in plan(view, NOW).effects:
        assert isinstance(effect, UpdateUnit)
        units[effect.task] = replace(units[effect.task], spec=effect.spec)
    return replace(view, units=units)


def test_a_released_unit_is_not_told_again_before_it_has_looked() -> None:
    """A unit without gates whose phase is still Pending is left alone."""
    view = made(experiment(*PAIR), a=SUCCEEDED, b=PENDING)
    assert told(_obeyed(view), plan(_obeyed(view), NOW)) == {}


def test_a_unit_that_the_user_cancelled_is_left_alone() -> None:
    """One cancelled unit does not cancel its siblings."""
    view = made(experiment(task("a"), task("b")), a=RUNNING, b=RUNNING)
    cancelled = replace(view.units["a"], spec=view.units["a"].spec.model_copy(update={"cancel": 1}))
    view = replace(view, units={**view.units, "a": cancelled})
    assert told(view, plan(view, NOW)) == {}


RESULTS = [
    ("all succeeded", PAIR, False, {"a": SUCCEEDED, "b": SUCCEEDED}, "Succeeded", "Succeeded"),
    ("one failed", PAIR, False, {"a": FAILED, "b": SKIPPED}, "Failed", "TasksFailed"),
    (
        "skipped tasks alone never fail it",
        HANDLED,
        False,
        {"a": SUCCEEDED, "b": SUCCEEDED, "h": SKIPPED},
        "Succeeded",
        "Succeeded",
    ),
    (
        "a failure is handled when a task with a Failed edge on it succeeded",
        HANDLED,
        False,
        {"a": FAILED, "b": SKIPPED, "h": SUCCEEDED},
        "Succeeded",
        "Succeeded",
    ),
    (
        "a handler that failed handles nothing",
        HANDLED,
        False,
        {"a": FAILED, "b": SKIPPED, "h": FAILED},
        "Failed",
        "TasksFailed",
    ),
    (
        "a Finished edge waits for a failure and does not handle it",
        (task("a"), task("c", "a:Finished")),
        False,
        {"a": FAILED, "c": SUCCEEDED},
        "Failed",
        "TasksFailed",
    ),
    ("cancelled", PAIR, True, {"a": CANCELLED, "b": CANCELLED}, "Cancelled", "CancelRequested"),
    (
        "cancelled wins over failed",
        PAIR,
        True,
        {"a": FAILED, "b": CANCELLED},
        "Cancelled",
        "CancelRequested",
    ),
    (
        "a cancel that came too late for every task changes nothing",
        PAIR,
        True,
        {"a": SUCCEEDED, "b": SUCCEEDED},
        "Succeeded",
        "Succeeded",
    ),
    (
        "tasks cancelled one by one",
        PAIR,
        False,
        {"a": CANCELLED, "b": SKIPPED},
        "Cancelled",
        "CancelRequested",
    ),
    (
        "tasks that FailFast cancelled do not hide the failure",
        (task("a"), task("b")),
        False,
        {"a": FAILED, "b": CANCELLED},
        "Failed",
        "TasksFailed",
    ),
]


@pytest.mark.parametrize(
    ("tasks", "cancel", "phases", "phase", "reason"),
    [row[1:] for row in RESULTS],
    ids=[row[0] for row in RESULTS],
)
def test_the_result(
    tasks: tuple[Task, ...],
    cancel: bool,
    phases: dict[str, UnitPhase],
    phase: str,
    reason: str,
) -> None:
    """Once every task is terminal the experiment has its result, and lets go of its finalizer."""
    view = made(experiment(*tasks, cancel=cancel), **phases)
    decision = plan(view, LATER)
    assert (decision.status.phase, decision.status.reason) == (phase, reason)
    assert decision.status.completion_time == LATER
    assert decision.effects == ()
    assert condition(decision, "Succeeded").status == str(phase == "Succeeded")
    assert condition(decision, "Reconciling").status == "False"
    ended = replace(view, status=decision.status)
    again = plan(ended, LATER)
    assert again.status == decision.status
    assert again.effects == (ReleaseFinalizer(),)


@pytest.mark.parametrize("phases", [{"a": FAILED, "b": SUCCEEDED}, {"a": RUNNING}, {}], ids=str)
def test_the_result_is_latched(phases: dict[str, UnitPhase]) -> None:
    """Whatever is done to its units afterwards, a finished experiment stays as it ended."""
    done = made(experiment(*PAIR), a=SUCCEEDED, b=SUCCEEDED)
    ended = replace(made(experiment(*PAIR), **phases), status=plan(done, NOW).status)
    decision = plan(replace(ended, finalizer=False, generation=2), LATER)
    assert decision.status.model_copy(update={"observed_generation": 1}) == ended.status
    assert decision.status.observed_generation == 2
    assert decision.effects == ()


# A unit that somebody deleted


def test_a_deleted_unit_is_not_made_again() -> None:
    """Its task counts as Cancelled: its children are skipped, nothing is created."""
    view = made(experiment(*PAIR), b=PENDING)
    decision = plan(view, NOW)
    assert told(view, decision) == {"b": "skip:DependencyNotMet"}
    assert decision.status.counts is not None
    assert (decision.status.counts.cancelled, decision.status.progress) == (1, "1/2")


def test_an_experiment_whose_units_are_all_gone_is_cancelled() -> None:
    """It ends, and every task is counted."""
    decision = plan(made(experiment(*PAIR)), NOW)
    assert decision.status.phase is ExperimentPhase.CANCELLED
    assert decision.status.progress == "2/2"


def test_outputs_that_went_with_a_deleted_unit_skip_whoever_needs_them() -> None:
    """The grandchild cannot be started without the value, and its message says why."""
    view = made(
        experiment(
            task("a", outputs=[{"name": "x"}]),
            task("b", "a"),
            task("c", "b", env=[{"name": "X", "value": "${tasks.a.outputs.x}"}]),
        ),
        b=SUCCEEDED,
        c=PENDING,
    )
    (effect,) = plan(view, NOW).effects
    assert isinstance(effect, UpdateUnit)
    assert effect.spec.skip is not None
    assert effect.spec.skip.message == (
        "${tasks.a.outputs.x} has no value: the ExecutionUnit that wrote it was deleted"
    )


def test_a_release_carries_the_values_of_outputs() -> None:
    """References in env and args are replaced in the same write that takes the gate away."""
    child = task(
        "b",
        "a",
        env=[{"name": "X", "value": "<${tasks.a.outputs.x}>"}],
        script={"inline": "echo ${tasks.a.outputs.x}", "args": ["${tasks.a.outputs.x}"]},
    )
    view = made(experiment(task("a", outputs=[{"name": "x"}]), child), a=SUCCEEDED, b=PENDING)
    (effect,) = plan(view, NOW).effects
    assert isinstance(effect, UpdateUnit)
    assert effect.spec.gates == []
    assert effect.spec.env[0].value == "<a-x>"
    assert effect.spec.script.args == ["a-x"]
    assert effect.spec.script.inline == "echo ${tasks.a.outputs.x}"


# What the status shows


def test_the_status_counts_and_names_what_runs() -> None:
    """Counts by phase, progress, and at most five names in the message."""
    names = [f"t{n}" for n in range(7)]
    view = made(
        experiment(*(task(name) for name in names), task("z")),
        **dict.fromkeys(names, RUNNING),
        z=SUCCEEDED,
    )
    status = plan(view, NOW).status
    assert status.counts is not None
    assert (status.counts.total, status.counts.running, status.counts.succeeded) == (8, 7, 1)
    assert status.progress == "1/8"
    assert status.message == "running: t0, t1, t2, t3, t4 ..."


def test_the_list_of_failed_tasks_is_bounded() -> None:
    """The first ten, in the order of the spec; the counts tell the rest."""
    names = [f"t{n:02}" for n in range(12)]
    view = made(experiment(*(task(name) for name in names)), **dict.fromkeys(names, FAILED))
    status = plan(view, NOW).status
    assert [each.name for each in status.failed_tasks] == names[:10]
    assert status.counts is not None
    assert status.counts.failed == 12
