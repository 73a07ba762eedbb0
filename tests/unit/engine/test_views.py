"""Reading what the API server holds into the engine's views."""

from __future__ import annotations

from runyard.api.experiment import ExperimentStatus
from runyard_operator.reconcile.views import read_status


def condition(type_: str) -> dict[str, str]:
    return {
        "type": type_,
        "status": "True",
        "reason": "Because",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def test_conditions_of_others_are_passed_over() -> None:
    """A condition that another controller wrote is not read, so it is never applied as ours."""
    status = {"conditions": [condition("Accepted"), condition("QuotaReserved")]}
    read = read_status(ExperimentStatus, {"status": status})
    assert [each.type for each in read.conditions] == ["Accepted"]


def test_fields_of_a_newer_release_are_passed_over() -> None:
    """An operator that was rolled back reads what the newer one wrote."""
    read = read_status(ExperimentStatus, {"status": {"progress": "1/2", "fromTheFuture": {}}})
    assert read.progress == "1/2"
