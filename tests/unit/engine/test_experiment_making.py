"""From a fresh experiment to its units: what is refused, what is waited for, what is cleaned up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runyard.api import Code, ExperimentPhase, UnitPhase
from runyard_operator.engine.effects import (
    AddFinalizer,
    CreateUnit,
    DeleteUnit,
    ReleaseFinalizer,
    StageCode,
)
from runyard_operator.engine.experiment import ExperimentView, Foreign, plan
from tests.unit.engine.builders import LATER, NOW, condition, experiment, made, task, told

MOUNT = {"name": "v", "mountPath": "/v"}
KEYS = [{"key": key, "path": "x.py"} for key in ("k", "l")]
PAIR = (task("a"), task("b", "a"))
IMAGE = {"job": {"image": "img"}}
BARE: dict[str, dict[str, str]] = {"job": {}}
INLINE = {"inline": [{"path": "a.py", "content": "1"}]}
STAGED = Code.model_validate({"configMap": {"name": "code-1"}})


def written(view: ExperimentView) -> ExperimentView:
    """The view once its next decision's status is written."""
    return replace(view, status=plan(view, NOW).status)


def partly(view: ExperimentView, **phases: UnitPhase) -> ExperimentView:
    """The view with some units made, and the condition UnitsCreated not yet written."""
    return replace(made(view, **phases), status=view.status)


def test_the_finalizer_comes_before_any_unit() -> None:
    """An experiment that could vanish without its units makes none."""
    decision = plan(replace(experiment(*PAIR), finalizer=False), NOW)
    assert decision.effects == (AddFinalizer(),)
    assert decision.status.phase is ExperimentPhase.PENDING


def test_units_are_made_in_order_and_gated() -> None:
    """Code is staged first; every unit is born with a gate, for none may run before all exist."""
    view = replace(experiment(*PAIR[::-1], code=INLINE), staged_code=STAGED)
    stage, first, second = plan(view, NOW).effects
    assert stage == StageCode()
    assert isinstance(first, CreateUnit)
    assert isinstance(second, CreateUnit)
    assert (first.task, [gate.name for gate in first.spec.gates]) == ("a", ["dependencies"])
    assert (second.task, [gate.name for gate in second.spec.gates]) == ("b", ["dependencies"])
    assert (first.spec.experiment, first.spec.task, first.spec.code) == ("exp", "a", STAGED)


def test_only_missing_units_are_made() -> None:
    """After a crash in the middle the rest is made."""
    view = partly(experiment(*PAIR), a=UnitPhase.RUNNING)
    assert [effect.task for effect in plan(view, NOW).effects] == ["b"]  # type: ignore[union-attr]


def test_that_all_units_exist_is_written_before_any_is_released() -> None:
    """The condition UnitsCreated is what makes a missing unit a deleted one later."""
    view = partly(experiment(*PAIR), a=UnitPhase.SUCCEEDED, b=UnitPhase.PENDING)
    decision = plan(view, NOW)
    assert condition(decision, "UnitsCreated").status == "True"
    assert decision.effects == ()
    assert decision.status.start_time == NOW
    assert told(view, plan(written(view), LATER)) == {"b": "release"}


def test_start_time_is_written_once() -> None:
    """Later decisions keep the first start."""
    view = written(partly(experiment(task("a")), a=UnitPhase.RUNNING))
    assert plan(view, LATER).status.start_time == NOW


