"""The `trainJob` executor behind the protocol of `base`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from runyard.api.constants import LABEL_MANAGED_BY, MANAGED_BY
from runyard.api.executor import TrainJobExecutor
from runyard_operator.backends import answers, naming
from runyard_operator.backends.base import Manifest, Plan, Refused, Stalled, Target, Unreachable
from runyard_operator.backends.incluster import InClusterBackend
from runyard_operator.backends.planning import block_of
from runyard_operator.backends.pods.template import PodConfig
from runyard_operator.backends.trainjob.observe import observe
from runyard_operator.backends.trainjob.render import render
from runyard_operator.engine import reasons
from runyard_operator.engine.observation import Observation
from runyard_operator.kube.api import KubeApi, Object
from runyard_operator.kube.errors import KubeError, NotFound
from runyard_operator.kube.resources import TRAINER, Ref
from runyard_operator.store import Store

DEFAULT_RUNTIME: Final = "torch-distributed"
DEFAULT_RUNTIME_KIND: Final = "ClusterTrainingRuntime"
_KINDS: Final = (DEFAULT_RUNTIME_KIND, "TrainingRuntime")
_MAX_NAMED: Final = 20

# The Trainer's webhook looks the runtime up in its own cache, which hears of a runtime some
# milliseconds after we made it, and refuses the TrainJob until then.
_NOT_SEEN_YET: Final = "must be created before the TrainJob"
_PAUSES: Final = (0.1, 0.2, 0.4, 0.8)

Sleep = Callable[[float], Awaitable[None]]


class TrainJobBackend(InClusterBackend):
    """Several pods that train together, run by a Kubeflow TrainJob."""

    kind = "trainJob"
    child_api = TRAINER
    child_kind = "TrainJob"

    def __init__(
        self, kube: KubeApi, store: Store, config: PodConfig, *, sleep: Sleep = asyncio.sleep
    ) -> None:
        super().__init__(kube, store, config)
        self._sleep = sleep

    def child_name(self, target: Target) -> str:
        return naming.trainjob_name(target.name, target.attempt)

    async def plan(self, target: Target) -> Plan:
        return render(target, await self._source(target), self._config)

    def look(
        self, target: Target, child: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]
    ) -> Observation:
        return observe(target, child, pods)

    async def _create(self, target: Target, manifest: Manifest) -> Object:
        for pause in _PAUSES:
            try:
                return await super()._create(target, manifest)
            except Refused as refused:
                if _NOT_SEEN_YET not in refused.message:
                    raise
            await self._sleep(pause)
        raise Unreachable(
            reasons.UNREACHABLE,
            "the Trainer does not see the training runtime of this attempt yet: asking again",
        )

    async def _source(self, target: Target) -> Object:
        """The runtime that the user refers to, as it is now."""
        fields = block_of(target, "trainJob", TrainJobExecutor)
        kind = fields.runtime_kind or DEFAULT_RUNTIME_KIND
        name = fields.runtime or DEFAULT_RUNTIME
        ref = Ref(TRAINER, kind, name, target.namespace if kind == "TrainingRuntime" else None)
        found = await self._get(ref)
        if found is not None:
            return found
        try:
            known = await self._known_runtimes(target.namespace)
        except NotFound as error:
            raise Stalled(
                reasons.TRAINER_NOT_INSTALLED,
                "executor.trainJob needs Kubeflow Trainer 2, which this cluster does not have: an"
                " administrator can install it (https://www.kubeflow.org/docs/components/trainer/);"
                " the task goes on by itself then",
            ) from error
        except KubeError as error:
            raise answers.to_backend_error(error, ref) from error
        there = ", ".join(known[:_MAX_NAMED]) or "none"
        raise Refused(
            reasons.RUNTIME_NOT_FOUND,
            f"{kind} {name!r} does not exist: set executor.trainJob.runtime and runtimeKind to one"
            f" of those that do ({there}), or create it",
        )

    async def _known_runtimes(self, namespace: str) -> list[str]:
        """Kind/name of the runtimes that a task can name; those that we derived are left out."""
        found: list[str] = []
        for kind in _KINDS:
            where = namespace if kind == "TrainingRuntime" else None
            for each in await self._kube.list(TRAINER, kind, namespace=where):
                labels = each["metadata"].get("labels") or {}
                if labels.get(LABEL_MANAGED_BY) != MANAGED_BY:
                    found.append(f"{kind}/{each['metadata']['name']}")
        return sorted(found)
