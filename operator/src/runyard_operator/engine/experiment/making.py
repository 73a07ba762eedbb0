"""Makes the spec of a slot's ExecutionUnit: all that it inherits, every reference replaced."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from runyard.api.experiment import ExperimentPhase
from runyard.api.task import Task
from runyard.api.unit import Adopted, Member, OutputValue, Skip, UnitPhase, UnitSpec
from runyard_operator.engine import effects, graph, merge, naming, reasons, references
from runyard_operator.engine.experiment import clusters
from runyard_operator.engine.experiment.view import ExperimentView
from runyard_operator.engine.references import NoValueError, Reference
from runyard_operator.engine.slots import Layout, Slot, TaskSlots

_SAME_WORK: Final = (
    "script", "group", "env", "launcher", "packages", "executor", "outputs", "artifacts", "code",
)  # fmt: skip
_WORK: Final = (*_SAME_WORK[:-1], "retry", "deadlines")


def merged_tasks(view: ExperimentView, layout: Layout) -> dict[str, Task]:
    """Every task with all that it inherits.

    Raises:
        ProfileError: see `merge.chain`.
    """
    profiles = view.used_profiles
    return {
        name: merge.merged(place.task, view.spec.defaults, profiles)
        for name, place in layout.tasks.items()
    }


def work_digest(spec: UnitSpec) -> str:
    """sha256 of what a unit does: two units with the same digest do the same work.

    Code without a digest may have changed behind its name; such a unit is like no other.
    """
    whole = spec.to_dict()
    code = spec.code
    if code is not None and code.config_map is not None and code.config_map.digest is None:
        whole["code"] = {"unknown": f"{spec.experiment}/{spec.task}"}
    work = {name: whole.get(name) for name in _SAME_WORK}
    if spec.executor.ray is not None and spec.executor.ray.cluster_from is not None:
        # The cluster is another one in each experiment; which task makes it is the same.
        whole["executor"]["ray"]["clusterFrom"].pop("unit", None)
    work["matrix"] = spec.member.values if spec.member else None
    text = json.dumps(work, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes units of one experiment in one pass.

    `phases` are the phases of all slots at this moment; `result` is that of the experiment so far,
    which tasks of `finally` may ask for.
    """

    view: ExperimentView
    layout: Layout
    phases: Mapping[Slot, UnitPhase]
    result: ExperimentPhase | None = None
    _merged: dict[str, Task] = field(default_factory=dict)
    _adoptable: dict[str, bool] = field(default_factory=dict)

    def bare(self, slot: Slot) -> UnitSpec:
        """The spec with its references still in it."""
        place = self.layout.tasks[slot.task]
        if slot.task not in self._merged:
            self._merged[slot.task] = merge.merged(
                place.task, self.view.spec.defaults, self.view.used_profiles
            )
        task = self._merged[slot.task]
        member = None
        if slot.member is not None:
            member = Member(index=slot.member, values=dict(place.values(slot.member)))
        fields: dict[str, Any] = {name: getattr(task, name) for name in _WORK}
        spec = UnitSpec(
            **fields,
            experiment=self.view.name,
            task=slot.task,
            member=member,
            code=self.view.staged_code,
        )
        return clusters.bound(self.view.name, spec)

    def spec(self, slot: Slot) -> UnitSpec:
        """The spec as it is to run, or to be taken over from an earlier experiment.

        Raises:
            NoValueError: an output is gone with the unit that had it.
            TooLongError: values do not fit into a text.
        """
        spec = references.resolve(self.bare(slot), lambda inner: self._value(slot, inner))
        return self._adopted(slot, spec)

    def known(self, slot: Slot) -> UnitSpec:
        """The spec with those references replaced that need no other task to have run."""

        def value(inner: str) -> str | None:
            return None if inner.startswith("tasks.") else self._value(slot, inner)

        return references.resolve(self.bare(slot), value)

    def skipped(self, slot: Slot, reason: str, message: str) -> UnitSpec:
        """The spec of a unit that must never run."""
        skip = Skip(reason=reason, message=message[:1024])
        return self.bare(slot).model_copy(update={"skip": skip})

    def effect(self, slot: Slot, spec: UnitSpec) -> effects.CreateUnit:
        """What creates the unit of a slot."""
        name = naming.unit_name(self.view.name, slot.task, slot.member)
        return effects.CreateUnit(slot, name, spec)

    def _adopted(self, slot: Slot, spec: UnitSpec) -> UnitSpec:
        if not self.view.earlier or not self._may_adopt(slot.task):
            return spec
        earlier = self.view.earlier.get((slot.task, work_digest(spec)))
        if earlier is None:
            return spec
        outputs = [OutputValue(name=name, value=value) for name, value in earlier.outputs.items()]
        adopted = Adopted(
            experiment=earlier.experiment, unit=earlier.name, uid=earlier.uid, outputs=outputs
        )
        return spec.model_copy(update={"adopted": adopted})

    def _may_adopt(self, name: str) -> bool:
        """Whether nothing that came before the task has run anew: it may have written files.

        Tasks of `finally` belong to the end of this experiment, and always run.
        """
        if name not in self._adoptable:
            rerun = self.view.spec.rerun_of
            place = self.layout.tasks[name]
            chosen = rerun.from_tasks if rerun else ()
            anew = place.final or name in graph.descendants(chosen, self.view.spec.tasks)
            anew = anew or clusters.makes(place.task)
            self._adoptable[name] = not anew and self._follows_adopted(place)
        return self._adoptable[name]

    def _follows_adopted(self, place: TaskSlots) -> bool:
        for parent in (self.layout.tasks[each.task] for each in place.task.after):
            if clusters.makes(parent.task):
                continue  # made anew each time, and it leaves nothing behind
            if all(self.phases[slot] is UnitPhase.SKIPPED for slot in parent.slots):
                if not self._follows_adopted(parent):
                    return False
            elif not all(map(self._is_adopted, parent.slots)):
                return False
        return True

    def _is_adopted(self, slot: Slot) -> bool:
        unit = self.view.units.get(slot)
        return unit is not None and unit.reason == reasons.ADOPTED

    def _value(self, slot: Slot, inner: str) -> str | None:
        root, _, rest = inner.partition(".")
        match root:
            case "params":
                return next(each.value for each in self.view.spec.params if each.name == rest)
            case "matrix":
                return self.layout.tasks[slot.task].values(slot.member)[rest]
            case "task":
                return slot.task if rest == "name" else str(slot.member or 0)
            case "experiment":
                return self._of_experiment(rest)
            case "tasks":
                return self._of_task(slot, Reference("", f"${{{inner}}}", inner))
        return None

    def _of_experiment(self, rest: str) -> str | None:
        match rest:
            case "name":
                return self.view.name
            case "namespace":
                return self.view.namespace
            case "phase":
                return str(self.result) if self.result else ""
        main = {slot for place in self.layout.main for slot in place.slots}
        phases = [phase for slot, phase in self.phases.items() if slot in main]
        wanted = rest.removeprefix("counts.")
        return str(
            len(phases) if wanted == "total" else [str(p).lower() for p in phases].count(wanted)
        )

    def _of_task(self, slot: Slot, reference: Reference) -> str:
        name = reference.phase_of
        if name is not None:
            slots = self.layout.tasks[name].slots
            ended = graph.progress(self.phases[each] for each in slots).ended
            return str(ended or UnitPhase.RUNNING)
        task, output = reference.output or ("", "")
        place = self.layout.tasks[task]
        units = (self.view.units.get(each) for each in place.slots)
        values = [unit.outputs[output] for unit in units if unit and output in unit.outputs]
        wanted = sum(1 for each in place.slots if self.phases[each] is UnitPhase.SUCCEEDED)
        if len(values) < wanted and not self.layout.tasks[slot.task].final:
            lost = "no value" if place.members is None else "not all its values"
            raise NoValueError(
                f"{reference.text} has {lost}: the ExecutionUnit that wrote it was deleted"
            )
        return json.dumps(values) if place.members is not None else "".join(values)
