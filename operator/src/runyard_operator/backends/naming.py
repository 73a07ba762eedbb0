"""The names of what attempts create: the same attempt always gets the same name."""

from __future__ import annotations

from typing import Final

from runyard_operator.engine.naming import bounded

MAX_JOB: Final = 57
"""A Job's pods append a dash and five characters, and must fit into a label of 63."""
MAX_TRAINJOB: Final = 45
"""JobSet names pods `<name>-node-0-<index>-<5>`, and a pod's host name has 63 characters; the
index of 4096 nodes takes four digits."""


def job_name(unit: str, attempt: int) -> str:
    """The name of the Job of an attempt."""
    return bounded(f"{unit}-{attempt}", MAX_JOB)


def trainjob_name(unit: str, attempt: int) -> str:
    """The name of the TrainJob of an attempt, and of the TrainingRuntime made for it."""
    return bounded(f"{unit}-{attempt}", MAX_TRAINJOB)


MAX_RAYJOB: Final = 47
MAX_RAYCLUSTER: Final = 53
"""KubeRay's own limits; the names of a cluster's pods and services are longer."""


def rayjob_name(unit: str, attempt: int) -> str:
    """The name of the RayJob of an attempt."""
    return bounded(f"{unit}-{attempt}", MAX_RAYJOB)


def raycluster_name(unit: str, attempt: int) -> str:
    """The name of the RayCluster that an attempt makes for other tasks."""
    return bounded(f"{unit}-{attempt}", MAX_RAYCLUSTER)