REFUSED = [
    (
        "a cycle is named",
        experiment(task("a", "c"), task("b", "a"), task("c", "b"), task("d", "a")),
        "InvalidGraph",
        "the tasks wait for each other in a cycle: a -> c -> b -> a.",
    ),
    (
        "an edge to nowhere",
        experiment(task("a", "z")),
        "InvalidGraph",
        "tasks[a].after names 'z', which is not a task",
    ),
    (
        "a task without image",
        experiment(task("a", executor=BARE)),
        "InvalidSpec",
        "tasks[a] has no image: set it",
    ),
    (
        "a mount without volume",
        experiment(
            task(
                "a",
                executor={"job": {"image": "i", "volumeMounts": [MOUNT]}},
            )
        ),
        "InvalidSpec",
        "tasks[a] mounts volume 'v' at /v, and has no volume of that name",
    ),
    (
        "inline code that is too large",
        experiment(
            task("a"),
            code={"inline": [{"path": f"f{n}", "content": "x" * 500_000} for n in range(2)]},
        ),
        "InvalidSpec",
        "code.inline holds 1000000 bytes",
    ),
    (
        "a file that is a folder too",
        experiment(
            task("a"), code={"inline": [{"path": p, "content": ""} for p in ("lib", "lib/x.py")]}
        ),
        "InvalidSpec",
        "code.inline has 'lib' both as a file and as the folder",
    ),
    (
        "two keys at one path",
        experiment(
            task("a"),
            code={
                "configMap": {
                    "name": "c",
                    "items": KEYS,
                }
            },
        ),
        "InvalidSpec",
        "code.configMap.items has 'x.py' twice",
    ),
]


