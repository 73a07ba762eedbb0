"""Ray clusters that tasks share: checked before anything starts, gone when nobody needs them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from runyard.api import Task, UnitPhase
from runyard_operator.engine import effects
from runyard_operator.engine.experiment import ExperimentView, making, plan
from runyard_operator.engine.slots import Slot
from tests.unit.engine.builders import NOW, accepted, experiment, layout_of, made, task

SUCCEEDED, RUNNING, FAILED = UnitPhase.SUCCEEDED, UnitPhase.RUNNING, UnitPhase.FAILED
MAKER = Slot("cluster")


def maker(*after: str, **more: Any) -> Task:
    """The task that makes the cluster."""
    ray = {"image": "ray", "cluster": {}, **more.pop("ray", {})}
    fields = {"name": "cluster", "after": [{"task": each} for each in after], **more}
    return Task.model_validate({**fields, "executor": {"ray": ray}})


def user(name: str, *after: str, **more: Any) -> Task:
    """A task that uses it."""
    return task(name, *after, executor={"ray": {"clusterFrom": {"task": "cluster"}}}, **more)


def there(view: ExperimentView) -> ExperimentView:
    """The cluster is there."""
    return replace(view, clusters={MAKER: "uid-cluster"})


def released(view: ExperimentView) -> bool:
    """Whether the next pass deletes it."""
    return effects.ReleaseCluster("uid-cluster") in plan(view, NOW).effects


A, B = user("a", "cluster"), user("b", "a")
OTHER = task("other", "b")


@pytest.mark.parametrize(
    ("a", "b", "other", "gone"),
    [
        (RUNNING, None, None, False),
        (SUCCEEDED, None, None, False),
        (SUCCEEDED, RUNNING, None, False),
        (SUCCEEDED, SUCCEEDED, None, True),
        (SUCCEEDED, SUCCEEDED, RUNNING, True),
        (SUCCEEDED, FAILED, None, True),
    ],
)
def test_it_goes_when_every_user_has_ended(
    a: UnitPhase, b: UnitPhase | None, other: UnitPhase | None, gone: bool
) -> None:
    """Whatever else goes on; and not before."""
    phases = {"cluster": SUCCEEDED, "a": a, "b": b, "other": other}
    view = made(
        experiment(maker(), A, B, OTHER, failurePolicy="Continue"),
        **{name: phase for name, phase in phases.items() if phase is not None},
    )
    assert released(there(view)) is gone


def test_it_waits_for_a_user_in_finally() -> None:
    """The last task may still need it."""
    view = experiment(maker(), A, last=[user("last")])
    assert not released(there(made(view, cluster=SUCCEEDED, a=SUCCEEDED)))
    assert not released(there(made(view, cluster=SUCCEEDED, a=SUCCEEDED, last=RUNNING)))
    assert released(there(made(view, cluster=SUCCEEDED, a=SUCCEEDED, last=SUCCEEDED)))


def test_one_that_nobody_names_lasts_as_long_as_any_task() -> None:
    """It may be used by hand."""
    view = experiment(maker(), task("a"))
    assert not released(there(made(view, cluster=SUCCEEDED, a=RUNNING)))
    assert released(there(made(view, cluster=SUCCEEDED, a=SUCCEEDED)))


def test_an_experiment_that_has_ended_leaves_none() -> None:
    """The operator may have died between its end and the deletion."""
    view = made(experiment(maker(), A), cluster=SUCCEEDED, a=SUCCEEDED)
    assert view.ended
    assert released(there(view))
    assert not released(view)


def test_a_cluster_that_is_being_made_is_left_to_its_unit() -> None:
    """Cancelling the unit ends it; deleted under its hands, the unit would fail as lost."""
    view = made(experiment(maker(), A), cluster=RUNNING)
    assert not released(there(view))


def test_the_unit_names_whose_cluster_it_uses() -> None:
    """And a rerun finds the same work, though the cluster is another."""
    view = made(experiment(maker(), A), cluster=SUCCEEDED)
    [create] = [each for each in plan(view, NOW).effects if isinstance(each, effects.CreateUnit)]
    ray = create.spec.executor.ray
    assert ray is not None
    assert ray.cluster_from is not None
    assert (ray.cluster_from.task, ray.cluster_from.unit) == ("cluster", "exp-cluster")
    other = ray.cluster_from.model_copy(update={"unit": "another-cluster"})
    elsewhere = create.spec.model_copy(
        update={
            "executor": create.spec.executor.model_copy(
                update={"ray": ray.model_copy(update={"cluster_from": other})}
            )
        }
    )
    assert making.work_digest(create.spec) == making.work_digest(elsewhere)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([task("x"), user("a", "x")], "'cluster' is not a task of this experiment that makes"),
        ([maker(), user("a")], "add 'cluster' to its 'after' with when: Succeeded"),
        ([maker(), user("a", "cluster:Finished")], "with when: Succeeded"),
        ([maker(matrix={"parameters": {"x": ["1"]}})], r"tasks\[cluster\]\.matrix"),
        ([maker(outputs=[{"name": "x"}])], r"tasks\[cluster\]\.outputs"),
        ([maker(ray={"clusterFrom": {"task": "cluster"}})], "both cluster and clusterFrom"),
    ],
)
def test_what_cannot_work_is_refused(tasks: Sequence[Task], message: str) -> None:
    """Before anything starts."""
    view = experiment(*tasks)
    assert layout_of(view)
    decision = plan(view, NOW)
    assert decision.status.phase == "Failed"
    assert re.search(message, decision.status.message or "")


def test_a_grandchild_may_use_it() -> None:
    """Through edges that are met by success alone."""
    accepted(experiment(maker(), task("x", "cluster"), user("a", "x")))
