"""The `ray` executor behind the protocol of `base`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from runyard.api.ray import RayExecutor
from runyard.api.unit import Handle, UnitSpec
from runyard_operator.backends import answers, naming
from runyard_operator.backends.base import Manifest, Plan, Refused, Stalled, Target
from runyard_operator.backends.incluster import InClusterBackend
from runyard_operator.backends.planning import block_of
from runyard_operator.backends.ray import shared
from runyard_operator.backends.ray.borrowed import Host
from runyard_operator.backends.ray.observe import is_settled, observe
from runyard_operator.backends.ray.raypods import NODE_TYPE
from runyard_operator.backends.ray.render import render
from runyard_operator.engine import reasons
from runyard_operator.engine.observation import Observation, State
from runyard_operator.kube.api import Object
from runyard_operator.kube.errors import KubeError, NotFound
from runyard_operator.kube.resources import RAY, Ref

_MAX_NAMED: Final = 20
_FIRST_ATTEMPT: Final = 1


class RayBackend(InClusterBackend):
    """A Ray job, run by a KubeRay RayJob, or the RayCluster that such jobs share."""

    kind = "ray"
    child_api = RAY
    child_kind = "RayJob"

    def child_name(self, target: Target) -> str:
        return self._ref(target).name

    def _ref(self, target: Target) -> Ref:
        executor = target.spec.executor.ray
        if executor is not None and executor.cluster is not None:
            name = naming.raycluster_name(target.name, target.attempt)
            return Ref(RAY, shared.KIND, name, target.namespace)
        name = naming.rayjob_name(target.name, target.attempt)
        return Ref(RAY, self.child_kind, name, target.namespace)

    @staticmethod
    def suspends(spec: UnitSpec) -> bool:
        """Whether `suspend` frees something: only a job with a cluster of its own has any."""
        return spec.executor.ray is not None and spec.executor.ray.alone

    async def plan(self, target: Target) -> Plan:
        return render(target, self._config, await self._host(target))

    def look(
        self, target: Target, child: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]
    ) -> Observation:
        return observe(target, child, pods)

    def is_settled(self, child: Mapping[str, Any]) -> bool:
        return is_settled(child)

    def witnesses(self, seen: Observation, pods: Sequence[Object]) -> Sequence[Object]:
        """Of a failure the driver's log tells, which is that of the pod without a node type."""
        if seen.state is not State.FAILED:
            return pods
        return [each for each in pods if NODE_TYPE not in (each["metadata"].get("labels") or {})]

    async def submit(self, target: Target) -> tuple[Handle, str]:
        """See `base.Backend`."""
        executor = block_of(target, "ray", RayExecutor)
        if executor.cluster_from is not None and await self._maker(target, executor) is None:
            raise Refused(
                reasons.RAY_CLUSTER_NOT_FOUND,
                f"the Ray cluster of task {executor.cluster_from.task!r} is not there any more: it"
                " was deleted from outside, or the task did not make one",
            )
        return await super().submit(target)

    async def suspend(self, target: Target, handle: Handle | None) -> None:
        """See `base.Backend`. What runs on a borrowed cluster frees nothing, and goes on."""
        if self.suspends(target.spec):
            await super().suspend(target, handle)

    async def resume(self, target: Target, handle: Handle | None) -> None:
        """See `base.Backend`."""
        if self.suspends(target.spec):
            await super().resume(target, handle)

    async def _create(self, target: Target, manifest: Manifest) -> Object:
        try:
            return await super()._create(target, manifest)
        except Stalled as stalled:
            if isinstance(stalled.__cause__, NotFound) and manifest["apiVersion"] == RAY:
                raise _not_installed() from stalled
            raise

    async def _host(self, target: Target) -> Host | None:
        """The cluster that the attempt borrows; None when it has its own, or makes one."""
        executor = block_of(target, "ray", RayExecutor)
        if executor.cluster_from is not None:
            cluster = await self._maker(target, executor)
            if cluster is not None:
                return shared.host(cluster)
            # As it will be called: a plan can be shown before anything runs.
            unit = executor.cluster_from.unit or executor.cluster_from.task
            return Host(naming.raycluster_name(unit, _FIRST_ATTEMPT))
        if executor.cluster_selector is not None:
            return shared.host(await self._selected(target, executor.cluster_selector))
        return None

    async def _maker(self, target: Target, executor: RayExecutor) -> Object | None:
        source = executor.cluster_from
        if source is None or source.unit is None:
            return None
        try:
            return await shared.made_by(self._kube, target.namespace, source.unit)
        except NotFound:
            return None
        except KubeError as error:
            ref = Ref(RAY, shared.KIND, source.unit, target.namespace)
            raise answers.to_backend_error(error, ref) from error

    async def _selected(self, target: Target, labels: Mapping[str, str]) -> Object:
        """The one cluster that the selector means.

        Raises:
            Refused: there is none, or more than one.
        """
        wanted = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
        try:
            found = await shared.labelled(self._kube, target.namespace, labels)
        except NotFound as error:
            raise _not_installed() from error
        except KubeError as error:
            ref = Ref(RAY, shared.KIND, wanted, target.namespace)
            raise answers.to_backend_error(error, ref) from error
        if len(found) == 1:
            return found[0]
        names = ", ".join(sorted(each["metadata"]["name"] for each in found)[:_MAX_NAMED])
        there = f"several RayClusters have ({names})" if found else "no RayCluster has"
        raise Refused(
            reasons.RAY_CLUSTER_NOT_FOUND,
            f"{there} the labels {wanted}: executor.ray.clusterSelector must mean exactly one in"
            f" the namespace {target.namespace}",
        )


def _not_installed() -> Stalled:
    return Stalled(
        reasons.KUBERAY_NOT_INSTALLED,
        "executor.ray needs KubeRay 1.4 or newer, which this cluster does not have: an"
        " administrator can install it (https://docs.ray.io/en/latest/cluster/kubernetes/); the"
        " task goes on by itself then",
    )
