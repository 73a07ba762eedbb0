"""Reads objects of the API server into the engine's views."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from runyard.api.base import ApiModel
from runyard.api.constants import FINALIZER
from runyard.api.experiment import ExperimentSpec, ExperimentStatus
from runyard.api.unit import UnitPhase, UnitSpec, UnitStatus
from runyard_operator.engine import conditions, reasons, record
from runyard_operator.engine.experiment import SlotUnit
from runyard_operator.engine.slots import Slot
from runyard_operator.engine.unit import UnitView

Object = Mapping[str, Any]
S = TypeVar("S", bound=ApiModel)


def read_status(model: type[S], obj: Object) -> S:
    """The status; fields of a newer release that this one does not know are passed over.

    So are conditions that others write into the list: read back and applied, they would be ours.
    """
    status = dict(obj.get("status") or {})
    if "conditions" in status:
        ours = [each for each in status["conditions"] if each["type"] in conditions.OURS]
        status["conditions"] = ours
    return model.model_validate(status, extra="ignore")


def unit_view(obj: Object) -> UnitView:
    """An ExecutionUnit as the engine sees it.

    Raises:
        pydantic.ValidationError: the spec has what this release does not know.
    """
    metadata = obj["metadata"]
    return UnitView(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        spec=UnitSpec.model_validate(obj["spec"]),
        status=read_status(UnitStatus, obj),
        deleting=deleting(obj),
        finalizer=has_finalizer(obj),
    )


def slot(obj: Object) -> Slot:
    """Which slot of its experiment an ExecutionUnit was made for."""
    spec = obj["spec"]
    member = spec.get("member")
    return Slot(spec.get("task", ""), member["index"] if member else None)


def slot_unit(obj: Object) -> SlotUnit:
    """An ExecutionUnit as its experiment sees it; read without models, for there may be many."""
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    suspend = spec.get("suspend", False)
    return SlotUnit(
        name=metadata["name"],
        uid=metadata["uid"],
        phase=UnitPhase(status.get("phase") or UnitPhase.PENDING),
        deleting=deleting(obj),
        cancel=spec.get("cancel", False),
        suspend=suspend,
        suspended=suspend and status.get("reason") == reasons.SUSPENDED,
        skip=spec["skip"]["reason"] if "skip" in spec else None,
        reason=status.get("reason"),
        message=status.get("message"),
        finalizer=has_finalizer(obj),
        outputs={each["name"]: each["value"] for each in status.get("outputs") or ()},
    )


def is_noted(experiment: Object, unit: SlotUnit, of: Slot) -> bool:
    """Whether the experiment's record has how the unit of a slot ended."""
    status = experiment.get("status") or {}
    for each in status.get("tasks") or ():
        if each["name"] == of.task:
            written: str = each["states"]
            return written[of.member or 0 : (of.member or 0) + 1] == record.letter(unit.phase)
    return False


def experiment_spec(obj: Object) -> ExperimentSpec:
    """The experiment's spec."""
    return ExperimentSpec.model_validate(obj["spec"])


def experiment_status(obj: Object) -> ExperimentStatus:
    """The experiment's status."""
    return read_status(ExperimentStatus, obj)


def deleting(obj: Object) -> bool:
    """Whether somebody has asked for the object's deletion."""
    return obj["metadata"].get("deletionTimestamp") is not None


def has_finalizer(obj: Object) -> bool:
    """Whether our finalizer is on the object."""
    return FINALIZER in obj["metadata"].get("finalizers", ())


def controlled_by(obj: Object, uid: str) -> bool:
    """Whether the object's controller is the object with that UID."""
    owners: Iterable[Object] = obj["metadata"].get("ownerReferences", ())
    return any(owner.get("controller") and owner["uid"] == uid for owner in owners)
