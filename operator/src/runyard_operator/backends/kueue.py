"""Jobs that Kueue admits: how a job names its queue, why it waits there, and how it is held.

Kueue keeps one Workload for each job that carries the label of a queue, suspends the job until
there is quota, and starts it again when somebody else suspends it. So a job with a queue is held
and let go by its Workload (https://kueue.sigs.k8s.io/docs/concepts/workload/).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from runyard.api.podfields import PodFields
from runyard_operator.backends.pods.labels import ANNOTATION_SUSPENDED
from runyard_operator.engine import reasons
from runyard_operator.engine.observation import Observation
from runyard_operator.kube.api import KubeApi, Object
from runyard_operator.kube.errors import Conflict, NotFound
from runyard_operator.kube.resources import KUEUE, Ref

QUEUE: Final = "kueue.x-k8s.io/queue-name"
PRIORITY: Final = "kueue.x-k8s.io/priority-class"
JOB_UID: Final = "kueue.x-k8s.io/job-uid"
WORKLOAD: Final = "Workload"


def labels(fields: PodFields) -> dict[str, str]:
    """What the job itself, not its pods, carries for its queue; empty without one."""
    found: dict[str, str] = {}
    if fields.queue_name:
        found[QUEUE] = fields.queue_name
    if fields.workload_priority_class:
        found[PRIORITY] = fields.workload_priority_class
    return found


def spec(fields: PodFields) -> dict[str, bool]:
    """What belongs into the job's `spec`: it begins suspended, so that nothing starts by itself
    where there is no Kueue to ask."""
    return {"suspend": True} if fields.queue_name else {}


def queue_of(child: Mapping[str, Any]) -> str | None:
    """The name of the job's queue; None when no queue manages it."""
    name: str | None = (child["metadata"].get("labels") or {}).get(QUEUE)
    return name or None


def is_held(child: Mapping[str, Any]) -> bool:
    """Whether Kueue, and not Runyard, keeps the job from running."""
    marks = child["metadata"].get("annotations") or {}
    suspended = bool((child.get("spec") or {}).get("suspend"))
    return queue_of(child) is not None and suspended and ANNOTATION_SUSPENDED not in marks


async def find(kube: KubeApi, child: Mapping[str, Any]) -> Object | None:
    """The Workload of the job, as it is now; None as long as Kueue has made none.

    Raises:
        NotFound: Kueue is not installed.
        KubeError: no clear answer.
    """
    metadata = child["metadata"]
    found = await kube.list(
        KUEUE,
        WORKLOAD,
        namespace=metadata["namespace"],
        label_selector=f"{JOB_UID}={metadata['uid']}",
    )
    return max(found, key=lambda each: str(each["metadata"]["creationTimestamp"]), default=None)


async def explain(kube: KubeApi, seen: Observation, child: Mapping[str, Any]) -> Observation:
    """The observation of a job that Kueue holds, with Kueue's own words on why it waits.

    Raises:
        KubeError: no clear answer about the Workload.
    """
    queue = queue_of(child)
    try:
        workload = await find(kube, child)
    except NotFound:
        reason = reasons.KUEUE_NOT_INSTALLED
        message = (
            f"queueName {queue!r} needs Kueue 0.15 or newer, which this cluster does not have: an"
            " administrator can install it (https://kueue.sigs.k8s.io/docs/installation/); the"
            " task goes on by itself then"
        )
    else:
        reason, message = why(workload)
        message = f"queue {queue!r}: {message}"
    return replace(seen, reason=reason, message=message)


def why(workload: Mapping[str, Any] | None) -> tuple[str, str]:
    """Reason and message of a Workload that does not run: Kueue's own where it has some."""
    if workload is None:
        return reasons.QUEUED, (
            "Kueue has not noticed the job yet; if that lasts, its configuration leaves out jobs of"
            " this kind (integrations.frameworks)"
        )
    status = workload.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or []}
    quota, evicted = conditions.get("QuotaReserved"), conditions.get("Evicted")
    if workload["spec"].get("active") is False:
        return reasons.QUEUED, (
            f"Workload {workload['metadata']['name']} is deactivated: set its spec.active to true"
            + (f" ({evicted['message']})" if evicted is not None else "")
        )
    if quota is None:
        return reasons.QUEUED, "Kueue has not looked at the job yet"
    out = evicted is not None and _true(evicted)
    if _true(quota) and not out:
        return reasons.QUEUED, _checks(status) or "Kueue has admitted the job and lets it go on"
    # A Workload that was made active again keeps its eviction until it is admitted.
    if evicted is None or not out or evicted["reason"] == "Deactivated":
        return str(quota["reason"]), str(quota["message"])
    words = dict.fromkeys(str(each["message"]) for each in (evicted, quota))
    return str(evicted["reason"]), "; ".join(words)


def _true(condition: Mapping[str, Any]) -> bool:
    return bool(condition["status"] == "True")


def _checks(status: Mapping[str, Any]) -> str:
    """The admission checks that have not said yes."""
    waiting = [
        f"{each['name']} ({each['state']}) {each.get('message') or ''}".rstrip()
        for each in status.get("admissionChecks") or []
        if each["state"] != "Ready"
    ]
    return f"quota is reserved; admission checks: {', '.join(waiting)}" if waiting else ""


async def activate(kube: KubeApi, child: Mapping[str, Any], *, active: bool) -> bool:
    """Lets Kueue run the job when there is quota, or makes it give the quota back.

    Returns whether there is a Workload that says so.

    Raises:
        KubeError: no clear answer.
    """
    try:
        workload = await find(kube, child)
        if workload is None:
            return False
        ref = Ref(KUEUE, WORKLOAD, workload["metadata"]["name"], workload["metadata"]["namespace"])
        uid = {"op": "test", "path": "/metadata/uid", "value": workload["metadata"]["uid"]}
        change = {"op": "add", "path": "/spec/active", "value": active}
        await kube.json_patch(ref, [uid, change])
    except (NotFound, Conflict):
        return False
    return True
