"""Where an experiment stands: suspended, past its deadline, waiting for approval."""

from __future__ import annotations

from runyard.api.experiment import Verdict
from runyard_operator.engine import conditions, reasons
from runyard_operator.engine.conditions import Want
from runyard_operator.engine.experiment import status
from runyard_operator.engine.experiment.tasks import Advance
from runyard_operator.engine.experiment.view import ExperimentView
from runyard_operator.engine.slots import Layout


def is_suspended(view: ExperimentView) -> bool:
    """Whether it is to hold still; a cancel ends that."""
    return view.spec.suspend and not view.spec.cancel


def written(view: ExperimentView, condition: str) -> bool:
    """Whether the status says that a condition is True."""
    return conditions.is_true(view.status.conditions, condition)


def wants(
    view: ExperimentView, layout: Layout, advance: Advance, *, exceeded: bool
) -> tuple[Want, ...]:
    """The conditions that tell where the experiment stands, besides those of every status."""
    wanted: list[Want] = []
    suspended = is_suspended(view)
    if suspended or conditions.find(view.status.conditions, conditions.SUSPENDED):
        reason = reasons.SUSPENDED if suspended else reasons.NONE
        wanted.append(Want(conditions.SUSPENDED, conditions.truth(suspended), reason))
    if exceeded:
        wanted.append(Want(conditions.DEADLINE_EXCEEDED, "True", reasons.DEADLINE_EXCEEDED))
    if (approved := _approved(view, layout, advance)) is not None:
        wanted.append(approved)
    return tuple(wanted)


def _approved(view: ExperimentView, layout: Layout, advance: Advance) -> Want | None:
    """Where the approvals stand; None as long as nobody was asked and nobody said no."""
    asking = [name for name, place in layout.tasks.items() if place.task.approval is not None]
    given = {each.task: each.verdict for each in view.spec.approvals}
    if advance.awaiting:
        message = f"approve {status.named(advance.awaiting)} in spec.approvals"
        return Want(conditions.APPROVED, "False", reasons.AWAITING_APPROVAL, message)
    if rejected := [name for name in asking if given.get(name) is Verdict.REJECT]:
        message = f"rejected: {status.named(rejected)}"
        return Want(conditions.APPROVED, "False", reasons.APPROVAL_REJECTED, message)
    if conditions.find(view.status.conditions, conditions.APPROVED) is None:
        return None
    phases = advance.phases
    unasked = [
        name
        for name in asking
        if name not in given and all(phases[slot].terminal for slot in layout.tasks[name].slots)
    ]
    message = f"no longer needed: {status.named(unasked)}" if unasked else ""
    return Want(conditions.APPROVED, conditions.truth(not unasked), reasons.NONE, message)


def suspended_message(view: ExperimentView) -> str:
    """What is not suspended yet."""
    busy = [u.name for u in view.units.values() if not u.phase.terminal and not u.suspended]
    return f"not yet suspended: {status.named(busy)}" if busy else ""
