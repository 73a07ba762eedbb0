"""References: every error with its path, before anything starts."""

from __future__ import annotations

from typing import Any

import pytest

from runyard.api import Task
from runyard_operator.engine.experiment import plan
from tests.unit.engine.builders import NOW, experiment, task

ROWS = [{"name": "rows"}]
PARAMS = [{"name": "lr", "value": "0.1"}]
SEEDS = {"parameters": {"seed": ["1", "2"]}}


def env(text: str) -> dict[str, list[dict[str, str]]]:
    """An environment of one variable."""
    return {"env": [{"name": "X", "value": text}]}


def refused(*tasks: Task, **spec: Any) -> str | None:
    """What is wrong, or None."""
    status = plan(experiment(*tasks, **{"params": PARAMS, **spec}), NOW).status
    if status.phase != "Failed":
        return None
    assert status.reason == "InvalidReference"
    return status.message


A = task("a", outputs=ROWS)
M = task("m", outputs=ROWS, matrix=SEEDS)
SURE = "needs 'a' to have succeeded: add it to this task's 'after' with when: Succeeded"
ENDED = "needs 'a' to have ended: add it to this task's 'after'"
OUT, PHASE = "${tasks.a.outputs.rows}", "${tasks.a.phase}"
BAD: list[tuple[list[Task], str]] = [
    # The forms
    (
        [A, task("b", "a", **env("${tasks.a.rows}"))],
        "${tasks.a.rows} is not of the form ${tasks.NAME.outputs.OUTPUT} or ${tasks.NAME.phase}",
    ),
    ([task("b", **env("${tasks.}"))], "${tasks.} is not of the form"),
    ([task("b", **env("x ${params.lr"))], "${params.lr has no closing brace"),
    ([task("b", **env("${ params.lr }"))], "${ params.lr } has a space in it: remove it"),
    ([task("b", **env("${params.lr:-1}"))], "${params.lr:-1} is not in spec.params, which has lr"),
    # The names
    ([task("b", **env("${params.wd}"))], "${params.wd} is not in spec.params, which has lr"),
    ([task("b", **env("${params.}"))], "${params.} is not in spec.params, which has lr"),
    (
        [task("b", **env("${matrix.seed}"))],
        "${matrix.seed} needs a matrix, and this task has none",
    ),
    (
        [task("b", matrix=SEEDS, **env("${matrix.lr}"))],
        "${matrix.lr} is not in this task's matrix, which has seed",
    ),
    (
        [task("b", **env("${tasks.z.outputs.rows}"))],
        "${tasks.z.outputs.rows} names 'z', which is not a task of this experiment",
    ),
    (
        [A, task("b", "a", **env("${tasks.a.outputs.cols}"))],
        "${tasks.a.outputs.cols} names an output that 'a' does not declare in 'outputs'",
    ),
    (
        [task("b", **env("${experiment.uid}"))],
        "${experiment.uid} is not one of ${experiment.counts.cancelled}",
    ),
    (
        [task("b", **env("${experiment.phase}"))],
        "${experiment.phase} is known only to tasks of 'finally'",
    ),
    (
        [task("b", **env("${experiment.counts.failed}"))],
        "${experiment.counts.failed} is known only to tasks of 'finally'",
    ),
    ([task("b", **env("${task.id}"))], "${task.id} is not one of ${task.index}, ${task.name}"),
    (
        [task("b", **env("${attempt.uid}"))],
        "${attempt.uid} is not one of ${attempt.key}, ${attempt.number}",
    ),
    # The order
    ([A, task("b", **env(OUT))], f"{OUT} {SURE}"),
    ([A, task("b", "a:Finished", **env(OUT))], f"{OUT} {SURE}"),
    ([A, task("b", "a:Failed", **env(OUT))], f"{OUT} {SURE}"),
    ([A, task("x"), task("b", "a", "x", afterPolicy="Any", **env(OUT))], f"{OUT} {SURE}"),
    ([A, task("x", "a"), task("b", "x:Failed", **env(OUT))], f"{OUT} {SURE}"),
    ([A, task("x", "a"), task("b", "x:Finished", **env(OUT))], f"{OUT} {SURE}"),
    ([A, task("b", **env(PHASE))], f"{PHASE} {ENDED}"),
    ([A, task("x", "a"), task("b", "x:Finished", **env(PHASE))], f"{PHASE} {ENDED}"),
    ([A, task("x"), task("b", "a", "x", afterPolicy="Any", **env(PHASE))], f"{PHASE} {ENDED}"),
    ([task("b", outputs=ROWS, **env("${tasks.b.outputs.rows}"))], "needs 'b' to have succeeded"),
    # The length
    (
        [A, task("b", "a", **env(OUT * 40))],
        "with values of 3500 bytes it would be too long: name fewer outputs in one text",
    ),
]


