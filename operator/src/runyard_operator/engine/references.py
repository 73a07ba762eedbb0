"""References such as `${tasks.NAME.outputs.OUTPUT}`: found and replaced. Nothing is evaluated.

They stand in literal values of environment variables and in arguments. Script texts are left
alone: a value from outside inside a script's text would be code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from runyard.api.pod import MAX_VALUE, EnvVar
from runyard.api.task import MAX_ARGUMENT, Script, Work

ROOTS: Final = ("params", "matrix", "tasks", "experiment", "task", "attempt")
_OURS = re.compile(rf"\$\{{((?:{'|'.join(ROOTS)})\.[^}}]*)\}}")
_MEANT = re.compile(rf"\$\{{(\s*(?:{'|'.join(ROOTS)})\s*\.[^}}]*)(\}}?)")
"""What is ours, and what can only have been meant to be."""
_LATER = re.compile(r"(\$+)\{(attempt\.(?:number|key))\}")
"""What is replaced when an attempt begins; a doubled `$` stands for a plain one."""
_OUTPUT = re.compile(r"tasks\.([a-z](?:[-a-z0-9]*[a-z0-9])?)\.outputs\.([A-Za-z_][A-Za-z0-9_]*)")
_PHASE = re.compile(r"tasks\.([a-z](?:[-a-z0-9]*[a-z0-9])?)\.phase")
ATTEMPT: Final = frozenset({"attempt.number", "attempt.key"})
"""Known only when an attempt begins; a unit's spec still has them."""

W = TypeVar("W", bound=Work)
Lookup = Callable[[str], str | None]
"""The value for what stands between the braces; None leaves the reference as it is."""


class NoValueError(Exception):
    """A reference has no value: the unit that had it is gone."""


class TooLongError(Exception):
    """A text with its values in it is longer than its place takes."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference in a spec: where it stands, its text, and what is between the braces."""

    path: str
    text: str
    inner: str
    closed: bool = True
    """Whether there is a brace at its end."""

    @property
    def output(self) -> tuple[str, str] | None:
        """Task and output, where it names an output."""
        found = _OUTPUT.fullmatch(self.inner)
        return (found.group(1), found.group(2)) if found else None

    @property
    def phase_of(self) -> str | None:
        """The task whose phase it names."""
        found = _PHASE.fullmatch(self.inner)
        return found.group(1) if found else None


def find(work: Work) -> Iterator[Reference]:
    """All references of a task or unit, the malformed ones included."""
    for path, text, _ in texts(work):
        for match in _MEANT.finditer(text):
            yield Reference(path, match.group(0), match.group(1), closed=bool(match.group(2)))


def texts(work: Work) -> Iterator[tuple[str, str, int]]:
    """Every text that may hold references: its path, the text, and how long it may be."""
    yield from _env_texts("env", work.env)
    if work.script is not None:
        yield from _argument_texts("script.args", work.script)
    for role in work.group.roles if work.group else ():
        where = f"group.roles[{role.name}]"
        yield from _env_texts(f"{where}.env", role.env)
        yield from _argument_texts(f"{where}.script.args", role.script)


def outgrows(work: Work, longest: Callable[[str], int]) -> str | None:
    """The path of a text that would be too long with the longest values; None when all fit.

    `longest` gives the most characters that a reference can be replaced by.
    """
    for path, text, limit in texts(work):
        inner = _OURS.findall(text)
        if inner and len(_OURS.sub("", text)) + sum(longest(each) for each in inner) > limit:
            return path
    return None


def resolve(work: W, lookup: Lookup) -> W:
    """`work` with every reference replaced by its value.

    Values are put in as they are, once: what looks like a reference in a value is only text.

    Raises:
        NoValueError: raised by `lookup`.
        TooLongError: a text does not fit with its values.
    """

    def replace(text: str, path: str, limit: int) -> str:
        return _fitting(_OURS.sub(lambda match: _value(match, lookup), text), path, limit)

    return _with_texts(work, replace)


def for_attempt(work: W, number: int, key: str) -> W:
    """`work` with `${attempt.number}` and `${attempt.key}` replaced.

    Raises:
        TooLongError: a text does not fit with them.
    """
    values = {"attempt.number": str(number), "attempt.key": key}

    def value(match: re.Match[str]) -> str:
        dollars, name = len(match.group(1)), match.group(2)
        return "$" * (dollars // 2) + (values[name] if dollars % 2 else f"{{{name}}}")

    def replace(text: str, path: str, limit: int) -> str:
        return _fitting(_LATER.sub(value, text), path, limit)

    return _with_texts(work, replace)


def _fitting(text: str, path: str, limit: int) -> str:
    if len(text) > limit:
        raise TooLongError(
            f"{path} would be {len(text)} characters long with its values, more than the"
            f" {limit} that fit: hand over a path instead"
        )
    return text


def _value(match: re.Match[str], lookup: Lookup) -> str:
    value = lookup(match.group(1))
    if value is None:
        return match.group(0)
    # The text is gone through once more for the attempt, which must find nothing in this value.
    value = _LATER.sub(lambda found: found.group(1) + found.group(0), value)
    if match.string.startswith("${attempt.", match.end()):
        value += "$" * (len(value) - len(value.rstrip("$")))
    return value


def _env_texts(where: str, env: list[EnvVar]) -> Iterator[tuple[str, str, int]]:
    for variable in env:
        if variable.value is not None:
            yield f"{where}[{variable.name}].value", variable.value, MAX_VALUE


def _argument_texts(where: str, script: Script) -> Iterator[tuple[str, str, int]]:
    for index, argument in enumerate(script.args):
        yield f"{where}[{index}]", argument, MAX_ARGUMENT


def _with_texts(work: W, replace: Callable[[str, str, int], str]) -> W:
    changes: dict[str, object] = {"env": _env(work.env, "env", replace)}
    if work.script is not None:
        changes["script"] = _script(work.script, "script", replace)
    if work.group is not None:
        roles = [
            role.model_copy(
                update={
                    "env": _env(role.env, f"group.roles[{role.name}].env", replace),
                    "script": _script(role.script, f"group.roles[{role.name}].script", replace),
                }
            )
            for role in work.group.roles
        ]
        changes["group"] = work.group.model_copy(update={"roles": roles})
    return work.model_copy(update=changes)


def _env(env: list[EnvVar], where: str, replace: Callable[[str, str, int], str]) -> list[EnvVar]:
    return [
        each
        if each.value is None
        else each.model_copy(
            update={"value": replace(each.value, f"{where}[{each.name}].value", MAX_VALUE)}
        )
        for each in env
    ]


def _script(script: Script, where: str, replace: Callable[[str, str, int], str]) -> Script:
    arguments = [
        replace(each, f"{where}.args[{index}]", MAX_ARGUMENT)
        for index, each in enumerate(script.args)
    ]
    return script.model_copy(update={"args": arguments})
