"""Reconciles one Experiment: gather its units, decide, write the status, then act."""

from __future__ import annotations

from dataclasses import dataclass, field

from runyard.api.code import Code
from runyard.api.constants import API_VERSION, LABEL_EXPERIMENT
from runyard.api.experiment import ExperimentSpec
from runyard.api.profile import ProfileSpec
from runyard_operator.bundles.bundle import BundleError
from runyard_operator.context import Context
from runyard_operator.engine import conditions, effects, merge, naming
from runyard_operator.engine.experiment import (
    ExperimentDecision,
    ExperimentView,
    Foreign,
    TaskUnit,
    plan,
)
from runyard_operator.kube.api import Object
from runyard_operator.kube.errors import AlreadyExists, Conflict, NotFound
from runyard_operator.kube.resources import Ref
from runyard_operator.queue import Key
from runyard_operator.reconcile import code, manifests, views
from runyard_operator.reconcile.writer import StaleError, Writer, refresh

KIND = "Experiment"
UNIT = "ExecutionUnit"


@dataclass(slots=True)
class _Units:
    own: dict[str, TaskUnit] = field(default_factory=dict)
    foreign: dict[str, Foreign] = field(default_factory=dict)


class ExperimentReconciler:
    """Brings experiments forward, one pass at a time; it remembers nothing between passes."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, key: Key) -> float | None:
        """One pass; the seconds until the next one, or None to wait for an event."""
        obj = self._context.store.get(Ref(API_VERSION, KIND, key.name, key.namespace))
        if obj is None:
            return None
        try:
            view = await self._gather(obj)
            decision = plan(view, self._context.now())
            writer = Writer(self._context, obj)
            await writer.publish(view.status, decision.status, acts=bool(decision.effects))
            await self._act(writer, decision)
        except StaleError:
            return 0.0
        return decision.requeue_after

    async def _gather(self, obj: Object) -> ExperimentView:
        metadata = obj["metadata"]
        spec = views.experiment_spec(obj)
        status = views.experiment_status(obj)
        made = conditions.is_true(status.conditions, conditions.UNITS_CREATED)
        ended = status.completion_time is not None
        units = await self._units(obj, spec, verify=(made or spec.cancel) and not ended)
        staged = None if made else self._staged(spec)
        return ExperimentView(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata.get("generation", 0),
            spec=spec,
            status=status,
            units=units.own,
            foreign=units.foreign,
            profiles=self._profiles(metadata["namespace"], spec),
            staged_code=staged,
            deleting=views.deleting(obj),
            finalizer=views.has_finalizer(obj),
        )

    def _staged(self, spec: ExperimentSpec) -> Code | None:
        try:
            return code.staged(spec.code) if spec.code else None
        except BundleError:
            # The engine refuses such files with a message for the user.
            return None

    async def _units(self, obj: Object, spec: ExperimentSpec, *, verify: bool) -> _Units:
        """The units by task. Where a cache's "no" would count, the API server is asked."""
        uid = obj["metadata"]["uid"]
        units = _Units()
        live = await self._live_units(obj) if views.deleting(obj) else None
        for task in spec.tasks:
            ref = self._unit_ref(obj, task.name)
            if live is not None:
                found = live.get(ref.name)
            else:
                found = self._context.store.get(ref)
                if found is None and verify:
                    found = await refresh(self._context, ref)
            if found is None:
                continue
            if views.controlled_by(found, uid):
                units.own[task.name] = views.task_unit(found)
            else:
                units.foreign[task.name] = Foreign(ref.name, views.deleting(found))
        return units

    async def _live_units(self, obj: Object) -> dict[str, Object]:
        """Before the experiment lets go of its finalizer, no cache may say that no unit is left."""
        namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        selector = f"{LABEL_EXPERIMENT}={name}"
        found = await self._context.kube.list(
            API_VERSION, UNIT, namespace=namespace, label_selector=selector
        )
        return {each["metadata"]["name"]: each for each in found}

    def _profiles(self, namespace: str, spec: ExperimentSpec) -> dict[str, ProfileSpec]:
        """The profiles that the tasks name and what those extend, the namespace's own first."""
        wanted = [
            name for task in spec.tasks if (name := merge.wanted_profile(task, spec.defaults))
        ]
        found: dict[str, ProfileSpec] = {}
        while wanted:
            name = wanted.pop()
            if name in found:
                continue
            for place in (namespace, self._context.config.operator_namespace):
                obj = self._context.store.get(Ref(API_VERSION, "ExecutionProfile", name, place))
                if obj is not None:
                    found[name] = ProfileSpec.model_validate(obj["spec"])
                    wanted.extend(filter(None, [found[name].extends]))
                    break
        return found

    async def _act(self, writer: Writer, decision: ExperimentDecision) -> None:
        for effect in decision.effects:
            match effect:
                case effects.AddFinalizer():
                    await writer.add_finalizer()
                case effects.ReleaseFinalizer():
                    await writer.release_finalizer()
                case effects.StageCode():
                    await self._stage(writer.obj)
                case effects.CreateUnit():
                    await self._create(writer.obj, effect)
                case effects.UpdateUnit():
                    await self._update(writer.obj, effect)
                case effects.DeleteUnit():
                    await self._delete(writer.obj, effect)

    async def _stage(self, obj: Object) -> None:
        source = views.experiment_spec(obj).code
        manifest = code.config_map(source, obj) if source else None
        if manifest is not None:
            manager = f"runyard-experiment-{obj['metadata']['uid']}"
            await self._context.kube.apply(manifest, manager=manager)

    async def _create(self, obj: Object, effect: effects.CreateUnit) -> None:
        manifest = manifests.unit(obj, effect.task, effect.spec)
        try:
            self._context.store.put(await self._context.kube.create(manifest))
        except AlreadyExists:
            # Ours from before a crash, or somebody else's: the next pass sees which.
            await refresh(self._context, Ref.of(manifest))
        self._wake(obj, effect.task)

    async def _update(self, obj: Object, effect: effects.UpdateUnit) -> None:
        ref = self._unit_ref(obj, effect.task)
        current = self._context.store.get(ref)
        operations = manifests.unit_patch(current, effect.uid, effect.spec) if current else []
        if not operations:
            return
        try:
            self._context.store.put(await self._context.kube.json_patch(ref, operations))
        except (Conflict, NotFound) as error:
            await refresh(self._context, ref)
            raise StaleError(f"{ref} has changed meanwhile") from error
        self._wake(obj, effect.task)

    async def _delete(self, obj: Object, effect: effects.DeleteUnit) -> None:
        ref = self._unit_ref(obj, effect.task)
        try:
            await self._context.kube.delete(ref, uid=effect.uid)
        except Conflict:
            await refresh(self._context, ref)

    def _unit_ref(self, obj: Object, task: str) -> Ref:
        metadata = obj["metadata"]
        name = naming.unit_name(metadata["name"], task)
        return Ref(API_VERSION, UNIT, name, metadata["namespace"])

    def _wake(self, obj: Object, task: str) -> None:
        ref = self._unit_ref(obj, task)
        self._context.queue.add(Key(UNIT, ref.namespace or "", ref.name))
