"""Jobs, TrainJobs and pods as the API server shows them, to what is said about the attempt."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from runyard.api.policy import FailureClass
from runyard_operator.backends.job.observe import observe as observe_job
from runyard_operator.backends.trainjob.observe import observe as observe_train_job
from runyard_operator.engine import reasons
from runyard_operator.engine.observation import Observation, State
from tests.unit.backends.samples import job_spec, target, train_spec

START, END = "2026-11-21T10:00:05Z", "2026-11-21T10:00:30Z"
COMPLETE = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-21T10:00:31Z"}
FAILED = {
    "type": "Failed",
    "status": "True",
    "reason": "BackoffLimitExceeded",
    "message": "Job has reached the specified backoff limit",
    "lastTransitionTime": "2026-11-21T10:00:31Z",
}
RUNNING = {"running": {"startedAt": START}}
CREATING = {"waiting": {"reason": "ContainerCreating"}}
FRAMED = "runyard-outputs/1\nrows 3\n12\n\n"


def ended(code: int, *, reason: str = "", message: str = "", at: str = END) -> dict[str, Any]:
    """A terminated container's state."""
    state = {"exitCode": code, "startedAt": START, "finishedAt": at}
    state["reason"] = reason or ("Error" if code else "Completed")
    return {"terminated": {**state, "message": message}}


def waits(reason: str, message: str = "") -> dict[str, Any]:
    """A waiting container's state."""
    return {"waiting": {"reason": reason, "message": message}}


def pod(
    main: dict[str, Any] | None = None,
    *,
    init: dict[str, Any] | None = None,
    phase: str = "Running",
    name: str = "pod-a",
    index: int | None = None,
    job: str | None = None,
    container: str = "main",
    created: str = "2026-11-21T10:00:00Z",
    conditions: tuple[dict[str, Any], ...] = (),
    **status: Any,
) -> dict[str, Any]:
    """A pod; `main` and `init` are the states of its containers."""
    labels = {}
    if index is not None:
        labels["batch.kubernetes.io/job-completion-index"] = str(index)
    if job is not None:
        labels["jobset.sigs.k8s.io/replicatedjob-name"] = job
    found: dict[str, Any] = {"phase": phase, "conditions": list(conditions), **status}
    if main is not None:
        found["containerStatuses"] = [{"name": container, "state": main}]
    if init is not None:
        found["initContainerStatuses"] = [{"name": "runyard-code", "state": init}]
    metadata = {"name": name, "labels": labels, "creationTimestamp": created}
    return {"metadata": metadata, "spec": {"nodeName": "node-1"}, "status": found}


def group_pod(
    mains: dict[str, dict[str, Any]], *, sidecars: dict[str, Any] | None = None, **status: Any
) -> dict[str, Any]:
    """A pod of a group: the states of its containers by role, the leader's first."""

    def spec(roles: Any) -> list[dict[str, Any]]:
        variable = "RUNYARD_ROLE"
        return [{"name": names[each], "env": [{"name": variable, "value": each}]} for each in roles]

    names = {each: f"role-{each}" for each in (*mains, *(sidecars or {}))}
    names[next(iter(mains))] = "main"
    found = pod(**status)
    found["spec"].update(initContainers=spec(sidecars or {}), containers=spec(mains))
    # The kubelet lists containers in no order that could be relied on.
    found["status"]["containerStatuses"] = [
        {"name": names[role], "state": state} for role, state in reversed(mains.items())
    ]
    found["status"]["initContainerStatuses"] = [
        {"name": "runyard-code", "state": ended(0)},
        *({"name": names[role], "state": state} for role, state in (sidecars or {}).items()),
    ]
    return found


