"""Reads what the engine must know of an experiment: its units, profiles, and an earlier run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from runyard.api.code import Code
from runyard.api.constants import API_VERSION, LABEL_EXPERIMENT
from runyard.api.experiment import ExperimentSpec, ExperimentStatus, UsedProfile
from runyard.api.profile import ProfileSpec
from runyard.api.unit import UnitPhase, UnitSpec
from runyard_operator.bundles.bundle import BundleError
from runyard_operator.context import Context
from runyard_operator.engine import check, merge, naming, record, slots
from runyard_operator.engine.experiment import (
    Earlier,
    ExperimentView,
    Foreign,
    SlotUnit,
    making,
    staging,
)
from runyard_operator.engine.slots import Layout, Slot
from runyard_operator.kube.api import Object
from runyard_operator.kube.resources import Ref
from runyard_operator.reconcile import code, views
from runyard_operator.reconcile.writer import refresh

UNIT: Final = "ExecutionUnit"
RAY_CLUSTER: Final = "RayCluster"
MAX_KNOWN: Final = 1024
"""Experiments whose specs are kept parsed."""


@dataclass(slots=True)
class Known:
    """What follows from one generation of an experiment's spec, worked out once."""

    generation: int
    spec: ExperimentSpec
    layout: Layout | None
    names: dict[Slot, str]
    """The name of every slot's unit."""
    staged: Code | None
    earlier: dict[tuple[str, str], Earlier] | None = None


@dataclass(slots=True)
class _Units:
    own: dict[Slot, SlotUnit] = field(default_factory=dict)
    foreign: dict[Slot, Foreign] = field(default_factory=dict)


