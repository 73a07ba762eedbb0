"""An experiment and its units, round by round: what a pass asks for is done at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from runyard.api import ExperimentPhase, ExperimentSpec, UnitPhase, UnitSpec
from runyard_operator.engine import effects, reasons, slots
from runyard_operator.engine.experiment import ExperimentDecision, ExperimentView, SlotUnit, plan
from runyard_operator.engine.slots import Slot
from tests.unit.engine.builders import NOW, told

MAX_ROUNDS = 100
"""Far more than any of these experiments needs."""


class Rounds:
    """Runs `plan`, writes its status, and obeys its effects.

    Units that are made run until a test ends them; those that must not run end at once.
    """

    def __init__(self, view: ExperimentView) -> None:
        self.view = view
        self.now = NOW
        self.said: list[dict[str, str]] = []
        self.specs: dict[str, UnitSpec] = {}

    def once(self) -> ExperimentDecision:
        """One pass, with all that it asks for."""
        decision = plan(self.view, self.now)
        self.view = replace(self.view, status=decision.status)
        if decision.effects:
            self.said.append(told(decision))
        for effect in decision.effects:
            self._obey(effect)
        return decision

    def settle(self) -> dict[str, str]:
        """Passes until one changes nothing; what became of slots and units on the way."""
        begin = len(self.said)
        for _ in range(MAX_ROUNDS):
            before = self.view
            self.once()
            if self.view == before:
                said = {key: what for each in self.said[begin:] for key, what in each.items()}
                return {key: what for key, what in said.items() if key != "ReleaseFinalizer"}
        raise AssertionError(f"never quiet: {self.said[-3:]}")

    def end(self, phase: UnitPhase = UnitPhase.SUCCEEDED, *names: str, **outputs: str) -> None:
        """The units of these slots end, or all that are on their way."""
        for slot, unit in self.view.units.items():
            if not unit.phase.terminal and (not names or str(slot) in names):
                self._put(slot, replace(unit, phase=phase, reason=str(phase), outputs=outputs))

    def lose(self, name: str) -> None:
        """Somebody deletes the unit of a slot."""
        kept = {slot: unit for slot, unit in self.view.units.items() if str(slot) != name}
        assert len(kept) < len(self.view.units)
        self.view = replace(self.view, units=kept)

    def edit(self, **changes: object) -> None:
        """A user changes the spec."""
        spec = ExperimentSpec.model_validate({**self.view.spec.to_dict(), **changes})
        self.view = replace(
            self.view,
            spec=spec,
            generation=self.view.generation + 1,
            layout=slots.layout(self.view.name, spec),
        )

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += timedelta(seconds=seconds)

    @property
    def phase(self) -> ExperimentPhase | None:
        """The experiment's phase as it is written."""
        return self.view.status.phase

    @property
    def states(self) -> dict[str, str]:
        """The record of every task."""
        return {each.name: each.states for each in self.view.status.tasks}

    def running(self) -> set[str]:
        """The slots whose units are on their way."""
        return {str(s) for s, unit in self.view.units.items() if not unit.phase.terminal}

    def _obey(self, effect: effects.ExperimentEffect) -> None:
        match effect:
            case effects.AddFinalizer():
                self.view = replace(self.view, finalizer=True)
            case effects.ReleaseFinalizer():
                self.view = replace(self.view, finalizer=False)
            case effects.CreateUnit(slot=slot, name=name, spec=spec):
                assert slot not in self.view.units, "never made twice"
                self.specs[str(slot)] = spec
                self._put(slot, _born(name, f"uid-{slot}", spec))
            case effects.UpdateUnit():
                self._update(effect)
            case effects.DeleteUnit(uid=uid):
                kept = {slot: unit for slot, unit in self.view.units.items() if unit.uid != uid}
                self.view = replace(self.view, units=kept)

    def _update(self, effect: effects.UpdateUnit) -> None:
        slot, unit = next((s, u) for s, u in self.view.units.items() if u.uid == effect.uid)
        if effect.cancel:
            unit = replace(
                unit, cancel=True, phase=UnitPhase.CANCELLED, reason=reasons.CANCEL_REQUESTED
            )
        if effect.suspend is not None:
            unit = replace(unit, suspend=effect.suspend, suspended=effect.suspend)
        self._put(slot, unit)

    def _put(self, slot: Slot, unit: SlotUnit) -> None:
        self.view = replace(self.view, units={**self.view.units, slot: unit})


def _born(name: str, uid: str, spec: UnitSpec) -> SlotUnit:
    if spec.skip is not None:
        large = spec.skip.reason == reasons.INPUTS_TOO_LARGE
        return SlotUnit(
            name=name,
            uid=uid,
            phase=UnitPhase.FAILED if large else UnitPhase.SKIPPED,
            skip=spec.skip.reason,
            reason=spec.skip.reason,
            message=spec.skip.message,
        )
    if spec.adopted is not None:
        outputs = {each.name: each.value for each in spec.adopted.outputs}
        return SlotUnit(
            name=name,
            uid=uid,
            phase=UnitPhase.SUCCEEDED,
            reason=reasons.ADOPTED,
            outputs=outputs,
        )
    return SlotUnit(name=name, uid=uid, phase=UnitPhase.RUNNING)
