"""KubeRay's words to states, row by row, and a RayJob with its pods to what is said about it."""

from __future__ import annotations

from typing import Any

import pytest

from runyard.api.policy import FailureClass
from runyard_operator.backends.ray.observe import is_settled, observe
from runyard_operator.backends.ray.protocol import trouble
from runyard_operator.backends.ray.states import cluster_state, state_of
from runyard_operator.engine import reasons
from runyard_operator.engine.observation import Observation, State
from tests.unit.backends.ray_plans import ray_spec
from tests.unit.backends.samples import target

WORDS = ("", "PENDING", "RUNNING", "SUCCEEDED", "FAILED", "STOPPED", "PAUSED")
W, R, S, F, H, U = (
    State.WAITING, State.RUNNING, State.SUCCEEDED, State.FAILED, State.SUSPENDED, State.UNKNOWN,
)  # fmt: skip
TABLE = {
    "": (W, W, W, W, W, W, W),
    "Initializing": (W, W, W, W, W, W, W),
    "Waiting": (W, W, W, W, W, W, W),
    "Retrying": (W, W, W, W, W, W, W),
    "Suspending": (W, W, W, W, W, W, W),
    "Suspended": (H, H, H, H, H, H, H),
    "Running": (W, W, R, R, R, R, U),
    "Complete": (U, U, U, S, F, F, U),
    "Failed": (F, F, F, F, F, F, F),
    "ValidationFailed": (F, F, F, F, F, F, F),
    "Hibernating": (U, U, U, U, U, U, U),
}
"""By jobDeploymentStatus: the states for each jobStatus of WORDS; the last word and the last row
are of no KubeRay that is known."""


@pytest.mark.parametrize("deployment", TABLE)
@pytest.mark.parametrize("job", WORDS)
def test_every_pair_of_words_has_a_state(deployment: str, job: str) -> None:
    """Success is Complete and SUCCEEDED together, and nothing else."""
    assert state_of(deployment, job) is TABLE[deployment][WORDS.index(job)]


@pytest.mark.parametrize(
    ("word", "provisioned", "state"),
    [
        ("", False, State.WAITING),
        ("suspended", False, State.WAITING),
        ("failed", False, State.WAITING),
        ("ready", False, State.SUCCEEDED),
        ("ready", True, State.SUCCEEDED),
        ("", True, State.SUCCEEDED),
        ("failed", True, State.SUCCEEDED),
        ("suspended", True, State.WAITING),
        ("melted", True, State.UNKNOWN),
    ],
)
def test_a_cluster_is_made_when_it_was_ready_once(
    word: str, provisioned: bool, state: State
) -> None:
    """A worker that is replaced later does not take that back."""
    assert cluster_state(word, provisioned=provisioned) is state


OWN = {"image": "ray:1", "workerGroups": [{"name": "wk", "replicas": 1}]}
START, END = "2026-11-21T10:00:05Z", "2026-11-21T10:00:30Z"


def job(deployment: str, word: str = "", **status: Any) -> dict[str, Any]:
    """A RayJob as KubeRay shows it."""
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": "sft-train-1", "namespace": "team-a", "uid": "j-1"},
        "spec": {},
        "status": {"jobDeploymentStatus": deployment, "jobStatus": word, **status},
    }


def pod(node_type: str, state: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A pod of the task; the submitter has no node type."""
    names = {"head": "ray-head", "worker": "ray-worker"}
    labels = {"ray.io/node-type": node_type} if node_type else {}
    autoscaler = {"name": "autoscaler", "state": {"running": {"startedAt": START}}}
    ray = {"name": names.get(node_type, "main"), "state": state, **more}
    return {
        "metadata": {"name": f"pod-{node_type or 'submitter'}", "labels": labels},
        "spec": {"nodeName": "n1"},
        "status": {"phase": "Running", "containerStatuses": [autoscaler, ray]},
    }


def ended(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    """A terminated container's state."""
    found = {"exitCode": code, "reason": reason, "startedAt": START, "finishedAt": END}
    return {"terminated": {**found, "message": message}}


UP = {"running": {"startedAt": START}}


def look(child: dict[str, Any], *pods: dict[str, Any], **changes: Any) -> Observation:
    """The observation."""
    return observe(target(ray_spec(OWN, **changes)), child, list(pods))


def test_outputs_come_with_the_submitters_last_message() -> None:
    """As they would from the task's own container."""
    frame = "runyard-outputs/1\nbest 4\n0.25\n\n"[:-1]
    child = job("Complete", "SUCCEEDED", endTime=END, dashboardURL="h.team-a.svc:8265")
    submitter = pod("", ended(0, frame, "Completed"))
    submitter["status"]["phase"] = "Succeeded"
    seen = look(child, submitter, pod("head", UP), outputs=[{"name": "best"}])
    assert (seen.state, seen.outputs) == (State.SUCCEEDED, (("best", "0.25"),))
    assert seen.dashboard_url == "http://h.team-a.svc:8265"


def test_the_drivers_exit_code_is_that_of_the_submitter() -> None:
    """KubeRay itself knows none."""
    child = job("Failed", "FAILED", reason="AppFailed", message="Job entrypoint command failed")
    seen = look(child, pod("", ended(3, "going down\n")), pod("head", UP))
    assert (seen.state, seen.exit_code, seen.failure_class) == (F, 3, FailureClass.ERROR)
    assert seen.last_log_lines == ("going down",)


@pytest.mark.parametrize("where", ["state", "lastState"])
@pytest.mark.parametrize("node_type", ["head", "worker"])
def test_memory_of_head_or_worker_is_told_apart(where: str, node_type: str) -> None:
    """The driver fails by it, with whatever code; the pod may run again already."""
    killed = ended(137, reason="OOMKilled")
    dead = pod(node_type, killed) if where == "state" else pod(node_type, UP, lastState=killed)
    lost = trouble("Lost", "the Ray head does not answer any more")
    seen = look(job("Failed", "RUNNING", reason="SubmissionFailed"), pod("", ended(66, lost)), dead)
    assert seen.failure_class is FailureClass.OUT_OF_MEMORY
    assert f"pod-{node_type}" in seen.message
    assert "executor.ray." in seen.message


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Lost", FailureClass.BACKEND_LOST),
        ("Refused", FailureClass.LAUNCH_FAILED),
        ("Launch", FailureClass.LAUNCH_FAILED),
        ("Stopped", FailureClass.ERROR),
        ("Melted", FailureClass.ERROR),
    ],
)
def test_trouble_with_ray_has_its_own_class(kind: str, expected: FailureClass) -> None:
    """The message is the submitter's; no exit code is the driver's."""
    submitter = pod("", ended(66, trouble(kind, "the words")))
    seen = look(job("Failed", reason="SubmissionFailed"), submitter)
    assert (seen.failure_class, seen.message) == (expected, "the words")
    assert (seen.exit_code, seen.last_log_lines) == (None, ())