class Gatherer:
    """Makes views. What it remembers between passes is only what a spec says."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._known: OrderedDict[str, Known] = OrderedDict()

    async def view(self, obj: Object, *, live: bool = False) -> ExperimentView:
        """The experiment as the engine sees it; with `live`, its units come from no cache.

        Raises:
            Unavailable: the API server does not say whether a unit that is missing is gone.
        """
        metadata = obj["metadata"]
        known = self.known(obj)
        status = views.experiment_status(obj)
        live = live or views.deleting(obj)
        units = await self._units(obj, known, status, live=live)
        accepted = bool(status.tasks)
        return ExperimentView(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata.get("generation", 0),
            spec=known.spec,
            status=status,
            layout=known.layout,
            units=units.own,
            foreign=units.foreign,
            profiles={} if accepted else self._profiles(metadata["namespace"], known.spec),
            earlier=await self._earlier(obj, known),
            staged_code=staging.fixed(known.staged, status),
            clusters=self._clusters(units.own),
            deleting=views.deleting(obj),
            finalizer=views.has_finalizer(obj),
            live=live,
        )

    def known(self, obj: Object) -> Known:
        """What follows from the spec."""
        metadata = obj["metadata"]
        uid, generation = metadata["uid"], metadata.get("generation", 0)
        found = self._known.get(uid)
        if found is None or found.generation != generation:
            found = _work_out(metadata["name"], views.experiment_spec(obj), generation)
            self._known[uid] = found
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        self._known.move_to_end(uid)
        return found

    async def _units(
        self, obj: Object, known: Known, status: ExperimentStatus, *, live: bool
    ) -> _Units:
        """The units by slot. Where a cache's "no" would count, the API server is asked."""
        metadata = obj["metadata"]
        uid, namespace = metadata["uid"], metadata["namespace"]
        units = _Units()
        found = await self._live(obj) if live else self._cached(namespace, metadata["name"])
        for each in found:
            if views.controlled_by(each, uid):
                units.own[views.slot(each)] = views.slot_unit(each)
        if views.deleting(obj) or status.completion_time is not None or known.layout is None:
            return units
        for slot, state in record.read(status.tasks, known.layout).items():
            if slot in units.own or state in record.ENDS:
                continue
            ref = Ref(API_VERSION, UNIT, known.names[slot], namespace)
            other = self._context.store.get(ref)
            if other is None and state == record.MADE:
                other = await refresh(self._context, ref)
            if other is None:
                continue
            if views.controlled_by(other, uid):
                units.own[slot] = views.slot_unit(other)
            else:
                units.foreign[slot] = Foreign(ref.name, views.deleting(other))
        return units

    def _clusters(self, units: Mapping[Slot, SlotUnit]) -> dict[Slot, str]:
        """The units whose Ray cluster is there and not on its way out."""
        if not self._context.store.count(RAY_CLUSTER):
            return {}
        return {
            slot: unit.uid
            for slot, unit in units.items()
            for each in self._context.store.children(unit.uid, RAY_CLUSTER)
            if not views.deleting(each)
        }

    def _cached(self, namespace: str, name: str) -> list[Object]:
        return list(self._context.store.units(namespace, name))

    async def _live(self, obj: Object) -> list[Object]:
        """Where it counts that there is no unit, no cache may say so."""
        namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        selector = f"{LABEL_EXPERIMENT}={name}"
        found = await self._context.kube.list(
            API_VERSION, UNIT, namespace=namespace, label_selector=selector
        )
        for each in found:
            self._context.store.put(each)
        return found

    def _profiles(self, namespace: str, spec: ExperimentSpec) -> dict[str, UsedProfile]:
        """The profiles that the tasks name and what those extend, the namespace's own first."""
        tasks = (*spec.tasks, *spec.finally_)
        wanted = [name for task in tasks if (name := merge.wanted_profile(task, spec.defaults))]
        found: dict[str, UsedProfile] = {}
        while wanted:
            name = wanted.pop()
            if name in found:
                continue
            for place in (namespace, self._context.config.operator_namespace):
                obj = self._context.store.get(Ref(API_VERSION, "ExecutionProfile", name, place))
                if obj is not None:
                    profile = ProfileSpec.model_validate(obj["spec"])
                    found[name] = UsedProfile(name=name, namespace=place, spec=profile)
                    wanted.extend(filter(None, [profile.extends]))
                    break
        return found

    async def _earlier(self, obj: Object, known: Known) -> Mapping[tuple[str, str], Earlier] | None:
        """What a rerun may take over, read once; None when the earlier experiment is not there."""
        rerun = known.spec.rerun_of
        if rerun is None:
            return {}
        if known.earlier is None:
            namespace = obj["metadata"]["namespace"]
            ref = Ref(API_VERSION, "Experiment", rerun.name, namespace)
            source = self._context.store.get(ref) or await refresh(self._context, ref)
            if source is None:
                return None
            uid = source["metadata"]["uid"]
            known.earlier = {
                (each["spec"]["task"], making.work_digest(UnitSpec.model_validate(each["spec"]))): (
                    _earlier_unit(rerun.name, each)
                )
                for each in self._cached(namespace, rerun.name)
                if views.controlled_by(each, uid) and _succeeded(each)
            }
        return known.earlier


def _work_out(name: str, spec: ExperimentSpec, generation: int) -> Known:
    layout: Layout | None = None
    names: dict[Slot, str] = {}
    staged: Code | None = None
    try:
        layout = slots.layout(name, spec)
        names = {
            slot: naming.unit_name(name, slot.task, slot.member)
            for place in layout.tasks.values()
            for slot in place.slots
        }
        staged = code.staged(spec.code) if spec.code else None
    except (check.InvalidSpecError, BundleError):
        # The engine refuses it with a message for the user.
        pass
    return Known(generation, spec, layout, names, staged)


def _succeeded(unit: Mapping[str, Any]) -> bool:
    return bool((unit.get("status") or {}).get("phase") == UnitPhase.SUCCEEDED.value)


def _earlier_unit(experiment: str, unit: Mapping[str, Any]) -> Earlier:
    outputs = unit["status"].get("outputs") or []
    return Earlier(
        experiment=experiment,
        name=unit["metadata"]["name"],
        uid=unit["metadata"]["uid"],
        outputs={each["name"]: each["value"] for each in outputs},
    )
