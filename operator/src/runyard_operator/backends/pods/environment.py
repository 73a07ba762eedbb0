"""The environment of a task's containers. Pure."""

from __future__ import annotations

from typing import Final

from runyard.api.constants import CODE_DIR, OUTPUTS_DIR
from runyard.api.task import Role
from runyard_operator.backends.base import Target
from runyard_operator.backends.pods import nodes
from runyard_operator.backends.pods.command import literal
from runyard_operator.backends.pods.template import Fragment

ROLE_VARIABLE: Final = "RUNYARD_ROLE"
ROLES_VARIABLE: Final = "RUNYARD_ROLES"


def environment(target: Target, role: Role | None = None) -> list[Fragment]:
    """A container's environment: Runyard's own names cannot be set otherwise."""
    spec = target.spec
    roles = spec.group.roles if spec.group else []
    ours = {
        "RUNYARD_EXPERIMENT": spec.experiment,
        "RUNYARD_TASK": spec.task,
        "RUNYARD_UNIT": target.name,
        "RUNYARD_ATTEMPT": str(target.attempt),
        "RUNYARD_OUTPUTS": OUTPUTS_DIR,
        ROLE_VARIABLE: role.name if role else None,
        ROLES_VARIABLE: " ".join(each.name for each in roles) or None,
    }
    found: dict[str, Fragment] = {
        name: {"name": name, "value": value} for name, value in ours.items() if value is not None
    }
    found["PYTHONPATH"] = {"name": "PYTHONPATH", "value": CODE_DIR}
    found["PYTHONUNBUFFERED"] = {"name": "PYTHONUNBUFFERED", "value": "1"}
    found.update(nodes.environment(target))
    for variable in (*spec.env, *(role.env if role else ())):
        if variable.name in ours:
            continue
        wire = variable.to_dict()
        if variable.name == "PYTHONPATH" and variable.value:
            wire["value"] = f"{CODE_DIR}:{variable.value}"
        elif variable.name == "PYTHONPATH" and variable.value_from is None:
            continue
        if "value" in wire:
            wire["value"] = literal(wire["value"])
        found[variable.name] = wire
    return list(found.values())
