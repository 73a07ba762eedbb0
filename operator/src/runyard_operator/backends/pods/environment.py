"""The environment of a task's containers. Pure."""

from __future__ import annotations

from typing import Final

from runyard.api.constants import OUTPUTS_DIR
from runyard.api.task import Role
from runyard_operator.backends.base import Target
from runyard_operator.backends.pods import nodes, packages, placement
from runyard_operator.backends.pods.command import launcher_of, literal, placed
from runyard_operator.backends.pods.template import Fragment
from runyard_operator.backends.pods.wrapper import ARTIFACTS_DIR
from runyard_operator.launchers.torch import environment as ft_environment

ROLE_VARIABLE: Final = "RUNYARD_ROLE"
ROLES_VARIABLE: Final = "RUNYARD_ROLES"


def environment(target: Target, role: Role | None = None) -> list[Fragment]:
    """A container's environment: Runyard's own names cannot be set otherwise.

    They come first, so that the values of others can name those of `placement`.
    """
    ours = _ours(target, role)
    found = dict(ours)
    found["PYTHONPATH"] = {"name": "PYTHONPATH", "value": packages.python_path(target.spec)}
    found["PYTHONUNBUFFERED"] = {"name": "PYTHONUNBUFFERED", "value": "1"}
    found.update(nodes.environment(target))
    if role is not None:
        found.update(placement.torch_environment(target, role))
    launcher = launcher_of(target.spec, role)
    if launcher is not None and launcher.ft is not None:
        known = ft_environment(launcher.ft)
        found.update({k: {"name": k, "value": literal(path)} for k, path in known.items()})
    for variable in (*target.spec.env, *(role.env if role else ())):
        if variable.name in ours:
            continue
        wire = variable.to_dict()
        if variable.name == "PYTHONPATH" and variable.value:
            wire["value"] = f"{packages.python_path(target.spec)}:{variable.value}"
        elif variable.name == "PYTHONPATH" and variable.value_from is None:
            continue
        if "value" in wire:
            wire["value"] = placed(wire["value"])
        found[variable.name] = wire
    return list(found.values())


def _ours(target: Target, role: Role | None) -> dict[str, Fragment]:
    spec = target.spec
    roles = spec.group.roles if spec.group else []
    values = {
        "RUNYARD_EXPERIMENT": spec.experiment,
        "RUNYARD_TASK": spec.task,
        "RUNYARD_UNIT": target.name,
        "RUNYARD_ATTEMPT": str(target.attempt),
        "RUNYARD_OUTPUTS": OUTPUTS_DIR,
        "RUNYARD_ARTIFACTS": ARTIFACTS_DIR if spec.artifacts else None,
        ROLE_VARIABLE: role.name if role else None,
        ROLES_VARIABLE: " ".join(each.name for each in roles) or None,
    }
    found: dict[str, Fragment] = {
        name: {"name": name, "value": value} for name, value in values.items() if value is not None
    }
    return {**found, **placement.environment(target, role)}
