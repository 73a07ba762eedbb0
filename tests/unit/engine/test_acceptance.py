"""From a fresh experiment to its first unit: what is refused, what is waited for, what is made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runyard.api import Code, ExperimentPhase, UnitPhase
from runyard_operator.engine.effects import AddFinalizer, CreateUnit, StageCode
from runyard_operator.engine.experiment import ExperimentView, Foreign, plan
from runyard_operator.engine.slots import Slot
from tests.unit.engine.builders import LATER, NOW, accepted, condition, experiment, made, task, told
from tests.unit.engine.rounds import Rounds

MOUNT = {"name": "v", "mountPath": "/v"}
KEYS = [{"key": key, "path": "x.py"} for key in ("k", "l")]
PAIR = (task("a"), task("b", "a"))
BARE: dict[str, dict[str, str]] = {"job": {}}
INLINE = {"inline": [{"path": "a.py", "content": "1"}]}
STAGED = Code.model_validate({"configMap": {"name": "code-1"}})


def test_the_finalizer_comes_before_any_unit() -> None:
    """An experiment that could vanish without its units makes none."""
    decision = plan(replace(experiment(*PAIR), finalizer=False), NOW)
    assert decision.effects == (AddFinalizer(),)
    assert decision.status.phase is ExperimentPhase.PENDING
    assert not decision.status.tasks


def test_it_is_accepted_before_any_unit_is_made() -> None:
    """The record of all slots is written first; a unit that is missing later was deleted."""
    decision = plan(experiment(*PAIR), NOW)
    assert decision.effects == ()
    assert condition(decision, "Accepted").status == "True"
    assert [(each.name, each.states) for each in decision.status.tasks] == [("a", "."), ("b", ".")]
    assert decision.status.start_time == NOW


def test_units_are_made_only_when_they_may_start() -> None:
    """The first task gets its unit, with all that it inherits; the second has none yet."""
    view = replace(accepted(experiment(*PAIR, code=INLINE)), staged_code=STAGED)
    stage, create = plan(view, NOW).effects
    assert stage == StageCode()
    assert isinstance(create, CreateUnit)
    assert (create.slot, create.name) == (Slot("a"), "exp-a")
    assert (create.spec.experiment, create.spec.task, create.spec.code) == ("exp", "a", STAGED)


def test_code_is_staged_once() -> None:
    """Not again for tasks that start later."""
    rounds = Rounds(experiment(*PAIR, code=INLINE))
    rounds.settle()
    rounds.end()
    assert rounds.settle() == {"b": "create"}


@pytest.mark.parametrize("how", ["rejected", "cancelled"])
def test_code_is_staged_also_for_those_who_come_after_nothing(how: str) -> None:
    """Slots that were written off without a unit leave it to the next one to have the code."""
    gated = task("m", approval={}, matrix={"parameters": {"s": ["1"]}})
    rounds = Rounds(experiment(gated, code=INLINE, last=[task("z")]))
    rounds.settle()
    no = [{"task": "m", "verdict": "Reject"}]
    rounds.edit(**({"approvals": no} if how == "rejected" else {"cancel": True}))
    assert rounds.settle() == {"StageCode": "yes", "z": "create"}


def test_many_units_are_made_in_several_passes() -> None:
    """Each pass is bounded, and the status is written between them."""
    wide = {"parameters": {"n": [str(n) for n in range(450)]}}
    view = accepted(experiment(task("m", matrix=wide)))
    decision = plan(view, NOW)
    assert (len(decision.effects), decision.requeue_after) == (200, 0.0)
    assert len(Rounds(view).settle()) == 450


def test_start_time_is_written_once() -> None:
    """Later decisions keep the first start."""
    assert plan(made(experiment(task("a")), a=UnitPhase.RUNNING), LATER).status.start_time == NOW


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
        "a task of finally without image",
        experiment(task("a"), last=[task("z", executor=BARE)]),
        "InvalidSpec",
        "finally[z] has no image: set it",
    ),
    (
        "a mount without volume",
        experiment(task("a", executor={"job": {"image": "i", "volumeMounts": [MOUNT]}})),
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
        experiment(task("a"), code={"configMap": {"name": "c", "items": KEYS}}),
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


def test_a_cancel_before_it_was_accepted_ends_it_at_once() -> None:
    """Nothing was made, so nothing is waited for: not even a spec that can never run."""
    for view in (experiment(*PAIR, cancel=True), experiment(task("a", "z"), cancel=True)):
        decision = plan(view, NOW)
        assert (decision.status.phase, decision.effects) == (ExperimentPhase.CANCELLED, ())


def test_a_foreign_unit_of_the_same_name_is_never_touched() -> None:
    """The experiment is Stalled with NameConflict, and goes on when the name is free."""
    view = replace(accepted(experiment(*PAIR)), foreign={Slot("a"): Foreign("exp-a")})
    decision = plan(view, NOW)
    assert decision.effects == ()
    assert decision.requeue_after is not None
    assert condition(decision, "Stalled").reason == "NameConflict"
    assert "ExecutionUnit exp-a exists" in condition(decision, "Stalled").message
    freed = plan(replace(view, status=decision.status, foreign={}), LATER)
    assert told(freed) == {"a": "create"}
    assert condition(freed, "Stalled").status == "False"


def test_a_name_that_is_not_needed_yet_is_in_nobodys_way() -> None:
    """The first task runs; the second one's name may be free by then."""
    view = replace(accepted(experiment(*PAIR)), foreign={Slot("b"): Foreign("exp-b")})
    assert told(plan(view, NOW)) == {"a": "create"}


def test_units_that_exist_are_still_told_while_a_name_is_taken() -> None:
    """A cancel does not wait for a free name; what has ended is written down."""
    view = made(experiment(task("a"), task("x"), task("b", "a")), a=UnitPhase.RUNNING)
    view = replace(view, foreign={Slot("x"): Foreign("exp-x")})
    failed = {slot: replace(each, phase=UnitPhase.FAILED) for slot, each in view.units.items()}
    decision = plan(replace(view, units=failed), NOW)
    assert [each.states for each in decision.status.tasks] == ["F", ".", "."]
    cancelled = replace(view, spec=view.spec.model_copy(update={"cancel": True}))
    assert told(plan(cancelled, NOW)) == {"exp-a": "cancel"}


def test_an_older_unit_that_is_going_is_waited_for() -> None:
    """An experiment that was deleted and made anew is not Stalled."""
    leaving = {Slot("a"): Foreign("exp-a", deleting=True)}
    decision = plan(replace(accepted(experiment(*PAIR)), foreign=leaving), NOW)
    assert decision.effects == ()
    assert condition(decision, "Stalled").status == "False"
    assert decision.status.message == "waiting for an older ExecutionUnit exp-a to go"
