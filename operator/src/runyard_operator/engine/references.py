"""References `${tasks.NAME.outputs.OUTPUT}`: found, checked, replaced. Nothing is evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from runyard.api.constants import MAX_OUTPUT_BYTES
from runyard.api.pod import MAX_VALUE
from runyard.api.task import MAX_ARGUMENT, Work

_OURS = re.compile(r"\$\{tasks\.([^}]*)\}")
_WELL_FORMED = re.compile(r"([a-z](?:[-a-z0-9]*[a-z0-9])?)\.outputs\.([A-Za-z_][A-Za-z0-9_]*)")

W = TypeVar("W", bound=Work)

Outputs = Mapping[str, Mapping[str, str]]
"""The outputs of tasks: task name to output name to value."""


class NoValueError(Exception):
    """A referenced output has no value: the unit that had it is gone."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One place in a spec that names another task's output."""

    path: str
    text: str
    task: str | None
    output: str | None


def find(work: Work) -> Iterator[Reference]:
    """All references in the environment's literal values and in the script's arguments.

    `task` and `output` are None where the text is malformed. Script texts are left alone: a value
    from outside inside a script's text would be code.
    """
    for path, text, _ in _texts(work):
        for match in _OURS.finditer(text):
            parts = _WELL_FORMED.fullmatch(match.group(1))
            task, output = (parts.group(1), parts.group(2)) if parts else (None, None)
            yield Reference(path=path, text=match.group(0), task=task, output=output)


def outgrows(work: Work) -> str | None:
    """The path of a text that would be too long with the longest values; None when all fit."""
    for path, text, limit in _texts(work):
        bare, references = _OURS.subn("", text)
        if references and len(bare) + references * MAX_OUTPUT_BYTES > limit:
            return path
    return None


def _texts(work: Work) -> Iterator[tuple[str, str, int]]:
    for variable in work.env:
        if variable.value is not None:
            yield f"env[{variable.name}].value", variable.value, MAX_VALUE
    for index, argument in enumerate(work.script.args if work.script else []):
        yield f"script.args[{index}]", argument, MAX_ARGUMENT


def resolve(work: W, outputs: Outputs) -> W:
    """`work` with every reference replaced by its value.

    Values are put in as they are, once: what looks like a reference in a value is only text.

    Raises:
        NoValueError: a referenced output is not in `outputs`.
    """

    def replace(text: str) -> str:
        def value(match: re.Match[str]) -> str:
            parts = _WELL_FORMED.fullmatch(match.group(1))
            task, output = parts.groups() if parts else ("", "")
            found = outputs.get(task, {}).get(output)
            if found is None:
                raise NoValueError(
                    f"{match.group(0)} has no value: the ExecutionUnit that wrote it was deleted"
                )
            return found

        return _OURS.sub(value, text)

    env = [
        each if each.value is None else each.model_copy(update={"value": replace(each.value)})
        for each in work.env
    ]
    script = work.script
    if script is not None:
        script = script.model_copy(update={"args": [replace(each) for each in script.args]})
    return work.model_copy(update={"env": env, "script": script})
