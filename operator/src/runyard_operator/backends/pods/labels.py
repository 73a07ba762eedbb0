"""The labels and annotations by which an attempt's objects are known as ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from runyard.api.constants import (
    ANNOTATION_KEY,
    GROUP,
    LABEL_ATTEMPT,
    LABEL_EXPERIMENT,
    LABEL_MANAGED_BY,
    LABEL_MEMBER,
    LABEL_TASK,
    LABEL_UNIT,
    LABEL_UNIT_UID,
    MANAGED_BY,
)
from runyard_operator.backends.base import Target
from runyard_operator.engine.naming import bounded

ANNOTATION_SUSPENDED: Final = f"{GROUP}/suspended"
"""On a Job or TrainJob that Runyard has suspended."""


def labels(target: Target) -> dict[str, str]:
    """The labels of everything that is made for the attempt, its pods included."""
    found = dict(target.labels)
    found[LABEL_MANAGED_BY] = MANAGED_BY
    if target.spec.experiment:
        found[LABEL_EXPERIMENT] = bounded(target.spec.experiment)
    if target.spec.task:
        found[LABEL_TASK] = bounded(target.spec.task)
    if target.spec.member is not None:
        found[LABEL_MEMBER] = str(target.spec.member.index)
    found[LABEL_UNIT] = bounded(target.name)
    found[LABEL_UNIT_UID] = target.uid
    found[LABEL_ATTEMPT] = str(target.attempt)
    return found


def selector(target: Target) -> str:
    """The label selector of the attempt's pods."""
    return f"{LABEL_UNIT_UID}={target.uid},{LABEL_ATTEMPT}={target.attempt}"


def marks(target: Target) -> dict[str, str]:
    """The annotations of everything that is made for the attempt."""
    return {ANNOTATION_KEY: target.key}


def is_ours(obj: Mapping[str, Any], target: Target) -> bool:
    """Whether the object was made for exactly this attempt of this unit."""
    metadata = obj["metadata"]
    return (metadata.get("labels") or {}).get(LABEL_UNIT_UID) == target.uid and (
        metadata.get("annotations") or {}
    ).get(ANNOTATION_KEY) == target.key