def test_the_memory_that_ray_watches_itself_is_told() -> None:
    """Its monitor kills before the kernel does; the driver's code is kept."""
    submitter = pod("", ended(137, trouble("Memory", "1 worker(s) were killed")))
    seen = look(job("Failed", "FAILED", reason="AppFailed"), submitter)
    assert (seen.failure_class, seen.exit_code) == (FailureClass.OUT_OF_MEMORY, 137)
    assert seen.message == "1 worker(s) were killed"


def test_a_lost_node_is_told_by_the_pod_that_was_on_it() -> None:
    """The head was taken away with its node."""
    head = pod("head", UP)
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
    head["status"]["conditions"] = [condition]
    submitter = pod("", ended(66, trouble("Lost", "gone")))
    seen = look(job("Failed", reason="SubmissionFailed"), submitter, head)
    assert seen.failure_class is FailureClass.NODE_FAILURE


@pytest.mark.parametrize(
    ("reason", "pods", "expected"),
    [
        ("DeadlineExceeded", [pod("", ended(143))], FailureClass.TIMEOUT),
        ("ValidationFailed", [], FailureClass.LAUNCH_FAILED),
        ("SubmissionFailed", [], FailureClass.PREEMPTED),
    ],
)
def test_kuberays_own_verdicts(
    reason: str, pods: list[dict[str, Any]], expected: FailureClass
) -> None:
    """A deadline, a spec that KubeRay refuses, a submitter that somebody deleted."""
    seen = look(job("Failed", reason=reason, message="the words"), *pods)
    assert (seen.state, seen.failure_class) == (State.FAILED, expected)
    assert seen.message


def test_a_job_that_somebody_stopped_is_no_success() -> None:
    """KubeRay calls it Complete."""
    submitter = pod("", ended(66, trouble("Stopped", "the Ray job was stopped from outside")))
    seen = look(job("Complete", "STOPPED"), submitter)
    assert (seen.state, seen.message) == (State.FAILED, "the Ray job was stopped from outside")


def test_waiting_says_which_pod_is_in_trouble() -> None:
    """An image that is missing, before anything else."""
    pull = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
    seen = look(job("Initializing"), pod("head", UP), pod("worker", pull))
    assert (seen.state, seen.reason) == (State.WAITING, "ImagePullBackOff")
    assert "pod-worker" in seen.message


def test_a_head_that_begins_again_and_again_is_told() -> None:
    """For example when a command before `ray start` fails."""
    head = pod("head", UP, lastState=ended(1))
    seen = look(job("Initializing"), head, pod("worker", UP))
    assert (seen.reason, "exit code 1" in seen.message) == ("CrashLoopBackOff", True)


def test_quota_keeps_kuberay_from_making_pods() -> None:
    """KubeRay says so in a condition of the cluster."""
    condition = {
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreateHeadPod",
        "message": "exceeded quota: cpu",
    }  # fmt: skip
    seen = look(job("Initializing", rayClusterStatus={"conditions": [condition]}))
    assert (seen.reason, seen.message) == ("FailedCreateHeadPod", "exceeded quota: cpu")


def test_suspended_is_told_when_we_did_it_and_the_pods_are_gone() -> None:
    """Else the job waits for a queue manager."""
    child = job("Suspended")
    child["spec"]["suspend"] = True
    assert look(child).state is State.WAITING
    child["metadata"]["annotations"] = {"runyard.dev/suspended": "true"}
    assert look(child, pod("head", UP)).state is State.WAITING
    assert look(child).state is State.SUSPENDED


@pytest.mark.parametrize(
    ("child", "settled"),
    [
        (job("Complete", "SUCCEEDED"), True),
        (job("Failed"), True),
        (job("Suspended"), True),
        (job("Running", "RUNNING"), False),
        (job("Complete", "WHATEVER"), False),
    ],
)
def test_pods_are_read_afresh_at_the_end(child: dict[str, Any], settled: bool) -> None:
    """The cache may be behind."""
    assert is_settled(child) is settled


def test_a_word_that_nobody_knows_is_shown() -> None:
    """The task goes on waiting, and a person sees why."""
    seen = look(job("Hibernating", "PAUSED"))
    assert seen.state is State.UNKNOWN
    assert "'Hibernating'" in seen.message
    assert "'PAUSED'" in seen.message


def test_an_output_that_did_not_come_is_a_failure() -> None:
    """The submitter's message was lost with its pod."""
    seen = look(job("Complete", "SUCCEEDED"), outputs=[{"name": "best"}])
    assert (seen.state, seen.reason) == (State.FAILED, reasons.OUTPUTS_MISSING)