@pytest.mark.parametrize(("tasks", "problem"), BAD, ids=[row[1][:50] for row in BAD])
def test_a_reference_without_a_sure_value_is_refused(tasks: list[Task], problem: str) -> None:
    """The message has the path, the text and what is wrong with it."""
    message = refused(*tasks)
    assert message is not None
    assert message.startswith("tasks[b].env[X].value: "), message
    assert problem in message


GROUP = {"roles": [{"name": "w", "script": {"inline": "x", "args": ["-n", "${params.x}"]}}]}
PATHS = [
    ({"script": {"inline": "x", "args": ["-n", "${params.x}"]}}, "script.args[1]"),
    ({"script": None, "group": GROUP}, "group.roles[w].script.args[1]"),
]


@pytest.mark.parametrize(("fields", "path"), PATHS, ids=[row[1] for row in PATHS])
@pytest.mark.parametrize("final", [False, True], ids=["tasks", "finally"])
def test_the_path_leads_to_the_text(fields: dict[str, Any], path: str, final: bool) -> None:
    """Arguments, roles of groups, and tasks of `finally`."""
    mine = task("b", **{key: value for key, value in fields.items() if value})
    mine = mine.model_copy(update={"script": None}) if "group" in fields else mine
    message = (
        refused(task("a"), **{"finally": [mine.to_dict()]}) if final else refused(task("a"), mine)
    )
    where = "finally" if final else "tasks"
    assert message == f"{where}[b].{path}: ${{params.x}} is not in spec.params, which has lr"


GOOD: list[list[Task]] = [
    [A, task("b", "a", **env(f"{OUT} {PHASE}"))],
    [A, task("x", "a"), task("b", "x", **env(f"n={OUT}"))],
    [A, task("b", "a", afterPolicy="Any", **env(OUT))],
    [A, task("b", "a:Finished", **env(PHASE))],
    [A, task("x", "a"), task("b", "x:Failed", **env(PHASE))],
    [M, task("b", "m", **env("${tasks.m.outputs.rows}"))],
    [task("b", matrix=SEEDS, **env("${matrix.seed} ${task.index} ${task.name}"))],
    [task("b", **env("${params.lr} ${experiment.name} ${experiment.namespace}"))],
    [task("b", **env("${attempt.number} ${attempt.key}"))],
    [task("b", **env("${HOME} $(HOME) ${tasks} ${OTHER.params.x}"))],
    [task("b", script={"inline": "echo ${tasks.z.outputs.y} ${params.} ${tasks."})],
]


@pytest.mark.parametrize("tasks", GOOD, ids=lambda tasks: str(tasks[-1].env or "script"))
def test_a_reference_with_a_sure_value_is_accepted(tasks: list[Task]) -> None:
    """And what is not a reference of ours, above all in a script's text, is left alone."""
    assert refused(*tasks) is None


def test_finally_may_name_every_task() -> None:
    """No edge is needed: all have ended."""
    wants = task("z", **env(f"{OUT} {PHASE} ${{experiment.phase}} ${{experiment.counts.total}}"))
    assert refused(A, **{"finally": [wants.to_dict()]}) is None
    other = task("y", **env("${tasks.z.phase}"))
    message = refused(A, **{"finally": [wants.to_dict(), other.to_dict()]})
    assert message == (
        "finally[y].env[X].value: ${tasks.z.phase} names 'z', which is not a task of this"
        " experiment"
    )


def test_references_that_come_from_defaults_are_checked_too() -> None:
    """The path is that of the task that inherits it."""
    message = refused(task("b"), defaults=env("${matrix.seed}"))
    assert message == "tasks[b].env[X].value: ${matrix.seed} needs a matrix, and this task has none"
