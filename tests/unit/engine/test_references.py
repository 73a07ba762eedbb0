"""`${tasks.NAME.outputs.OUTPUT}`: every error with its path, and the replacement."""

from __future__ import annotations

import pytest

from runyard.api import Task
from runyard_operator.engine import graph, references
from runyard_operator.engine.check import InvalidSpecError
from tests.unit.engine.builders import task

ROWS = [{"name": "rows"}]


def env(text: str) -> dict[str, list[dict[str, str]]]:
    """An environment of one variable."""
    return {"env": [{"name": "X", "value": text}]}


A = task("a", outputs=ROWS)
BAD: list[tuple[str, list[Task], str]] = [
    (
        "malformed",
        [A, task("b", "a", **env("${tasks.a.rows}"))],
        "tasks[b].env[X].value: ${tasks.a.rows} is not of the form ${tasks.NAME.outputs.OUTPUT}",
    ),
    (
        "unknown task",
        [A, task("b", "a", **env("${tasks.z.outputs.rows}"))],
        "tasks[b].env[X].value: ${tasks.z.outputs.rows} names 'z', which is not a task of this"
        " experiment",
    ),
    (
        "no edge",
        [A, task("b", **env("${tasks.a.outputs.rows}"))],
        "tasks[b].env[X].value: ${tasks.a.outputs.rows} needs 'a' to have succeeded: add it to"
        " this task's 'after' with when: Succeeded",
    ),
    (
        "an edge that a failure meets",
        [A, task("b", "a:Finished", **env("${tasks.a.outputs.rows}"))],
        "tasks[b].env[X].value: ${tasks.a.outputs.rows} needs 'a' to have succeeded: add it to"
        " this task's 'after' with when: Succeeded",
    ),
    (
        "a way that a failure can go",
        [A, task("b", "a"), task("c", "b:Failed", **env("${tasks.a.outputs.rows}"))],
        "tasks[c].env[X].value: ${tasks.a.outputs.rows} needs 'a' to have succeeded: add it to"
        " this task's 'after' with when: Succeeded",
    ),
    (
        "itself",
        [task("a", outputs=ROWS, **env("${tasks.a.outputs.rows}"))],
        "tasks[a].env[X].value: ${tasks.a.outputs.rows} needs 'a' to have succeeded: add it to"
        " this task's 'after' with when: Succeeded",
    ),
    (
        "undeclared output, in an argument",
        [A, task("b", "a", script={"inline": "x", "args": ["-n", "${tasks.a.outputs.cols}"]})],
        "tasks[b].script.args[1]: ${tasks.a.outputs.cols} names an output that 'a' does not"
        " declare in 'outputs'",
    ),
    (
        "too long with the longest values",
        [A, task("b", "a", script={"inline": "x", "args": ["${tasks.a.outputs.rows}" * 3]})],
        "tasks[b].script.args[0]: with values of 3500 bytes it would be too long: name fewer"
        " outputs in one text",
    ),
]


@pytest.mark.parametrize(
    ("tasks", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_a_reference_without_a_sure_value_is_refused(tasks: list[Task], message: str) -> None:
    """The message has the path, the text and what is wrong with it."""
    with pytest.raises(InvalidSpecError) as error:
        graph.check_references(tasks)
    assert str(error.value) == message
    assert error.value.reason == "InvalidReference"


def test_an_ancestor_over_succeeded_edges_is_sure() -> None:
    """The value of a grandparent is there when each edge on the way needs success."""
    graph.check_references([A, task("b", "a"), task("c", "b", **env("n=${tasks.a.outputs.rows}"))])


def test_script_texts_are_left_alone() -> None:
    """What looks like a reference in a script's text is the shell's."""
    graph.check_references([task("a", script={"inline": "echo ${tasks.z.outputs.y} ${tasks.}"})])


def test_values_are_text_and_nothing_else() -> None:
    """A value that looks like a reference, a group or an escape stays as it is."""
    value = r"${tasks.a.outputs.b} \1 \g<0> $(id) `id`"
    given = task("t", **env("<${tasks.a.outputs.b}>"))
    resolved = references.resolve(given, {"a": {"b": value}})
    assert resolved.env[0].value == f"<{value}>"


def test_a_missing_value_is_an_error_with_the_reference() -> None:
    """Nothing is replaced by an empty text."""
    with pytest.raises(references.NoValueError, match=r"\$\{tasks\.a\.outputs\.b\} has no value"):
        references.resolve(task("t", **env("${tasks.a.outputs.b}")), {"a": {}})


def test_variables_from_sources_are_left_alone() -> None:
    """A reference to a Secret has no text to replace."""
    source = {"secretKeyRef": {"name": "s", "key": "k"}}
    given = task("t", env=[{"name": "X", "valueFrom": source}])
    assert references.resolve(given, {}) == given
