"""Profiles over the life of an experiment: found, followed, and kept as they were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runyard.api import ProfileSpec, UnitPhase, UsedProfile
from runyard_operator.engine.experiment import ExperimentView, plan
from tests.unit.engine.builders import LATER, NOW, accepted, condition, experiment, task
from tests.unit.engine.rounds import Rounds

BARE: dict[str, dict[str, str]] = {"job": {}}
IMAGE = {"executor": {"job": {"image": "img"}}}


def profiled(profiles: dict[str, dict[str, Any]], **spec: Any) -> ExperimentView:
    """Two tasks, one after the other, with the profile `gpu`."""
    tasks = (task("a", profile="gpu", executor=BARE), task("b", "a", profile="gpu", executor=BARE))
    return experiment(*tasks, profiles=profiles, **spec)


def test_a_missing_profile_is_waited_for() -> None:
    """The experiment is Stalled and goes on by itself when the profile comes."""
    decision = plan(profiled({}), NOW)
    assert (decision.effects, decision.status.completion_time) == ((), None)
    assert decision.requeue_after is not None
    stalled = condition(decision, "Stalled")
    assert (stalled.status, stalled.reason) == ("True", "ProfileNotFound")
    assert "'gpu'" in stalled.message
    assert "create it or correct the name" in stalled.message
    assert condition(decision, "Accepted").status == "False"
    mended = plan(replace(profiled({"gpu": IMAGE}), status=decision.status), LATER)
    assert condition(mended, "Stalled").status == "False"
    assert condition(mended, "Accepted").status == "True"


def test_a_missing_parent_is_named() -> None:
    """Not the profile that extends it."""
    stalled = condition(plan(profiled({"gpu": {"extends": "base"}}), NOW), "Stalled")
    assert stalled.reason == "ProfileNotFound"
    assert "'base'" in stalled.message


def test_a_circle_of_profiles_is_named() -> None:
    """The chain is in the message; a profile that is mended lets it go on."""
    circle = {"gpu": {"extends": "q"}, "q": {"extends": "gpu"}}
    decision = plan(profiled(circle), NOW)
    stalled = condition(decision, "Stalled")
    assert stalled.reason == "ProfileCycle"
    assert "gpu -> q -> gpu" in stalled.message
    mended = replace(profiled({"gpu": {"extends": "q"}, "q": IMAGE}), status=decision.status)
    assert plan(mended, LATER).status.tasks


def test_what_it_was_accepted_with_is_written_down() -> None:
    """Each profile of the chain, with the namespace that it came from."""
    view = accepted(profiled({"gpu": {"extends": "q"}, "q": IMAGE}))
    assert [(each.name, each.namespace) for each in view.status.profiles] == [
        ("gpu", "ns"),
        ("q", "ns"),
    ]
    assert view.status.profiles[1].spec == ProfileSpec.model_validate(IMAGE)


LATER_PROFILES: list[dict[str, dict[str, Any]]] = [
    {},
    {"gpu": {}},
    {"gpu": {"executor": {"job": {"image": "other"}}}},
    {"gpu": {"extends": "gone"}},
]


@pytest.mark.parametrize("changed", LATER_PROFILES, ids=["deleted", "emptied", "edited", "broken"])
def test_later_edits_do_not_reach_the_experiment(changed: dict[str, dict[str, Any]]) -> None:
    """Units that are made later have the values that were there at the start."""
    view = accepted(profiled({"gpu": IMAGE}))
    rounds = Rounds(replace(view, profiles=profiled(changed).profiles))
    rounds.settle()
    rounds.end()
    rounds.settle()
    images = {
        name: spec.executor.job and spec.executor.job.image for name, spec in rounds.specs.items()
    }
    assert images == {"a": "img", "b": "img"}
    rounds.end()
    rounds.settle()
    assert rounds.phase == "Succeeded"


def test_the_unit_has_everything_written_out() -> None:
    """Profile, defaults and task merged: its spec alone tells what it runs."""
    profiles = {
        "gpu": {
            **IMAGE,
            "env": [{"name": "A", "value": "profile"}, {"name": "B", "value": "profile"}],
            "retry": {"limit": 2, "failureClasses": ["Preempted"]},
        }
    }
    defaults = {"env": [{"name": "B", "value": "defaults"}], "deadlines": {"activeSeconds": 5}}
    rounds = Rounds(profiled(profiles, defaults=defaults))
    rounds.settle()
    spec = rounds.specs["a"]
    assert [(each.name, each.value) for each in spec.env] == [("A", "profile"), ("B", "defaults")]
    assert spec.retry is not None
    assert spec.deadlines is not None
    assert (spec.retry.limit, spec.deadlines.active_seconds) == (2, 5)


def test_tasks_of_finally_have_profiles_too() -> None:
    """They inherit as every task does."""
    last = task("z", profile="gpu", executor=BARE)
    rounds = Rounds(experiment(task("a"), profiles={"gpu": IMAGE}, last=[last]))
    rounds.settle()
    rounds.end()
    rounds.settle()
    assert rounds.specs["z"].executor.job is not None
    assert rounds.specs["z"].executor.job.image == "img"


def test_profiles_that_do_not_fit_into_the_status_are_refused() -> None:
    """Too many, or too large: the API server would refuse the status for ever."""
    names = [f"p{n}" for n in range(17)]
    many = experiment(
        *(task(name, profile=name) for name in names), profiles=dict.fromkeys(names, IMAGE)
    )
    status = plan(many, NOW).status
    assert status.reason == "InvalidSpec"
    assert (status.message or "").startswith("the tasks use 17 profiles, more than the 16 that fit")
    large = {"env": [{"name": f"N{n}", "value": "x" * 8000} for n in range(5)]}
    status = plan(profiled({"gpu": {**IMAGE, **large}}), NOW).status
    assert status.reason == "InvalidSpec"
    assert "bytes long together, more than the 32768 that fit" in (status.message or "")


def test_the_longest_list_of_profiles_fits() -> None:
    """Sixteen are written down."""
    used = [UsedProfile(name=f"p{n}", namespace="ns", spec=ProfileSpec()) for n in range(16)]
    tasks = [task(each.name, profile=each.name) for each in used]
    view = replace(experiment(*tasks), profiles={each.name: each for each in used})
    assert plan(view, NOW).status.profiles == used


def test_ends_are_not_waited_for_without_a_profile() -> None:
    """A cancel while it waits for its profile ends it."""
    view = replace(profiled({}, cancel=True), status=plan(profiled({}), NOW).status)
    assert plan(view, LATER).status.phase == "Cancelled"
    assert UnitPhase.CANCELLED.terminal