@pytest.mark.parametrize(
    ("view", "reason", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_spec_that_can_never_run_fails_the_experiment(
    view: ExperimentView, reason: str, message: str
) -> None:
    """It ends before anything is made, and the message says what is wrong where."""
    decision = plan(view, NOW)
    assert decision.effects == ()
    assert decision.status.phase is ExperimentPhase.FAILED
    assert decision.status.completion_time == NOW
    assert decision.status.reason == reason
    assert (decision.status.message or "").startswith(message)
    assert condition(decision, "Accepted").status == "False"
    assert condition(decision, "Accepted").reason == reason


# Profiles


def test_a_missing_profile_is_waited_for() -> None:
    """The experiment is Stalled and goes on by itself when the profile comes."""
    view = experiment(task("a", profile="gpu", executor=BARE))
    decision = plan(view, NOW)
    assert decision.effects == ()
    assert decision.requeue_after is not None
    assert decision.status.phase is ExperimentPhase.PENDING
    assert condition(decision, "Stalled").reason == "ProfileNotFound"
    assert "create it or correct the name" in condition(decision, "Stalled").message
    late = experiment(
        task("a", profile="gpu", executor=BARE), profiles={"gpu": {"executor": IMAGE}}
    )
    mended = plan(replace(late, status=decision.status), LATER)
    assert condition(mended, "Stalled").status == "False"
    assert condition(mended, "Accepted").status == "True"
    assert [type(effect) for effect in mended.effects] == [CreateUnit]


def test_a_circle_of_profiles_is_named() -> None:
    """The chain is in the message."""
    profiles = {"p": {"extends": "q"}, "q": {"extends": "p"}}
    decision = plan(experiment(task("a", profile="p"), profiles=profiles), NOW)
    assert condition(decision, "Stalled").reason == "ProfileCycle"
    assert "p -> q -> p" in condition(decision, "Stalled").message


@pytest.mark.parametrize("profiles", [{}, {"gpu": {}}], ids=["deleted", "emptied"])
def test_a_profile_that_changes_later_does_not_reach_the_units(
    profiles: dict[str, dict[str, str]],
) -> None:
    """Units took a copy: the experiment goes on as if nothing had happened."""
    tasks = (task("a", profile="gpu", executor=BARE), task("b", "a"))
    before = experiment(*tasks, profiles={"gpu": {"executor": IMAGE}})
    view = made(before, a=UnitPhase.SUCCEEDED, b=UnitPhase.PENDING)
    changed = replace(view, profiles=experiment(task("x"), profiles=profiles).profiles)
    assert plan(changed, NOW) == plan(view, NOW)
    assert told(changed, plan(changed, NOW)) == {"b": "release"}


def test_a_profile_that_goes_while_units_are_made_ends_those_that_exist_first() -> None:
    """The experiment fails only when no unit is left that could go on unseen."""
    view = partly(
        experiment(task("a", profile="p", executor=BARE), task("b"), profiles={"p": {}}),
        b=UnitPhase.RUNNING,
    )
    decision = plan(view, NOW)
    assert told(view, decision) == {"b": "cancel"}
    assert decision.status.phase is ExperimentPhase.CANCELLING
    ended = partly(view, b=UnitPhase.CANCELLED)
    assert plan(ended, NOW).status.phase is ExperimentPhase.FAILED


# Names that are taken


def test_a_foreign_unit_of_the_same_name_is_never_touched() -> None:
    """The experiment is Stalled with NameConflict and makes no unit."""
    view = replace(experiment(*PAIR), foreign={"b": Foreign("exp-b")})
    decision = plan(view, NOW)
    assert decision.effects == ()
    assert decision.requeue_after is not None
    assert condition(decision, "Stalled").reason == "NameConflict"
    assert condition(decision, "Accepted").status == "True"
    assert "exp-b" in condition(decision, "Stalled").message


def test_a_foreign_unit_on_its_way_out_is_waited_for() -> None:
    """An experiment that is made again right after a deletion waits for the old units."""
    view = replace(experiment(*PAIR), foreign={"b": Foreign("exp-b", deleting=True)})
    decision = plan(view, NOW)
    assert decision.effects == ()
    assert decision.requeue_after is not None
    assert condition(decision, "Stalled").status == "False"
    assert decision.status.message == "waiting for an older ExecutionUnit exp-b to go"


# Cancel and delete


CANCELLED_EARLY = {
    "fresh": experiment(*PAIR, cancel=True),
    "waiting for a profile": experiment(task("a", profile="gpu"), cancel=True),
    "name taken": replace(experiment(*PAIR, cancel=True), foreign={"b": Foreign("exp-b")}),
    "invalid": experiment(task("a", "z"), cancel=True),
}


@pytest.mark.parametrize("name", CANCELLED_EARLY)
def test_a_cancel_before_the_units_exist_makes_none(name: str) -> None:
    """Whatever it waited for, the experiment ends as Cancelled."""
    decision = plan(CANCELLED_EARLY[name], NOW)
    assert decision.effects == ()
    assert decision.status.phase is ExperimentPhase.CANCELLED
    assert decision.status.reason == "CancelRequested"


def test_a_cancel_in_the_middle_of_making_units_ends_those_that_exist() -> None:
    """They are cancelled, and the experiment waits for them."""
    view = partly(experiment(*PAIR, cancel=True), a=UnitPhase.RUNNING)
    decision = plan(view, NOW)
    assert told(view, decision) == {"a": "cancel"}
    assert decision.status.phase is ExperimentPhase.CANCELLING
    assert plan(partly(view, a=UnitPhase.CANCELLED), NOW).status.phase is ExperimentPhase.CANCELLED


def test_deletion_takes_the_units_first() -> None:
    """The finalizer goes when no unit is left; units that are leaving are not deleted twice."""
    view = replace(made(experiment(*PAIR), a=UnitPhase.RUNNING, b=UnitPhase.PENDING), deleting=True)
    decision = plan(view, NOW)
    assert decision.effects == (DeleteUnit("a", "uid-a"), DeleteUnit("b", "uid-b"))
    assert decision.status.phase is ExperimentPhase.CANCELLING
    assert decision.requeue_after is not None
    leaving = {name: replace(unit, deleting=True) for name, unit in view.units.items()}
    assert plan(replace(view, units=leaving), NOW).effects == ()
    assert plan(replace(view, units={}), NOW).effects == (ReleaseFinalizer(),)
    assert plan(replace(view, units={}, finalizer=False), NOW).effects == ()


def test_deletion_goes_before_everything_else() -> None:
    """Neither a bad spec nor a missing profile nor a taken name keeps an experiment alive."""
    for view in CANCELLED_EARLY.values():
        bare = replace(view, deleting=True, spec=view.spec.model_copy(update={"cancel": False}))
        assert plan(bare, NOW).effects == (ReleaseFinalizer(),)


def test_a_finished_experiment_that_is_deleted_keeps_its_status() -> None:
    """Its result is not overwritten by Cancelling while its units go."""
    view = made(experiment(task("a")), a=UnitPhase.SUCCEEDED)
    ended = replace(view, status=plan(view, NOW).status, deleting=True)
    decision = plan(ended, LATER)
    assert decision.status == ended.status
    assert decision.effects == (DeleteUnit("a", "uid-a"),)
