"""What the executors that make Kubernetes objects share: submit, observe, cancel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from runyard.api.constants import ANNOTATION_KEY, LABEL_ATTEMPT
from runyard.api.unit import Handle
from runyard.bundles import names
from runyard_operator.backends import answers, kueue
from runyard_operator.backends.base import (
    ForeignObject,
    Manifest,
    Plan,
    Stalled,
    Target,
    Unreachable,
)
from runyard_operator.backends.evidence import Evidence
from runyard_operator.backends.pods import result
from runyard_operator.backends.pods.labels import ANNOTATION_SUSPENDED, is_ours, selector
from runyard_operator.backends.pods.template import PodConfig
from runyard_operator.bundles import claim
from runyard_operator.bundles.bundle import same_content
from runyard_operator.engine import reasons
from runyard_operator.engine.observation import Observation, State
from runyard_operator.kube.api import KubeApi, Object
from runyard_operator.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from runyard_operator.kube.resources import Ref
from runyard_operator.store import Store

Now = Callable[[], datetime]

_POD_ENDED: Final = frozenset({"Succeeded", "Failed"})


def _utc_now() -> datetime:
    return datetime.now(UTC)


class InClusterBackend(ABC):
    """See `base.Backend`. A child has a name that the attempt determines: a second create of the
    same attempt meets the first one's object and adopts it."""

    kind: str
    settle_seconds: float = 0.0
    can_suspend: bool = True
    child_api: ClassVar[str]
    child_kind: ClassVar[str]

    def __init__(
        self, kube: KubeApi, store: Store, config: PodConfig, *, now: Now = _utc_now
    ) -> None:
        self._kube = kube
        self._evidence = Evidence(kube, now)
        self._store = store
        self._config = config

    @abstractmethod
    def child_name(self, target: Target) -> str:
        """The name of the attempt's Job or TrainJob."""

    @abstractmethod
    async def plan(self, target: Target) -> Plan:
        """The exact request. It may read the API server; it writes nothing.

        Raises:
            Unreachable, Stalled, Refused: see `base.Backend.submit`.
        """

    @abstractmethod
    def look(
        self, target: Target, child: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]
    ) -> Observation:
        """The observation of a child that is ours. Pure."""

    def is_settled(self, child: Mapping[str, Any]) -> bool:
        """Whether the child says that it has ended, or that it holds nothing."""
        return result.is_terminal(child) or result.is_suspended(child)

    def witnesses(self, seen: Observation, pods: Sequence[Object]) -> Sequence[Object]:
        """The pods that can tell more about what was seen."""
        return pods

    async def submit(self, target: Target) -> tuple[Handle, str]:
        """See `base.Backend`."""
        plan = await self.plan(target)
        await self._claim(target)
        for manifest in plan.bundles:
            await self._stage(target, manifest)
        *before, job = plan.objects
        for manifest in before:
            found = await self._create(target, manifest)
            if found["metadata"].get("deletionTimestamp"):
                raise Unreachable(
                    reasons.UNREACHABLE, f"waiting for the deletion of {Ref.of(manifest)} to end"
                )
        # A job of ours that is being deleted is adopted too: made anew, the attempt would run
        # twice.
        return result.handle_of(await self._create(target, job)), plan.digest

    async def _claim(self, target: Target) -> None:
        """Makes sure that a pushed bundle is the namespace's own, and stays.

        Asked for every unit, for anybody can write one: its pods get the right to read the bundle.
        """
        bundle = target.spec.code.bundle if target.spec.code is not None else None
        if bundle is None:
            return
        try:
            problem = await claim.claim(
                self._kube,
                bundle,
                target.namespace,
                target.owner,
                manager=f"runyard-unit-{target.uid}",
                key=self._config.store_key or None,
                cap=self._config.bundle_cap,
                experiment=target.spec.experiment,
            )
        except KubeError as error:
            ref = Ref("v1", "ConfigMap", names.manifest_name(bundle.digest), target.namespace)
            raise answers.to_backend_error(error, ref) from error
        if problem is not None:
            raise Stalled(reasons.CODE_NOT_FOUND, problem)

    async def _stage(self, target: Target, manifest: Manifest) -> None:
        """Makes a bundle's ConfigMap, or becomes one more owner of the one that is there."""
        ref = Ref.of(manifest)
        try:
            found = await self._kube.get(ref)
            if found is not None and not same_content(found, manifest):
                raise ForeignObject(
                    reasons.NAME_CONFLICT,
                    f"{ref} exists and is not the code that its name stands for: delete it",
                )
            if found is None or not _owned_by(found, target.uid):
                found = await self._kube.apply(manifest, manager=f"runyard-unit-{target.uid}")
        except KubeError as error:
            raise answers.to_backend_error(error, ref) from error
        if found["metadata"].get("deletionTimestamp"):
            raise Unreachable(reasons.UNREACHABLE, f"waiting for the deletion of {ref} to end")

    async def _create(self, target: Target, manifest: Manifest) -> Object:
        """Creates an object, or adopts the one that an earlier call for this attempt created."""
        ref = Ref.of(manifest)
        try:
            return await self._kube.create(manifest)
        except AlreadyExists:
            found = await self._get(ref)
        except KubeError as error:
            raise answers.to_backend_error(error, ref) from error
        if found is None:
            raise Unreachable(reasons.UNREACHABLE, f"{ref} was there and is gone: asking again")
        if not is_ours(found, target):
            raise ForeignObject(
                reasons.NAME_CONFLICT,
                f"{ref} exists and was not made for this unit: delete or rename it, and the unit"
                " goes on",
            )
        return found

    async def _get(self, ref: Ref) -> Object | None:
        try:
            return await self._kube.get(ref)
        except KubeError as error:
            raise answers.to_backend_error(error, ref) from error

    async def observe(self, target: Target, handle: Handle | None) -> Observation:
        """See `base.Backend`."""
        ref = self._ref(target)
        try:
            child = self._store.get(ref)
            cached = child is not None and is_ours(child, target)
            if not cached:
                child = await self._kube.get(ref)
            if child is None or not is_ours(child, target):
                return await self._absent(target, handle)
            # The end is told once and for good, and "suspended" means that nothing is held: then
            # the pods are read afresh, since the cache may be behind.
            if cached and not self.is_settled(child):
                pods = self._cached_pods(target)
            else:
                pods = await self._pods(target)
        except KubeError as error:
            return Observation(
                state=State.UNKNOWN,
                handle=handle,
                reason=reasons.UNREACHABLE,
                message=f"the API server gives no answer: {error}",
            )
        seen = self.look(target, child, pods)
        return await self._evidence.add(seen, child, self.witnesses(seen, pods))

    async def _absent(self, target: Target, handle: Handle | None) -> Observation:
        """The child is gone; its pods may outlive it."""
        pods = await self._pods(target)
        alive = [each for each in pods if (each["status"].get("phase")) not in _POD_ENDED]
        if alive:
            names = ", ".join(sorted(each["metadata"]["name"] for each in alive)[:3])
            return Observation(
                state=State.TERMINATING, handle=handle, message=f"pods still run: {names}"
            )
        return Observation(state=State.ABSENT, handle=handle)

    async def _pods(self, target: Target) -> list[Object]:
        return await self._kube.list(
            "v1", "Pod", namespace=target.namespace, label_selector=selector(target)
        )

    def _cached_pods(self, target: Target) -> list[Object]:
        return [
            each
            for each in self._store.children(target.uid, "Pod")
            if each["metadata"]["labels"].get(LABEL_ATTEMPT) == str(target.attempt)
        ]

    async def suspend(self, target: Target, handle: Handle | None) -> None:
        """See `base.Backend`. A mark says that it was us: a queue manager suspends jobs, too."""
        mark = {"op": "add", "path": _pointer(ANNOTATION_SUSPENDED), "value": "true"}
        await self._steer(target, mark, suspend=True)

    async def resume(self, target: Target, handle: Handle | None) -> None:
        """See `base.Backend`. What a queue manager has suspended is for it to resume."""
        mark = {"op": "remove", "path": _pointer(ANNOTATION_SUSPENDED)}
        await self._steer(target, mark, suspend=False)

    async def _steer(self, target: Target, mark: Object, *, suspend: bool) -> None:
        """Patches the child, if it is ours and as it was when it was looked at.

        A child with a queue is steered by its queue: whatever else it is told, Kueue undoes.
        """
        ref = self._ref(target)
        found = await self._get(ref)
        if found is None or not is_ours(found, target):
            return
        change = [mark, {"op": "add", "path": "/spec/suspend", "value": suspend}]
        uid = {"op": "test", "path": "/metadata/uid", "value": found["metadata"]["uid"]}
        key = {"op": "test", "path": _pointer(ANNOTATION_KEY), "value": target.key}
        try:
            if kueue.queue_of(found) is not None:
                known = await kueue.activate(self._kube, found, active=not suspend)
                # What Kueue does not know of yet stays as it is until Kueue starts it.
                change = [mark] if known or not suspend else change
            await self._kube.json_patch(ref, [uid, key, *change])
        except (Conflict, NotFound):
            return  # gone, another one by now, or there is no mark to take away
        except KubeError as error:
            raise answers.to_backend_error(error, ref) from error

    async def cancel(self, target: Target, handle: Handle | None) -> None:
        """See `base.Backend`."""
        ref = self._ref(target)
        uid = handle.uid if handle is not None else None
        if uid is None:
            found = await self._get(ref)
            if found is None or not is_ours(found, target):
                return
            uid = str(found["metadata"]["uid"])
        try:
            # In the foreground the child stays until its pods have ended, so its absence says so.
            await self._kube.delete(ref, uid=uid, propagation="Foreground")
        except Conflict:
            return  # another object has the name by now: ours is gone
        except KubeError as error:
            raise answers.to_backend_error(error, ref) from error

    def _ref(self, target: Target) -> Ref:
        return Ref(self.child_api, self.child_kind, self.child_name(target), target.namespace)


def _pointer(annotation: str) -> str:
    """The JSON pointer of an annotation."""
    return f"/metadata/annotations/{annotation.replace('/', '~1')}"


def _owned_by(obj: Mapping[str, Any], uid: str) -> bool:
    owners = obj["metadata"].get("ownerReferences") or []
    return any(each["uid"] == uid for each in owners)