def job(*conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    """A Job of ours."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "sft-train-1", "uid": "j-1"},
        "spec": {},
        "status": {"conditions": list(conditions), **status},
    }


def look(
    child: dict[str, Any], *pods: dict[str, Any], outputs: tuple[str, ...] = ()
) -> Observation:
    """What is said about a Job."""
    spec = job_spec(outputs=[{"name": each} for each in outputs])
    return observe_job(target(spec), child, pods)


NOT_SCHEDULED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes are available: 1 Insufficient cpu.",
}


@pytest.mark.parametrize(
    ("pods", "reason", "words"),
    [
        ([], "Waiting", "no pod has been made yet"),
        ([pod(phase="Pending", conditions=(NOT_SCHEDULED,))], "Unschedulable", "Insufficient cpu"),
        ([pod(phase="Pending")], "PodInitializing", "is being set up"),
        ([pod(waits("PodInitializing"), init=RUNNING)], "PodInitializing", "is being set up"),
        ([pod(CREATING, init=ended(0))], "PodInitializing", "is being set up"),
        (
            [pod(waits("ImagePullBackOff", 'Back-off pulling image "x"'), init=ended(0))],
            "ImagePullBackOff",
            'pod pod-a: Back-off pulling image "x"; check the image',
        ),
        (
            [pod(waits("ErrImageNeverPull", "Container image is not present"))],
            "ErrImageNeverPull",
            "load it there",
        ),
        ([pod(waits("InvalidImageName", "bad"))], "InvalidImageName", "correct the image's name"),
        (
            [pod(waits("CreateContainerConfigError", 'secret "hf" not found'))],
            "CreateContainerConfigError",
            'secret "hf" not found; create the Secret',
        ),
        (
            [pod(waits("PodInitializing"), init=waits("ErrImagePull", "no such host"))],
            "ErrImagePull",
            "no such host",
        ),
    ],
)
def test_a_waiting_job_says_why(pods: list[dict[str, Any]], reason: str, words: str) -> None:
    """A user sees what the job waits for, and what to do."""
    seen = look(job(active=1), *pods)
    assert (seen.state, seen.reason) == (State.WAITING, reason)
    assert words in seen.message
    assert seen.handle is not None
    assert seen.handle.uid == "j-1"


def test_a_new_job_without_any_status_waits() -> None:
    """The Job controller has not looked at it yet."""
    child = job()
    del child["status"]
    assert look(child).state is State.WAITING


def test_a_suspended_job_waits() -> None:
    """A queue manager holds it; it is not stuck."""
    seen = look(job({"type": "Suspended", "status": "True"}))
    assert (seen.state, seen.reason) == (State.WAITING, "Suspended")


SUSPENDED = {"type": "Suspended", "status": "True"}


def by_us(child: dict[str, Any]) -> dict[str, Any]:
    """The child after Runyard's own suspend."""
    child["metadata"]["annotations"] = {"runyard.dev/suspended": "true"}
    child["spec"]["suspend"] = True
    return child


@pytest.mark.parametrize(
    ("status", "pods", "state"),
    [
        ({}, [], State.SUSPENDED),
        ({}, [pod(ended(143), phase="Failed")], State.SUSPENDED),
        ({"active": 0, "terminating": 1}, [], State.WAITING),
        ({"active": 1}, [], State.WAITING),
        ({}, [pod(RUNNING)], State.RUNNING),
        ({}, [pod(CREATING, phase="Pending")], State.WAITING),
    ],
)
def test_a_job_is_suspended_once_its_pods_have_ended(
    status: dict[str, Any], pods: list[dict[str, Any]], state: State
) -> None:
    """Until then it still holds what it ran on."""
    assert look(by_us(job(SUSPENDED, **status)), *pods).state is state


def test_a_job_that_was_resumed_is_not_suspended() -> None:
    """Its condition may be older than the request."""
    child = by_us(job(SUSPENDED))
    child["spec"]["suspend"] = False
    assert look(child).state is State.WAITING


def test_a_running_job_tells_node_and_start() -> None:
    """The start is that of the task's own container."""
    seen = look(job(active=1, ready=1), pod(RUNNING, init=ended(0)))
    assert seen.state is State.RUNNING
    assert seen.node == "node-1"
    assert seen.start_time == datetime(2026, 11, 21, 10, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize("code", [0, 1])
def test_a_job_whose_pod_has_ended_runs_until_it_says_how_it_ended(code: int) -> None:
    """The Job alone speaks of success or failure."""
    criteria = {"type": "FailureTarget", "status": "True"}
    assert look(job(criteria), pod(ended(code))).state is State.RUNNING


def test_a_ready_job_runs_though_its_pod_is_not_known_yet() -> None:
    """Two watches do not keep step."""
    assert look(job(active=1, ready=1)).state is State.RUNNING


def test_a_job_that_is_being_deleted_terminates() -> None:
    """Whatever its conditions say."""
    child = job(COMPLETE)
    child["metadata"]["deletionTimestamp"] = END
    assert look(child).state is State.TERMINATING


def test_success_brings_outputs() -> None:
    """The outputs are those that the wrapper framed."""
    child = job(COMPLETE, completionTime=END)
    done = pod(ended(0, message=FRAMED), phase="Succeeded")
    seen = look(child, done, outputs=("rows",))
    assert (seen.state, seen.exit_code) == (State.SUCCEEDED, 0)
    assert seen.outputs == (("rows", "12"),)
    assert seen.completion_time == datetime(2026, 11, 21, 10, 0, 30, tzinfo=UTC)


def test_success_without_declared_outputs_needs_no_pod() -> None:
    """The pod may have been collected: the Job's word is enough."""
    assert look(job(COMPLETE)).state is State.SUCCEEDED


@pytest.mark.parametrize(
    ("pods", "words"),
    [
        ([], "its pod was removed before its outputs were read"),
        ([pod(ended(0), phase="Succeeded")], "left no output rows"),
        ([pod(ended(0, message="rows 3\n12\n"), phase="Succeeded")], "left no output rows"),
        (
            [pod(ended(0, message="runyard-outputs/1\nrows 2\n\ufffd\n"), phase="Succeeded")],
            "must be UTF-8 text",
        ),
    ],
)
def test_success_without_its_outputs_is_a_failure(pods: list[dict[str, Any]], words: str) -> None:
    """What the next task needs is not there."""
    seen = look(job(COMPLETE), *pods, outputs=("rows",))
    assert (seen.state, seen.reason) == (State.FAILED, reasons.OUTPUTS_MISSING)
    assert words in seen.message


def test_the_wrappers_refusal_is_a_failure_of_outputs() -> None:
    """Exit code 65 with the wrapper's own message."""
    message = "runyard-outputs-error/1\noutput rows is missing: the task succeeded without"
    seen = look(job(FAILED), pod(ended(65, message=message), phase="Failed"), outputs=("rows",))
    assert (seen.state, seen.reason) == (State.FAILED, reasons.OUTPUTS_MISSING)
    assert seen.message.startswith("output rows is missing")
    assert seen.last_log_lines == ()


def test_a_65_of_the_task_itself_is_an_error() -> None:
    """The code alone does not make it the wrapper's."""
    seen = look(job(FAILED), pod(ended(65, message="EX_DATAERR"), phase="Failed"))
    assert (seen.reason, seen.exit_code) == ("Error", 65)
    assert seen.last_log_lines == ("EX_DATAERR",)


def disrupted(reason: str) -> dict[str, Any]:
    """A pod condition."""
    return {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "because"}


@pytest.mark.parametrize(
    ("failed", "kind", "words"),
    [
        (pod(ended(3), phase="Failed"), FailureClass.ERROR, "exit code 3"),
        (pod(ended(127), phase="Failed"), FailureClass.ERROR, "is it in the image?"),
        (
            pod(ended(137, reason="OOMKilled"), phase="Failed"),
            FailureClass.OUT_OF_MEMORY,
            "raise executor memory",
        ),
        (
            pod(ended(137, reason="OOMKilled"), phase="Failed", conditions=(disrupted("X"),)),
            FailureClass.OUT_OF_MEMORY,
            "out of memory",
        ),
        (
            pod(ended(128, reason="StartError", message="exec: no such file"), phase="Failed"),
            FailureClass.LAUNCH_FAILED,
            "StartError: exec: no such file",
        ),
        (
            pod(ended(137, reason="ContainerStatusUnknown"), phase="Failed"),
            FailureClass.NODE_FAILURE,
            "ContainerStatusUnknown",
        ),
        (
            pod(phase="Failed", reason="Evicted", message="The node was low on memory"),
            FailureClass.PREEMPTED,
            "Evicted: The node was low on memory",
        ),
        (
            pod(ended(143), phase="Failed", conditions=(disrupted("PreemptionByScheduler"),)),
            FailureClass.PREEMPTED,
            "PreemptionByScheduler: because",
        ),
        (
            pod(ended(143), phase="Failed", conditions=(disrupted("EvictionByEvictionAPI"),)),
            FailureClass.PREEMPTED,
            "EvictionByEvictionAPI",
        ),
        (
            pod(RUNNING, phase="Failed", conditions=(disrupted("DeletionByTaintManager"),)),
            FailureClass.NODE_FAILURE,
            "DeletionByTaintManager",
        ),
        (
            pod(RUNNING, phase="Failed", conditions=(disrupted("DeletionByPodGC"),)),
            FailureClass.NODE_FAILURE,
            "DeletionByPodGC",
        ),
        (
            pod(ended(143), phase="Failed", reason="Terminated", message="node shutdown"),
            FailureClass.NODE_FAILURE,
            "node shutdown",
        ),
        (
            pod(phase="Failed", reason="NodeLost", message="gone"),
            FailureClass.NODE_FAILURE,
            "NodeLost",
        ),
        (
            pod(phase="Failed", reason="OutOfcpu", message="Node didn't have enough resource"),
            FailureClass.LAUNCH_FAILED,
            "OutOfcpu",
        ),
        (
            pod(
                waits("PodInitializing"),
                init=ended(1, message="runyard: the code cannot be unpacked: digest"),
                phase="Failed",
            ),
            FailureClass.LAUNCH_FAILED,
            "the code cannot be unpacked",
        ),
    ],
)
def test_failures_are_told_apart(failed: dict[str, Any], kind: FailureClass, words: str) -> None:
    """A retry policy can choose by class; a person reads the message."""
    seen = look(job(FAILED), failed)
    assert (seen.state, seen.failure_class, seen.reason) == (State.FAILED, kind, kind.value)
    assert words in seen.message
    assert seen.node == "node-1"


IN_THE_WAKE = "runyard-ended/1\nload\n"


def test_the_role_that_failed_first_speaks_for_its_group() -> None:
    """Exit code, class and last lines are its own; those that were ended with it are not asked."""
    states = {
        "serve": ended(143, message=IN_THE_WAKE, at=START),
        "load": ended(137, reason="OOMKilled", message="allocating"),
        "watch": ended(0),
    }
    seen = look(job(FAILED), group_pod(states, phase="Failed"))
    assert seen.failure_class is FailureClass.OUT_OF_MEMORY
    assert seen.exit_code == 137
    assert (
        seen.message == "pod pod-a, role load: out of memory: raise executor memory or memoryLimit"
    )
    assert seen.last_log_lines == ("allocating",)


def test_of_roles_that_fail_by_themselves_the_first_speaks() -> None:
    """By the time of their ends, and by their order where the times are equal."""
    later = "2026-11-21T10:00:31Z"
    one = {"serve": ended(1, at=later), "load": ended(2)}
    assert look(job(FAILED), group_pod(one, phase="Failed")).exit_code == 2
    both = {"serve": ended(1), "load": ended(2)}
    assert look(job(FAILED), group_pod(both, phase="Failed")).exit_code == 1


def test_a_sidecars_end_is_not_the_leaders() -> None:
    """With successPolicy Leader nobody asks how the others ended."""
    sidecars = {"worker": ended(9)}
    failed = group_pod({"serve": ended(3)}, sidecars=sidecars, phase="Failed")
    seen = look(job(FAILED), failed)
    assert (seen.exit_code, seen.failure_class) == (3, FailureClass.ERROR)
    well = group_pod({"serve": ended(0, message=FRAMED)}, sidecars=sidecars, phase="Succeeded")
    seen = look(job(COMPLETE), well, outputs=("rows",))
    assert (seen.state, seen.outputs) == (State.SUCCEEDED, (("rows", "12"),))


def test_a_group_gives_the_outputs_of_its_leader() -> None:
    """Whatever the other roles' last words are."""
    states = {"serve": ended(0, message=FRAMED), "load": ended(0, message="x")}
    seen = look(job(COMPLETE), group_pod(states, phase="Succeeded"), outputs=("rows",))
    assert (seen.state, seen.outputs) == (State.SUCCEEDED, (("rows", "12"),))


@pytest.mark.parametrize("sidecars", [False, True])
def test_a_group_runs_once_all_its_roles_do(sidecars: bool) -> None:
    """A role that cannot start is what the group waits for."""
    broken = {"load": waits("CreateContainerConfigError", 'secret "hf" not found')}
    states = {"serve": RUNNING}
    young = group_pod(states, sidecars=broken) if sidecars else group_pod({**states, **broken})
    seen = look(job(active=1), young)
    assert (seen.state, seen.reason) == (State.WAITING, "CreateContainerConfigError")
    broken["load"] = RUNNING
    whole = group_pod(states, sidecars=broken) if sidecars else group_pod({**states, **broken})
    assert look(job(active=1), whole).state is State.RUNNING


def test_a_failed_job_without_a_failed_pod_lost_it() -> None:
    """A drained node deletes the pod: nothing is left that could tell more."""
    seen = look(job(FAILED))
    assert seen.failure_class is FailureClass.PREEMPTED
    assert "deleted from outside" in seen.message


def test_a_job_that_failed_for_its_own_reasons_says_them() -> None:
    """A deadline of the Job is no deleted pod."""
    verdict = {**FAILED, "reason": "DeadlineExceeded", "message": "was active too long"}
    seen = look(job(verdict))
    assert seen.failure_class is FailureClass.ERROR
    assert seen.message == "DeadlineExceeded: was active too long"


def test_the_last_log_lines_are_bounded() -> None:
    """At most 20 lines of 1024 characters, the last ones."""
    text = "\n".join(f"{number} " + "x" * 2000 for number in range(50))
    seen = look(job(FAILED), pod(ended(1, message=text), phase="Failed"))
    assert len(seen.last_log_lines) == 20
    assert all(len(line) == 1024 for line in seen.last_log_lines)
    assert seen.last_log_lines[-1].startswith("49 ")


def nodes_job(*conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    """A Job of two nodes."""
    child = job(*conditions, **status)
    child["spec"] = {"completions": 2, "completionMode": "Indexed"}
    return child


def test_a_job_of_several_nodes_runs_when_all_do() -> None:
    """Half of it waits, and says so; a node that has ended well has run."""
    one = pod(RUNNING, index=0)
    seen = look(nodes_job(active=2, ready=1), one, pod(CREATING, index=1, name="pod-b"))
    assert (seen.state, seen.message) == (State.WAITING, "1 of 2 pods run")
    assert look(nodes_job(active=2, ready=1), one).state is State.WAITING
    both = look(nodes_job(active=1), one, pod(ended(0), index=1, name="pod-b", phase="Succeeded"))
    assert both.state is State.RUNNING


def test_the_node_that_failed_first_fails_its_job() -> None:
    """The Job controller ends the others, which is none of their faults; rank 0 gives outputs."""
    guilty = pod(ended(3, at="2026-11-21T10:00:20Z"), index=1, phase="Failed", name="pod-b")
    stopped = pod(ended(143), index=0, phase="Failed")
    seen = look(nodes_job(FAILED), stopped, guilty)
    assert (seen.exit_code, seen.failure_class) == (3, FailureClass.ERROR)
    assert "pod-b" in seen.message
    done = [
        pod(ended(0, message=text), index=rank, phase="Succeeded", name=f"pod-{rank}")
        for rank, text in ((1, ""), (0, FRAMED))
    ]
    assert look(nodes_job(COMPLETE), *done, outputs=("rows",)).outputs == (("rows", "12"),)


# TrainJobs


def train_job(*conditions: dict[str, Any], nodes: int = 2, **status: Any) -> dict[str, Any]:
    """A TrainJob of ours."""
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "sft-train-1", "uid": "t-1"},
        "spec": {"trainer": {"numNodes": nodes}},
        "status": {"conditions": list(conditions), **status},
    }


def node_job(**counts: int) -> dict[str, Any]:
    """The status of the trainer's job."""
    names = ("active", "failed", "ready", "succeeded", "suspended")
    return {"name": "node", **dict.fromkeys(names, 0), **counts}


def rank(index: int, main: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A pod of the trainer's job."""
    name = more.pop("name", f"sft-train-1-node-0-{index}-abcde")
    return pod(main, name=name, index=index, job="node", container="node", **more)


def look_train(
    child: dict[str, Any], *pods: dict[str, Any], outputs: tuple[str, ...] = ()
) -> Observation:
    """What is said about a TrainJob."""
    spec = train_spec(outputs=[{"name": each} for each in outputs])
    return observe_train_job(target(spec), child, pods)


def test_a_train_job_waits_for_all_its_nodes() -> None:
    """Half a job does not train."""
    child = train_job(jobsStatus=[node_job(active=1)])
    seen = look_train(child, rank(0, RUNNING), rank(1, CREATING))
    assert (seen.state, seen.message) == (State.WAITING, "1 of 2 pods run")


def test_a_train_job_runs_when_its_job_is_ready_or_all_pods_run() -> None:
    """The Trainer's own status is as good as the pods, whichever comes first."""
    ready = train_job(jobsStatus=[node_job(active=1, ready=1)])
    assert look_train(ready).state is State.RUNNING
    young = train_job(jobsStatus=[node_job(active=1)])
    seen = look_train(young, rank(1, RUNNING), rank(0, RUNNING))
    assert seen.state is State.RUNNING


def test_an_initializer_that_runs_is_not_the_training() -> None:
    """Other jobs of the runtime run before the trainer's."""
    early = pod(RUNNING, index=0, job="dataset-initializer", container="dataset-initializer")
    child = train_job(nodes=1, jobsStatus=[{"name": "dataset-initializer", "ready": 1}])
    assert look_train(child, early).state is State.WAITING


def test_a_failed_pod_is_not_a_failed_train_job() -> None:
    """The runtime may make it anew: only the condition ends the attempt."""
    child = train_job(jobsStatus=[node_job(active=1)])
    first = rank(1, ended(1), phase="Failed", name="old")
    again = rank(1, RUNNING, name="new", created="2026-11-21T10:01:00Z")
    assert look_train(child, first, rank(0, RUNNING), again).state is State.RUNNING
    assert look_train(child, rank(0, RUNNING), rank(1, ended(1), phase="Failed")).state in (
        State.WAITING,
        State.RUNNING,
    )


def test_an_elastic_train_job_runs_with_the_nodes_that_it_needs() -> None:
    """As many as minNodes says are enough, and a lost one is no failure."""
    block = {"image": "a:1", "numNodes": 3, "minNodes": 2}
    child = train_job(nodes=3, jobsStatus=[node_job(active=1)])
    lost = rank(1, ended(143), phase="Failed", name="old")
    pods = [rank(0, RUNNING), lost, rank(2, CREATING), rank(1, RUNNING, name="new",
            created="2026-11-21T10:01:00Z")]  # fmt: skip
    whole = target(train_spec(executor={"trainJob": block}))
    assert observe_train_job(whole, child, pods).state is State.RUNNING
    assert observe_train_job(whole, child, pods[:1]).message == "1 of 2 pods run"


def test_a_suspended_train_job_waits() -> None:
    """Kueue suspends what it has not admitted."""
    seen = look_train(train_job({"type": "Suspended", "status": "True"}))
    assert (seen.state, seen.reason) == (State.WAITING, "Suspended")
    resumed = look_train(train_job({"type": "Suspended", "status": "False"}))
    assert resumed.reason != "Suspended"


@pytest.mark.parametrize(
    ("counts", "pods", "state"),
    [
        ({"suspended": 1}, [], State.SUSPENDED),
        ({"succeeded": 1}, [], State.SUSPENDED),
        # The Trainer says Suspended before its jobs have heard of it.
        ({"active": 1}, [], State.WAITING),
        ({}, [], State.WAITING),
        ({"suspended": 1}, [rank(0, RUNNING)], State.WAITING),
        ({"suspended": 1}, [rank(0, ended(143), phase="Failed")], State.SUSPENDED),
    ],
)
def test_a_train_job_is_suspended_once_all_its_jobs_and_pods_are(
    counts: dict[str, int], pods: list[dict[str, Any]], state: State
) -> None:
    """Its own condition is only the wish."""
    child = by_us(train_job(SUSPENDED, jobsStatus=[node_job(**counts)]))
    assert look_train(child, *pods).state is state


def test_only_rank_0_reports_outputs() -> None:
    """The other nodes' pods, and those of other jobs, have none."""
    early = pod(ended(0), index=0, job="dataset-initializer", container="other", phase="Succeeded")
    seen = look_train(
        train_job(COMPLETE),
        early,
        rank(1, ended(0), phase="Succeeded"),
        rank(0, ended(0, message=FRAMED), phase="Succeeded"),
        outputs=("rows",),
    )
    assert (seen.state, seen.outputs) == (State.SUCCEEDED, (("rows", "12"),))


def test_the_first_failure_is_the_one_that_is_told() -> None:
    """When one rank dies, the others fail because of it, a moment later."""
    verdict = {**FAILED, "reason": "FailedJobs"}
    later = rank(0, ended(1, message="connection reset", at=END), phase="Failed")
    earlier = rank(1, ended(7, message="bug", at="2026-11-21T10:00:29Z"), phase="Failed")
    seen = look_train(train_job(verdict), later, earlier)
    assert (seen.exit_code, seen.last_log_lines) == (7, ("bug",))
    assert "node-0-1" in seen.message


def test_a_failed_train_job_without_failed_pods_lost_one() -> None:
    """As for a Job."""
    verdict = {**FAILED, "reason": "FailedJobs"}
    assert look_train(train_job(verdict)).failure_class is FailureClass.PREEMPTED


def test_a_train_job_that_the_trainer_cannot_run_says_so() -> None:
    """A failure that no pod explains keeps the Trainer's own words."""
    verdict = {**FAILED, "reason": "TrainingRuntimeNotSupported", "message": "unsupported"}
    seen = look_train(train_job(verdict))
    assert seen.failure_class is FailureClass.ERROR
    assert seen.message == "TrainingRuntimeNotSupported: unsupported"


GANG = train_spec(
    group={
        "roles": [
            {"name": "train", "script": {"path": "a.sh"}, "numNodes": 2},
            {"name": "serve", "script": {"path": "b.sh"}},
        ]
    },
    outputs=[{"name": "rows"}],
)
del GANG["script"], GANG["launcher"]


def gang_pod(role: str, job_name: str, main: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A pod of a role that has pods of its own."""
    found = pod(main, job=job_name, container="node", **{"index": 0, **more})
    env = [{"name": "RUNYARD_ROLE", "value": role}]
    found["spec"]["containers"] = [{"name": "node", "env": env}]
    return found


def test_a_gang_runs_when_all_its_roles_do() -> None:
    """The Trainer's job alone is not enough; all pods are, or all jobs."""
    two = [gang_pod("train", "node", RUNNING, index=each) for each in range(2)]
    serve = gang_pod("serve", "r1", RUNNING)
    ready = {"active": 1, "ready": 1, "succeeded": 0, "failed": 0, "suspended": 0}
    child = train_job(jobsStatus=[{"name": "node", **ready}])
    seen = observe_train_job(target(GANG), child, two)
    assert (seen.state, seen.message) == (State.WAITING, "2 of 3 pods run")
    assert observe_train_job(target(GANG), child, [*two, serve]).state is State.RUNNING
    child = train_job(jobsStatus=[{"name": "node", **ready}, {"name": "r1", **ready}])
    assert observe_train_job(target(GANG), child, []).state is State.RUNNING


def test_a_gang_gives_the_outputs_of_its_leader_and_names_the_role_that_failed() -> None:
    """Each role has a rank 0 of its own."""
    serve = gang_pod("serve", "r1", ended(0, message="words"), phase="Succeeded")
    train = gang_pod("train", "node", ended(0, message=FRAMED), phase="Succeeded")
    seen = observe_train_job(target(GANG), train_job(COMPLETE), [serve, train])
    assert seen.outputs == (("rows", "12"),)
    late = gang_pod("train", "node", ended(143, at="2026-11-21T10:00:40Z"), phase="Failed")
    first = gang_pod("serve", "r1", ended(3), phase="Failed")
    seen = observe_train_job(target(GANG), train_job(FAILED), [late, first])
    assert (seen.state, seen.exit_code) == (State.FAILED, 3)
    assert "role serve: exit code 3" in seen.message


def test_a_program_that_is_not_done_has_failed_and_says_so() -> None:
    """ft_launcher's finished flag was not made: an error of the program, no missing output."""
    message = "runyard-unfinished/1\nthe program ended with 0 and is not done\n"
    failed = pod(ended(65, message=message), phase="Failed")
    seen = look(job(FAILED), failed)
    assert (seen.reason, seen.message) == ("Error", "the program ended with 0 and is not done")
