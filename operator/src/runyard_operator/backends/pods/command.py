"""The argument vector of a task's container."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from runyard.api.constants import SCRIPTS_DIR
from runyard.api.launcher import Launcher
from runyard.api.task import Role, Script
from runyard.api.unit import UnitSpec
from runyard_operator.backends.pods.wrapper import wrapped
from runyard_operator.launchers import Program, Shape, Variable, start

PLACED: Final = (
    "RUNYARD_NUM_NODES", "RUNYARD_NODE_RANK", "RUNYARD_NPROC_PER_NODE", "RUNYARD_HEAD_ADDR",
)  # fmt: skip
"""Variables that a word may name as `$(NAME)`: where a program runs is known in its pod alone."""

_EXPANDED: Final = re.compile(r"\$(?=[$(])")
_PLACED: Final = re.compile(rf"(\${{1,2}}\((?:{'|'.join(PLACED)})\))|{_EXPANDED.pattern}")


def literal(text: str) -> str:
    """`text` so that Kubernetes leaves it as it is: it would expand `$(NAME)` and halve `$$`."""
    return _EXPANDED.sub("$$", text)


def placed(text: str) -> str:
    """`text` so that Kubernetes expands the names of `PLACED` in it and nothing else; with a
    second `$` before it such a name stays as it is."""
    return _PLACED.sub(lambda found: found[1] or "$$", text)


def escaped(words: Iterable[str]) -> list[str]:
    """The words of a container's command: variables of launchers as they are, others literal."""
    return [each if isinstance(each, Variable) else placed(each) for each in words]


def script_name(spec: UnitSpec, unit: str, role: Role | None = None) -> str:
    """The file name of the inline script, in the scripts folder."""
    return f"{spec.task or unit}{f'-{role.name}' if role else ''}.sh"


def script_of(spec: UnitSpec, role: Role | None = None) -> Script:
    """The script of a unit that has one, or of a role of its group."""
    if role is not None:
        return role.script
    if spec.script is None:
        raise ValueError("the unit has no script")
    return spec.script


def launcher_of(spec: UnitSpec, role: Role | None = None) -> Launcher | None:
    """The launcher of a unit, or of a role of its group."""
    return role.launcher if role is not None else spec.launcher


def plain_command(
    spec: UnitSpec, unit: str, role: Role | None = None, shape: Shape | None = None
) -> list[str]:
    """The command as it is run, before anything is escaped or wrapped.

    Without `shape` the script runs by itself, and its launcher is left out.
    """
    script = script_of(spec, role)
    path = script.path
    if script.inline is not None:
        path = f"{SCRIPTS_DIR}/{script_name(spec, unit, role)}"
    program = Program(
        entrypoint=script.program, path=path, module=script.module, args=tuple(script.args)
    )
    if shape is None:
        return start(program, None, Shape())
    return start(program, launcher_of(spec, role), shape)


def with_outputs(spec: UnitSpec, plain: list[str], role: Role | None = None) -> list[str]:
    """The command, wrapped when the task declares outputs or artifacts; `role` is the leader.

    After the command has succeeded, the wrapper writes what they are to the termination message,
    which the kubelet makes part of the pod's status.
    """
    flag = _flag(launcher_of(spec, role))
    return wrapped(plain, [each.name for each in spec.outputs], spec.artifacts, flag)


def with_flag(spec: UnitSpec, role: Role, plain: list[str]) -> list[str]:
    """The command of a role that reports nothing, and may have to say that it is done."""
    return wrapped(plain, flag=_flag(launcher_of(spec, role)))


def _flag(launcher: Launcher | None) -> str | None:
    return launcher.ft.finished_flag_file if launcher is not None and launcher.ft else None


def command(spec: UnitSpec, unit: str, shape: Shape) -> list[str]:
    """The container's command, for a unit with a script."""
    return escaped(with_outputs(spec, plain_command(spec, unit, shape=shape)))
