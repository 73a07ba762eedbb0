"""What of an experiment is shown in its plan: its name, and where a task's values come from. Pure.

An experiment with the label `runyard.dev/plan-of` is a copy that is planned in place of another one
and shows that one's name, so that the requests are those which the other one would make.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from runyard.api.constants import GROUP
from runyard.api.profile import ProfileSpec
from runyard.api.unit import UnitSpec
from runyard_operator.plans import origins

LABEL_PLAN_OF: Final = f"{GROUP}/plan-of"
UID: Final = "00000000-0000-0000-0000-000000000000"
"""Shown in place of UIDs, which only the real objects will have."""

Object = Mapping[str, Any]


def name_of(experiment: Object) -> str:
    """The name under which the experiment is shown."""
    labels = experiment["metadata"].get("labels") or {}
    return labels.get(LABEL_PLAN_OF) or str(experiment["metadata"]["name"])


def neutral(experiment: Object, text: str) -> str:
    """The text without what differs from plan to plan: the UID, and the name of a copy."""
    metadata = experiment["metadata"]
    text = text.replace(metadata["uid"], UID)
    shown = name_of(experiment)
    return text if shown == metadata["name"] else text.replace(metadata["name"], shown)


def head(
    experiment: Object,
    name: str,
    spec: UnitSpec,
    members: int,
    profiles: Mapping[str, ProfileSpec],
) -> list[str]:
    """Lines about a task: its executor, which member is shown, where the values come from."""
    executor = next(iter(spec.executor.to_dict()))
    lines = [f"task {name}, executor {executor}"]
    if spec.member is not None:
        values = ", ".join(f"{key}={value}" for key, value in spec.member.values.items())
        lines.append(f"shown is member {spec.member.index} of {members}: {values}")
    written = experiment["spec"]
    tasks = [*(written.get("tasks") or []), *(written.get("finally") or [])]
    task: Object = next((each for each in tasks if each["name"] == name), {})
    order = origins.layers(task, written.get("defaults"), profiles)
    return lines + origins.described(order, executor)
