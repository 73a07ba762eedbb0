"""The `job` executor behind the protocol of `base`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runyard_operator.backends import naming
from runyard_operator.backends.base import Plan, Target
from runyard_operator.backends.incluster import InClusterBackend
from runyard_operator.backends.job.observe import observe
from runyard_operator.backends.job.render import render
from runyard_operator.engine.observation import Observation


class JobBackend(InClusterBackend):
    """One pod, run by a batch/v1 Job."""

    kind = "job"
    child_api = "batch/v1"
    child_kind = "Job"

    def child_name(self, target: Target) -> str:
        return naming.job_name(target.name, target.attempt)

    async def plan(self, target: Target) -> Plan:
        return render(target, self._config)

    def look(
        self, target: Target, child: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]
    ) -> Observation:
        return observe(target, child, pods)
