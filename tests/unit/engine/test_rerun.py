"""Reruns: what is taken over from an earlier experiment, and what runs again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from runyard.api import Code, Task, UnitPhase
from runyard_operator.engine.experiment import Earlier, ExperimentView, making, plan
from tests.unit.engine.builders import LATER, NOW, condition, experiment, task
from tests.unit.engine.rounds import Rounds

OUT = [{"name": "x"}]
X = [{"name": "X", "value": "${tasks.a.outputs.x}"}]
STAGED = Code.model_validate({"configMap": {"name": "code-1", "digest": "sha256:" + "0" * 64}})


def env(text: str) -> list[dict[str, str]]:
    """An environment of one variable."""
    return [{"name": "X", "value": text}]


def ran(*tasks: Task, code: Code | None = None, **spec: Any) -> Rounds:
    """An experiment named `first` in which everything Succeeded, with `1` as every output."""
    view = replace(experiment(*tasks, **spec), name="first", staged_code=code)
    rounds = Rounds(view)
    while rounds.phase != "Succeeded":
        rounds.settle()
        rounds.end(UnitPhase.SUCCEEDED, x="1")
    return rounds


def earlier(rounds: Rounds) -> Mapping[tuple[str, str], Earlier]:
    """What a rerun of it may take over, as whoever gathers the view finds it."""
    return {
        (str(slot.task), making.work_digest(rounds.specs[str(slot)])): Earlier(
            experiment="first", name=unit.name, uid=unit.uid, outputs=unit.outputs
        )
        for slot, unit in rounds.view.units.items()
    }


def rerun(
    first: Rounds, *tasks: Task, code: Code | None = None, again: tuple[str, ...] = (), **spec: Any
) -> Rounds:
    """A rerun of it, run to its end."""
    of = {"name": "first", "fromTasks": list(again)}
    view = replace(experiment(*tasks, rerunOf=of, **spec), name="second", staged_code=code)
    rounds = Rounds(replace(view, earlier=earlier(first)))
    while rounds.phase != "Succeeded":
        rounds.settle()
        rounds.end(UnitPhase.SUCCEEDED, x="1")
    return rounds


def anew(rounds: Rounds) -> set[str]:
    """The slots that ran again."""
    return {name for name, spec in rounds.specs.items() if spec.adopted is None}


CHAIN = (task("a", outputs=OUT), task("b", "a", env=X), task("c", "b"), task("d"))


def test_the_same_work_is_taken_over_with_its_outputs() -> None:
    """Nothing runs, and each unit names the one that it takes the result of."""
    first = ran(*CHAIN)
    second = rerun(first, *CHAIN)
    assert anew(second) == set()
    adopted = second.specs["a"].adopted
    assert adopted is not None
    assert (adopted.experiment, adopted.unit, adopted.uid) == ("first", "first-a", "uid-a")
    assert [(each.name, each.value) for each in adopted.outputs] == [("x", "1")]
    assert second.specs["b"].env[0].value == "1"


CHANGED: list[tuple[str, Task]] = [
    ("the script", task("b", "a", env=X, script={"inline": "false"})),
    ("an argument", task("b", "a", env=X, script={"inline": "true", "args": ["-v"]})),
    ("the entrypoint", task("b", "a", env=X, script={"inline": "true", "entrypoint": "sh"})),
    ("the environment", task("b", "a", env=[*X, {"name": "Y", "value": ""}])),
    ("the executor", task("b", "a", env=X, executor={"job": {"image": "other"}})),
    ("its outputs", task("b", "a", env=X, outputs=OUT)),
]


@pytest.mark.parametrize("changed", [row[1] for row in CHANGED], ids=[row[0] for row in CHANGED])
def test_other_work_runs_again_with_all_that_comes_after(changed: Task) -> None:
    """What came before and beside it is taken over: files of it may be what the next one reads."""
    a, _, c, d = CHAIN
    assert anew(rerun(ran(*CHAIN), a, changed, c, d)) == {"b", "c"}


def test_a_retry_or_a_deadline_is_no_other_work() -> None:
    """How often and how long it may try changes nothing that it does."""
    more = task("d", retry={"limit": 3}, deadlines={"activeSeconds": 9}, allowFailure=True)
    assert anew(rerun(ran(*CHAIN), *CHAIN[:3], more)) == set()


def test_another_parameter_runs_what_uses_it() -> None:
    """The value counts, not its name."""
    tasks = (task("a", env=env("${params.p}")), task("b"))
    first = ran(*tasks, params=[{"name": "p", "value": "1"}])
    assert anew(rerun(first, *tasks, params=[{"name": "p", "value": "2"}])) == {"a"}
    assert anew(rerun(first, *tasks, params=[{"name": "p", "value": "1"}])) == set()


def test_another_input_runs_again() -> None:
    """A value that another task wrote is a part of the work."""
    first = ran(*CHAIN)
    changed = {
        key: replace(each, outputs={"x": "2"}) if key[0] == "a" else each
        for key, each in earlier(first).items()
    }
    view = experiment(*CHAIN, rerunOf={"name": "first"})
    rounds = Rounds(replace(view, earlier=changed))
    rounds.settle()
    assert anew(rounds) == {"b"}
    assert rounds.specs["b"].env[0].value == "2"


def test_from_a_chosen_task() -> None:
    """It runs, and everything after it, by whatever edge; the rest is taken over."""
    tasks = (*CHAIN, task("e", "a:Finished"), task("f", "e"))
    assert anew(rerun(ran(*tasks), *tasks, again=("e", "b"))) == {"b", "c", "e", "f"}


def test_other_code_runs_again() -> None:
    """The digest of the code is a part of the work."""
    first = ran(task("a"), code=STAGED)
    other = Code.model_validate({"configMap": {"name": "code-1", "digest": "sha256:" + "1" * 64}})
    assert anew(rerun(first, task("a"), code=STAGED)) == set()
    assert anew(rerun(first, task("a"), code=other)) == {"a"}


def test_code_without_a_digest_is_never_taken_for_the_same() -> None:
    """A ConfigMap may have changed behind its name."""
    unknown = Code.model_validate({"configMap": {"name": "mine"}})
    assert anew(rerun(ran(task("a"), code=unknown), task("a"), code=unknown)) == {"a"}


def test_members_are_taken_over_by_their_values() -> None:
    """Also when they have another number; a new one runs."""

    def sweep(*seeds: str) -> Task:
        return task("m", matrix={"parameters": {"seed": list(seeds)}}, outputs=OUT)

    second = rerun(ran(sweep("1", "2")), sweep("3", "2"))
    assert anew(second) == {"m[0]"}
    adopted = second.specs["m[1]"].adopted
    assert adopted is not None
    assert adopted.unit == "first-m-1"


def test_tasks_of_finally_always_run() -> None:
    """They tell of, or tidy up after, this experiment."""
    last: dict[str, Any] = {"last": [task("z")]}
    assert anew(rerun(ran(task("a"), **last), task("a"), **last)) == {"z"}


def waiting_for(view: ExperimentView) -> ExperimentView:
    """The rerun of an experiment that is not there."""
    return replace(view, earlier=None)


def test_an_earlier_experiment_that_is_missing_is_waited_for() -> None:
    """Stalled with RerunNotFound, until it appears."""
    view = waiting_for(experiment(task("a"), rerunOf={"name": "first"}))
    decision = plan(view, NOW)
    assert (decision.effects, decision.status.completion_time) == ((), None)
    assert decision.requeue_after is not None
    stalled = condition(decision, "Stalled")
    assert (stalled.status, stalled.reason) == ("True", "RerunNotFound")
    assert "'first'" in stalled.message
    found = replace(view, status=decision.status, earlier=earlier(ran(task("a"))))
    went_on = plan(found, LATER)
    assert condition(went_on, "Stalled").status == "False"
    assert condition(went_on, "Accepted").status == "True"
    rounds = Rounds(found)
    assert rounds.settle() == {"a": "adopt"}


def test_an_earlier_experiment_that_is_deleted_later_stops_nobody() -> None:
    """What was not taken over by then runs."""
    rounds = Rounds(
        replace(experiment(*CHAIN, rerunOf={"name": "first"}), earlier=earlier(ran(*CHAIN)))
    )
    rounds.once()
    rounds.once()
    assert anew(rounds) == set()
    rounds.view = waiting_for(rounds.view)
    assert rounds.settle() == {"b": "create"}


@pytest.mark.parametrize(
    ("of", "message"),
    [
        ({"name": "exp"}, "rerunOf names this experiment itself"),
        ({"name": "first", "fromTasks": ["z"]}, "rerunOf.fromTasks names 'z', which is not in"),
    ],
    ids=["itself", "fromTasks"],
)
def test_a_rerun_that_cannot_be_is_refused(of: dict[str, Any], message: str) -> None:
    """Before anything is made."""
    status = plan(experiment(task("a"), rerunOf=of), NOW).status
    assert (status.phase, status.reason) == ("Failed", "InvalidSpec")
    assert (status.message or "").startswith(message)
