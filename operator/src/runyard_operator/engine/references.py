"""References `${tasks.NAME.outputs.OUTPUT}`: found, checked, replaced. Nothing is evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from runyard.api.task import Work

_OURS = re.compile(r"\$\{tasks\.([^}]*)\}")
_WELL_FORMED = re.compile(r"([a-z](?:[-a-z0-9]*[a-z0-9])?)\.outputs\.([A-Za-z_][A-Za-z0-9_]*)")

W = TypeVar("W", bound=Work)

Outputs = Mapping[str, Mapping[str, str]]
"""The outputs of tasks: task name to output name to value."""


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
    for path, text in _texts(work):
        for match in _OURS.finditer(text):
            parts = _WELL_FORMED.fullmatch(match.group(1))
            task, output = (parts.group(1), parts.group(2)) if parts else (None, None)
            yield Reference(path=path, text=match.group(0), task=task, output=output)


def _texts(work: Work) -> Iterator[tuple[str, str]]:
    for variable in work.env:
        if variable.value is not None:
            yield f"env[{variable.name}].value", variable.value
    for index, argument in enumerate(work.script.args):
        yield f"script.args[{index}]", argument


def resolve(work: W, outputs: Outputs) -> W:
    """`work` with every reference replaced by its value.

    Raises:
        KeyError: a referenced output is not in `outputs`.
    """

    def replace(text: str) -> str:
        def value(match: re.Match[str]) -> str:
            parts = _WELL_FORMED.fullmatch(match.group(1))
            if parts is None:
                raise KeyError(match.group(0))
            return outputs[parts.group(1)][parts.group(2)]

        return _OURS.sub(value, text)

    env = [
        each if each.value is None else each.model_copy(update={"value": replace(each.value)})
        for each in work.env
    ]
    script = work.script.model_copy(update={"args": [replace(each) for each in work.script.args]})
    return work.model_copy(update={"env": env, "script": script})
