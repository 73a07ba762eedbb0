"""Random experiments to their end: bounded, quiet, and as the graph says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from runyard.api import AfterPolicy, FailurePolicy, Task, UnitPhase, When
from runyard_operator.engine import graph
from runyard_operator.engine.experiment import ExperimentView, outcome, plan
from runyard_operator.engine.experiment.tasks import look
from runyard_operator.engine.graph import Readiness
from runyard_operator.engine.slots import Slot
from tests.unit.engine.builders import experiment, layout_of, task
from tests.unit.engine.rounds import Rounds

ENDS = [UnitPhase.SUCCEEDED, UnitPhase.SUCCEEDED, UnitPhase.FAILED, UnitPhase.CANCELLED]
OUT = [{"name": "x"}]


@st.composite
def tasks(draw: st.DrawFn) -> list[Task]:
    """Up to seven tasks with edges backwards, some a matrix, some waiting for a person."""
    found: list[Task] = []
    for number in range(draw(st.integers(1, 7))):
        parents = (
            draw(st.lists(st.sampled_from(found), max_size=3, unique_by=lambda t: t.name))
            if found
            else []
        )
        edges = [(each.name, draw(st.sampled_from(When))) for each in parents]
        policy = draw(st.sampled_from(AfterPolicy))
        sure = policy is AfterPolicy.ALL or len(edges) == 1
        more: dict[str, Any] = {}
        if draw(st.booleans()):
            matrix: dict[str, Any] = {
                "parameters": {"s": draw(st.sampled_from([["1"], ["1", "2", "3"]]))}
            }
            if draw(st.booleans()):
                matrix["maxParallel"] = draw(st.integers(1, 2))
            more["matrix"] = matrix
        if draw(st.integers(0, 4)) == 0:
            more["approval"] = {}
        texts = [f"${{tasks.{name}.phase}}" for name, _ in edges if sure]
        texts += [
            f"${{tasks.{name}.outputs.x}}"
            for name, when in edges
            if sure and when is When.SUCCEEDED
        ]
        found.append(
            task(
                f"t{number}",
                *(f"{name}:{when}" for name, when in edges),
                afterPolicy=policy,
                allowFailure=draw(st.booleans()),
                outputs=OUT,
                env=[{"name": "X", "value": " ".join(texts)}],
                **more,
            )
        )
    return found


@st.composite
def experiments(draw: st.DrawFn) -> ExperimentView:
    """Any spec with these tasks."""
    spec: dict[str, Any] = {
        "failurePolicy": draw(st.sampled_from(FailurePolicy)),
        "finally": [task("z").to_dict()] if draw(st.booleans()) else [],
    }
    if draw(st.booleans()):
        spec["maxParallel"] = draw(st.integers(1, 3))
    return experiment(*draw(tasks()), **spec)


def check_order(rounds: Rounds, before: ExperimentView) -> None:
    """No unit was made whose edges were not met by what had ended."""
    layout = layout_of(before)
    for slot in set(rounds.view.units) - set(before.units):
        spec, place = rounds.specs[str(slot)], layout.tasks[slot.task]
        if spec.skip is not None:
            continue
        phases = look(before, layout).phases
        parents = {name: outcome.progress(of, phases) for name, of in layout.tasks.items()}
        if place.final:
            assert outcome.main_ended(layout, phases)
        assert graph.readiness(place.task, parents)[0] is Readiness.READY


def step(rounds: Rounds) -> None:
    """One pass; its own status, without anything done, leads to the same decision again."""
    before = rounds.view
    decision = plan(before, rounds.now)
    written = replace(before, status=decision.status)
    again = plan(written, rounds.now)
    if not decision.effects:
        settled = plan(replace(written, status=again.status), rounds.now)
        assert settled.status == again.status
    assert len(rounds.running()) <= (before.spec.max_parallel or 100)
    rounds.once()
    check_order(rounds, before)
    for old, new in zip(
        before.status.tasks, rounds.view.status.tasks, strict=bool(before.status.tasks)
    ):
        for was, is_now in zip(old.states, new.states, strict=True):
            assert was in ".+" or was == is_now, "an end is for ever"
            assert not (was == "+" and is_now == "."), "what was made stays made"


@settings(max_examples=100, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(view=experiments(), data=st.data())
def test_every_experiment_ends(view: ExperimentView, data: st.DataObject) -> None:
    """In bounded steps, whatever its units, its users and whoever deletes units do."""
    rounds = Rounds(view)
    for number in range(400):
        step(rounds)
        if rounds.view.ended:
            break
        what = data.draw(st.sampled_from(["end", "end", "look", "user", "lose"]))
        running = sorted(rounds.running())
        if what == "end" and running:
            name = data.draw(st.sampled_from(running))
            phase = data.draw(st.sampled_from(ENDS))
            rounds.end(phase, name, **({"x": name} if phase is UnitPhase.SUCCEEDED else {}))
        elif what == "user" and number < 60:
            rounds.edit(**data.draw(edits(rounds.view)))
        elif what == "lose" and rounds.view.units and number < 60:
            rounds.lose(str(data.draw(st.sampled_from(sorted(rounds.view.units, key=str)))))
        elif number >= 60:
            names = [each.name for each in rounds.view.spec.tasks]
            approve = [{"task": name} for name in names]
            rounds.edit(suspend=False, suspendTasks=[], approvals=approve)
    assert rounds.view.ended, rounds.states
    rounds.settle()
    assert not rounds.running()
    assert not rounds.view.finalizer
    assert all(set(each.states) <= set("SFCK") for each in rounds.view.status.tasks)
    last = rounds.view.status
    rounds.now = rounds.now.replace(year=2030)
    rounds.settle()
    assert rounds.view.status == last, "nothing reopens it"


def edits(view: ExperimentView) -> st.SearchStrategy[dict[str, Any]]:
    """What a user may change."""
    names = st.sampled_from([each.name for each in view.spec.tasks])
    verdicts = st.fixed_dictionaries(
        {"task": names, "verdict": st.sampled_from(["Approve", "Reject"])}
    )
    return st.one_of(
        st.fixed_dictionaries({"suspend": st.booleans()}),
        st.fixed_dictionaries({"suspendTasks": st.lists(names, max_size=3, unique=True)}),
        st.fixed_dictionaries(
            {"approvals": st.lists(verdicts, max_size=3, unique_by=lambda each: each["task"])}
        ),
        st.just({"cancel": True}),
    )


def test_slots_are_told_apart() -> None:
    """A plain task and a member are written as users know them."""
    assert (str(Slot("a")), str(Slot("a", 3))) == ("a", "a[3]")
