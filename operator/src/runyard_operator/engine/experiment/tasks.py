"""What becomes of each slot: its unit is made, skipped, cancelled, suspended, or left alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from runyard.api.experiment import FailedTask, Verdict
from runyard.api.task import Dependency, Task
from runyard.api.unit import UnitPhase, UnitSpec
from runyard_operator.engine import effects, graph, reasons, record, references
from runyard_operator.engine.experiment import outcome
from runyard_operator.engine.experiment.making import Maker
from runyard_operator.engine.experiment.view import ExperimentView, Foreign, SlotUnit
from runyard_operator.engine.graph import Progress, Readiness
from runyard_operator.engine.slots import Layout, Slot, TaskSlots

MAX_MADE: Final = 200
"""Units that one pass makes; the rest comes in the next one, with the status written between."""


@dataclass(slots=True)
class Advance:
    """What a pass has found out and wants.

    `states` is the record to write; `phases` are those of all slots with what this pass does to
    them, and `before` without. `given_up` says that slots end here without a unit.
    """

    states: record.States
    phases: dict[Slot, UnitPhase]
    before: Mapping[Slot, UnitPhase]
    effects: list[effects.ExperimentEffect] = field(default_factory=list)
    awaiting: list[str] = field(default_factory=list)
    skipped: list[FailedTask] = field(default_factory=list)
    made: int = 0
    given_up: bool = False


def look(view: ExperimentView, layout: Layout) -> Advance:
    """The state of every slot: what was written, then what its unit says.

    A slot whose unit was made and is gone counts as Cancelled: somebody deleted it.
    """
    states = record.read(view.status.tasks, layout)
    phases: dict[Slot, UnitPhase] = {}
    for slot, state in states.items():
        unit = view.units.get(slot)
        if state in record.ENDS:
            phases[slot] = record.ENDS[state]
        elif unit is not None:
            phases[slot] = unit.phase
            states[slot] = record.letter(unit.phase)
        elif state == record.MADE:
            phases[slot] = UnitPhase.CANCELLED
            states[slot] = record.letter(UnitPhase.CANCELLED)
        else:
            phases[slot] = UnitPhase.PENDING
    return Advance(states, phases, dict(phases))


class Stepper:
    """One pass over all tasks, parents first, so that a skip reaches its descendants at once.

    `advance` is what `look` found. `exceeded` says that the deadline of the whole experiment has
    passed.
    """

    def __init__(
        self, view: ExperimentView, layout: Layout, advance: Advance, *, exceeded: bool
    ) -> None:
        self._view = view
        self._layout = layout
        self._advance = advance
        self._ending = view.spec.cancel or exceeded
        phases = self._advance.phases
        self._culprit = outcome.fail_fast(view.spec, layout, phases)
        self._written = {
            name: outcome.progress(place, phases) for name, place in layout.tasks.items()
        }
        self._coming: dict[str, Progress] = {}
        self._busy = Counter(slot.task for slot, unit in view.units.items() if _is_busy(unit))
        result, _ = outcome.result(
            list(layout.main), phases, cancel=view.spec.cancel, exceeded=exceeded
        )
        self._maker = Maker(view, layout, self._advance.before, result)

    def run(self) -> None:
        """The whole pass; what it wants is in `advance`."""
        for place in self._layout.main:
            self._steer(place, ending=self._ending or self._culprit is not None)
            self._start(place)
        if outcome.main_ended(self._layout, self._maker.phases):
            for place in self._layout.finals:
                self._steer(place, ending=False)
                unmade = self._unmade(place)
                if unmade and self._may_begin(place, unmade):
                    self._make(place, unmade)

    def _unmade(self, place: TaskSlots) -> list[Slot]:
        return [slot for slot in place.slots if self._advance.states[slot] == record.NOT_MADE]

    def _steer(self, place: TaskSlots, *, ending: bool) -> None:
        """Cancels, suspends or resumes the units that are on their way.

        A unit whose slot was written off before anybody saw the unit is cancelled, too.
        """
        suspend = self._is_suspended(place.task)
        for slot in place.slots:
            unit = self._view.units.get(slot)
            if unit is None or not is_on_its_way(unit) or unit.cancel:
                continue
            if ending or self._advance.states[slot] in record.ENDS:
                self._advance.effects.append(effects.UpdateUnit(unit.name, unit.uid, cancel=True))
            elif suspend is not unit.suspend and (_is_busy(unit) or self._room(place) > 0):
                self._busy[slot.task] += not _is_busy(unit)
                self._advance.effects.append(
                    effects.UpdateUnit(unit.name, unit.uid, suspend=suspend)
                )

    def _start(self, place: TaskSlots) -> None:
        """The slots that have no unit yet."""
        unmade = self._unmade(place)
        name = place.task.name
        if unmade and self._view.spec.cancel:
            self._never(unmade, UnitPhase.CANCELLED)
        elif unmade:
            self._decide(place, unmade)
        self._coming[name] = graph.progress(self._coming_phase(slot) for slot in place.slots)

    def _coming_phase(self, slot: Slot) -> UnitPhase:
        unit = self._view.units.get(slot)
        if unit is None or unit.skip is None:
            return self._advance.phases[slot]
        too_large = unit.skip == reasons.INPUTS_TOO_LARGE
        return UnitPhase.FAILED if too_large else UnitPhase.SKIPPED

    def _decide(self, place: TaskSlots, unmade: list[Slot]) -> None:
        verdict, dependency = graph.readiness(place.task, self._coming)
        if verdict is Readiness.NEVER and dependency is not None:
            message = _not_met(dependency, self._coming[dependency.task])
            self._skip(place, unmade, reasons.DEPENDENCY_NOT_MET, message)
        elif self._culprit is not None:
            self._skip(place, unmade, reasons.FAIL_FAST, f"task {str(self._culprit)!r} failed")
        elif self._ending:
            message = "the experiment's activeDeadlineSeconds have passed"
            self._skip(place, unmade, reasons.DEADLINE_EXCEEDED, message)
        # A skip that is only on its way may lead to further skips, but never to a start.
        elif graph.readiness(place.task, self._written)[0] is Readiness.READY and self._may_begin(
            place, unmade
        ):
            self._make(place, unmade)

    def _is_suspended(self, task: Task) -> bool:
        spec = self._view.spec
        return not spec.cancel and (spec.suspend or task.name in spec.suspend_tasks)

    def _may_begin(self, place: TaskSlots, unmade: list[Slot]) -> bool:
        """Whether a person has anything against it."""
        if place.task.approval is None:
            return not self._is_suspended(place.task)
        name = place.task.name
        given = next((each for each in self._view.spec.approvals if each.task == name), None)
        if given is None:
            self._advance.awaiting.append(name)
            return False
        if given.verdict is Verdict.REJECT:
            message = f"rejected: {given.message}" if given.message else "rejected by its approver"
            self._skip(place, unmade, reasons.APPROVAL_REJECTED, message)
            return False
        return not self._is_suspended(place.task)

    def _make(self, place: TaskSlots, unmade: list[Slot]) -> None:
        for slot in unmade[: self._room(place)]:
            try:
                spec = self._maker.spec(slot)
            except references.NoValueError as error:
                self._skip(place, [slot], reasons.DEPENDENCY_NOT_MET, str(error))
                continue
            except references.TooLongError as error:
                spec = self._maker.skipped(slot, reasons.INPUTS_TOO_LARGE, str(error))
            self._create(slot, spec)
            self._busy[slot.task] += 1

    def _room(self, place: TaskSlots) -> int:
        """How many units of a task may be made or resumed now."""
        room = MAX_MADE - self._advance.made
        if (limit := self._view.spec.max_parallel) is not None:
            room = min(room, limit - self._busy.total())
        if place.task.matrix is not None and (limit := place.task.matrix.max_parallel) is not None:
            room = min(room, limit - self._busy[place.task.name])
        return max(room, 0)

    def _create(self, slot: Slot, spec: UnitSpec) -> None:
        self._advance.effects.append(self._maker.effect(slot, spec))
        self._advance.made += 1

    def _skip(self, place: TaskSlots, slots: list[Slot], reason: str, message: str) -> None:
        """A plain task gets a unit that says why; members of a matrix are many, and get none."""
        if place.members is not None:
            self._never(slots, UnitPhase.SKIPPED)
            self._advance.skipped.append(
                FailedTask(name=place.task.name, reason=reason, message=message[:256])
            )
            return
        for slot in slots:
            spec = self._maker.skipped(slot, reason, message)
            self._create(slot, spec)
            self._advance.phases[slot] = UnitPhase.SKIPPED

    def _never(self, slots: list[Slot], phase: UnitPhase) -> None:
        self._advance.given_up = True
        for slot in slots:
            self._advance.phases[slot] = phase
            self._advance.states[slot] = record.letter(phase)


def is_on_its_way(unit: SlotUnit) -> bool:
    """Whether the unit runs, or will."""
    return not unit.phase.terminal and not unit.skip


def _is_busy(unit: SlotUnit) -> bool:
    """Whether it counts for `maxParallel`: one that is suspended holds nothing."""
    return is_on_its_way(unit) and not unit.suspended


def _not_met(dependency: Dependency, parent: Progress) -> str:
    ended = parent.ended or (UnitPhase.FAILED if parent.failing else UnitPhase.CANCELLED)
    return f"needs {dependency.task!r} to end as {dependency.when}; it ended as {ended}"


def in_the_way(view: ExperimentView, wanted: list[effects.ExperimentEffect]) -> Foreign | None:
    """A unit of somebody else's whose name is needed now; None when nothing is in the way."""
    names = (
        view.foreign[each.slot]
        for each in wanted
        if isinstance(each, effects.CreateUnit) and each.slot in view.foreign
    )
    return next(names, None)


def nothing_made(view: ExperimentView) -> bool:
    """Whether no unit was made that could be seen: until then the code may have to be staged.

    Slots may have been written off without a unit, and the tasks that come after still need it.
    """
    without = set(record.NOT_MADE + record.letter(UnitPhase.SKIPPED))
    without.add(record.letter(UnitPhase.CANCELLED))
    return not view.units and all(without.issuperset(each.states) for each in view.status.tasks)
