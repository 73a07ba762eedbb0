"""The values that stand for references in a unit, once it is made."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.api import UnitPhase, UnitSpec
from runyard_operator.engine import references
from tests.unit.engine.builders import experiment, task, unit_spec
from tests.unit.engine.rounds import Rounds

SUCCEEDED, FAILED = UnitPhase.SUCCEEDED, UnitPhase.FAILED
OUT = [{"name": "x"}]
SEEDS = {"parameters": {"seed": ["7", "8"]}}


def env(text: str) -> dict[str, Any]:
    """An environment of one variable."""
    return {"env": [{"name": "X", "value": text}]}


def value(spec: UnitSpec) -> str | None:
    """The value of that variable."""
    return spec.env[0].value


VALUES = [
    ("${params.lr}", "0.1"),
    ("${matrix.seed}", "8"),
    ("${task.name}/${task.index}", "m/1"),
    ("${experiment.namespace}/${experiment.name}", "ns/exp"),
    ("${attempt.number}-${attempt.key}", "${attempt.number}-${attempt.key}"),
    ("${HOME} $(HOME)", "${HOME} $(HOME)"),
]


@pytest.mark.parametrize(("text", "expected"), VALUES)
def test_each_reference_has_its_value(text: str, expected: str) -> None:
    """In the environment and in arguments; those of the attempt are left for it."""
    script = {"inline": f"echo '{text}'", "args": [f"<{text}>"]}
    params = [{"name": "lr", "value": "0.1"}]
    rounds = Rounds(experiment(task("m", matrix=SEEDS, script=script, **env(text)), params=params))
    rounds.settle()
    spec = rounds.specs["m[1]"]
    assert value(spec) == expected
    assert spec.script is not None
    assert spec.script.args == [f"<{expected}>"]
    assert spec.script.inline == f"echo '{text}'", "a script's text is never touched"


def test_outputs_and_phases_of_other_tasks() -> None:
    """As they are when the task starts."""
    tasks = (
        task("a", outputs=OUT),
        task("f", allowFailure=True),
        task("b", "a", "f:Finished", **env("${tasks.a.outputs.x} ${tasks.f.phase}")),
    )
    rounds = Rounds(experiment(*tasks))
    rounds.settle()
    rounds.end(SUCCEEDED, "a", x="<1>")
    rounds.end(FAILED, "f")
    rounds.settle()
    assert value(rounds.specs["b"]) == "<1> Failed"


def test_the_outputs_of_a_matrix_are_a_json_array_in_the_order_of_its_members() -> None:
    """Quotes in values are escaped: the text is always JSON."""
    tasks = (task("m", outputs=OUT, matrix=SEEDS), task("b", "m", **env("${tasks.m.outputs.x}")))
    rounds = Rounds(experiment(*tasks))
    rounds.settle()
    rounds.end(SUCCEEDED, "m[1]", x='say "hi"')
    rounds.end(SUCCEEDED, "m[0]", x="0")
    rounds.settle()
    assert json.loads(value(rounds.specs["b"]) or "") == ["0", 'say "hi"']


def test_values_that_do_not_fit_fail_the_task() -> None:
    """A unit tells which text it is; the experiment fails, and does not hang."""
    wide = {"parameters": {"n": [str(n) for n in range(50)]}}
    tasks = (task("m", outputs=OUT, matrix=wide), task("b", "m", **env("${tasks.m.outputs.x}")))
    rounds = Rounds(experiment(*tasks))
    rounds.settle()
    rounds.end(SUCCEEDED, x="v" * 3500)
    assert rounds.settle() == {"b": "skip:InputsTooLarge"}
    assert rounds.states["b"] == "F"
    (failed,) = rounds.view.status.failed_tasks
    assert (rounds.phase, failed.name, failed.reason) == ("Failed", "b", "InputsTooLarge")
    assert failed.message.startswith("env[X].value would be 175200 characters long")


TEXTS = st.one_of(
    st.sampled_from(
        ["${params.p}", "${attempt.key}", "$${attempt.number}", "$", "a$", "\\1 \\g<0>"]
    ),
    st.text(alphabet="${}.ateminumbrkyp", max_size=30),
)


@given(st.lists(TEXTS, min_size=1, max_size=3).map("".join))
def test_values_are_text_and_nothing_else(text: str) -> None:
    """What looks like a reference in a value is not evaluated, neither now nor by the attempt."""
    given = unit_spec(**env("<${params.p}>|${attempt.number}"))
    resolved = references.resolve(given, lambda inner: text if inner == "params.p" else None)
    assert value(references.for_attempt(resolved, 3, "KEY")) == f"<{text}>|3"


@pytest.mark.parametrize("text", ["$", "$$", "cost: $", "${attempt.key}$"])
def test_a_value_that_ends_in_dollars_leaves_the_next_reference_alone(text: str) -> None:
    """Two texts that meet do not become another one."""
    given = unit_spec(**env("${params.p}${attempt.number}"))
    resolved = references.resolve(given, lambda inner: text if inner == "params.p" else None)
    assert value(references.for_attempt(resolved, 3, "KEY")) == f"{text}3"


def test_a_doubled_dollar_keeps_a_reference_of_the_attempt() -> None:
    """For who wants to write the text itself."""
    found = references.for_attempt(unit_spec(**env("$${attempt.key} ${attempt.key}")), 1, "K")
    assert value(found) == "${attempt.key} K"


def test_variables_from_sources_are_left_alone() -> None:
    """A reference to a Secret has no text to replace."""
    source = {"secretKeyRef": {"name": "s", "key": "k"}}
    spec = unit_spec(env=[{"name": "X", "valueFrom": source}])
    assert references.resolve(spec, lambda _: "never") == spec


def test_roles_of_a_group_have_their_values_too() -> None:
    """Their environment and their arguments."""
    role = {"name": "w", "script": {"inline": "x", "args": ["${params.p}"]}, **env("${params.p}")}
    spec = UnitSpec.model_validate(
        {"group": {"roles": [role]}, "executor": {"job": {"image": "i"}}}
    )
    found = references.resolve(spec, lambda _: "1").group
    assert found is not None
    assert (found.roles[0].env[0].value, found.roles[0].script.args) == ("1", ["1"])
