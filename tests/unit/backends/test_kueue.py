"""What a Workload's conditions, as Kueue 0.18 wrote them, come to for the person who waits."""

from __future__ import annotations

from typing import Any

import pytest

from runyard.api.executor import JobExecutor
from runyard_operator.backends import kueue
from runyard_operator.backends.pods.labels import ANNOTATION_SUSPENDED

Conditions = dict[str, tuple[str, str, str]]

NO_QUOTA = (
    "couldn't assign flavors to pod set main: insufficient unused quota for cpu in flavor"
    " default, 100m more needed"
)
PENDING: Conditions = {"QuotaReserved": ("False", "Pending", NO_QUOTA)}
ADMITTED: Conditions = {
    "QuotaReserved": ("True", "QuotaReserved", "Quota reserved in ClusterQueue cq"),
    "Admitted": ("True", "Admitted", "The workload is admitted"),
}
DEACTIVATED: Conditions = {
    "QuotaReserved": ("False", "Pending", "The workload is deactivated"),
    "Evicted": ("True", "Deactivated", "The workload is deactivated"),
    "Requeued": ("False", "Deactivated", "The workload is deactivated"),
}
PREEMPTED = "Preempted to accommodate a workload due to prioritization in the ClusterQueue"


def workload(
    conditions: Conditions, *, active: bool = True, checks: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """A Workload with these conditions: status, reason and message by type."""
    return {
        "metadata": {"name": "job-a-12345"},
        "spec": {"active": active},
        "status": {
            "conditions": [
                {"type": type_, "status": status, "reason": reason, "message": message}
                for type_, (status, reason, message) in conditions.items()
            ],
            "admissionChecks": checks or [],
        },
    }


@pytest.mark.parametrize(
    ("found", "reason", "message"),
    [
        (None, "Queued", "has not noticed the job"),
        (workload({}), "Queued", "has not looked at the job"),
        (workload(PENDING), "Pending", NO_QUOTA),
        (
            workload({"QuotaReserved": ("False", "Inadmissible", "LocalQueue x doesn't exist")}),
            "Inadmissible",
            "LocalQueue x doesn't exist",
        ),
        (workload(ADMITTED), "Queued", "has admitted the job"),
        (
            workload(
                {"QuotaReserved": ADMITTED["QuotaReserved"]},
                checks=[
                    {"name": "nodes", "state": "Pending", "message": "2 of 4 are there"},
                    {"name": "budget", "state": "Ready"},
                ],
            ),
            "Queued",
            "quota is reserved; admission checks: nodes (Pending) 2 of 4 are there",
        ),
        (
            workload({**PENDING, "Evicted": ("True", "Preempted", PREEMPTED)}),
            "Preempted",
            f"{PREEMPTED}; {NO_QUOTA}",
        ),
        (
            workload(DEACTIVATED, active=False),
            "Queued",
            "set its spec.active to true (The workload is deactivated)",
        ),
        # Active again, it waits for quota; that it was not is over.
        (workload({**DEACTIVATED, **PENDING}), "Pending", NO_QUOTA),
    ],
    ids=[
        "unseen", "new", "no quota", "no queue", "admitted", "checks", "preempted", "deactivated",
        "active again",
    ],
)  # fmt: skip
def test_kueues_own_words_tell_why(found: dict[str, Any] | None, reason: str, message: str) -> None:
    """Kueue's reason where it has one, and a message that says what is missing."""
    said, words = kueue.why(found)
    assert said == reason
    assert message in words


def child(*, suspend: bool = True, queue: str | None = "team", ours: bool = False) -> Any:
    """A job as the API server has it."""
    return {
        "metadata": {
            "labels": {kueue.QUEUE: queue} if queue else {},
            "annotations": {ANNOTATION_SUSPENDED: "true"} if ours else {},
        },
        "spec": {"suspend": suspend},
    }


@pytest.mark.parametrize(
    ("found", "held"),
    [
        (child(), True),
        (child(suspend=False), False),
        (child(queue=None), False),
        (child(ours=True), False),
    ],
    ids=["held", "let go", "no queue", "suspended by us"],
)
def test_only_what_kueue_suspended_counts_as_held(found: Any, held: bool) -> None:
    """A job without a queue may be suspended by anybody, and one of ours by us."""
    assert kueue.is_held(found) == held


def test_a_queue_is_a_label_and_a_suspended_beginning() -> None:
    """Without a queue there is neither."""
    none = JobExecutor(image="x")
    queued = JobExecutor(image="x", queue_name="team", workload_priority_class="high")
    assert (kueue.labels(none), kueue.spec(none)) == ({}, {})
    assert kueue.labels(queued) == {kueue.QUEUE: "team", kueue.PRIORITY: "high"}
    assert kueue.spec(queued) == {"suspend": True}
