"""No dead options: each field of an executor does something in the plan, or is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from runyard.api.executor import JobExecutor, TrainJobExecutor
from runyard.api.pod import PodSpecOverrides
from runyard.api.podfields import PodFields
from runyard.api.ray import RayAutoscaler, RayExecutor, RayHead, RayWorkerGroup
from runyard.api.task import Task
from runyard_operator.backends.job.render import render as render_job
from runyard_operator.backends.trainjob.render import render as render_train_job
from runyard_operator.engine import check
from tests.unit.backends import field_plans
from tests.unit.backends.ray_plans import ray_spec
from tests.unit.backends.rendering import TORCH_RUNTIME
from tests.unit.backends.samples import CONFIG, golden, job_spec, target, train_spec

MODELS: dict[str, type[PodFields]] = {
    "job": JobExecutor,
    "trainJob": TrainJobExecutor,
    "ray": RayExecutor,
}
NESTED = {
    "podSpecOverrides": PodSpecOverrides,
    "head": RayHead,
    "workerGroups": RayWorkerGroup,
    "autoscaler": RayAutoscaler,
}
ALL = [(executor, name) for executor in MODELS for name in field_plans.document(executor)]


def wire_names(model: Any) -> set[str]:
    """The fields of a model as they are written in YAML."""
    return {field.alias for field in model.model_fields.values()}


@pytest.mark.parametrize("executor", MODELS)
def test_every_field_of_an_executor_is_in_the_table(executor: str) -> None:
    """A field that is added to a model must be added to `field_plans`, with what it does."""
    known = {*field_plans.PODS, *field_plans.OWN[executor]}
    assert known | field_plans.WHOLE.get(executor, set()) == wire_names(MODELS[executor])
    for within, inner in field_plans.NESTED[executor].items():
        assert set(inner) == wire_names(NESTED[within])


@pytest.mark.parametrize("executor", MODELS)
def test_fields_change_the_plan_as_the_goldens_say(executor: str) -> None:
    """Where each field lands, path by path; `field_plans.py` writes the goldens anew."""
    assert field_plans.document(executor) == golden(f"fields-{executor}")


@pytest.mark.parametrize(("executor", "name"), ALL)
def test_no_field_is_dropped(executor: str, name: str) -> None:
    """Each one changes what is sent."""
    assert golden(f"fields-{executor}")[name]


def task(executor: dict[str, Any], **more: Any) -> Task:
    """A task with this executor."""
    return Task.model_validate(
        {"name": "t", "script": {"inline": "x"}, "executor": executor, **more}
    )


def refusal(executor: dict[str, Any], **more: Any) -> str:
    """What the check says about a task with these fields; empty when nothing."""
    block = next(iter(executor))
    whole = {block: {"image": "a:1", **executor[block]}}
    try:
        check.work(task(whole, **more), "tasks[t]")
    except check.InvalidSpecError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("executor", ["job", "trainJob", "ray"])
@pytest.mark.parametrize("field", ["labels", "annotations", "podLabels", "podAnnotations"])
@pytest.mark.parametrize(
    "key",
    [
        "runyard.dev/unit-uid",
        "batch.kubernetes.io/job-completion-index",
        "kueue.x-k8s.io/queue-name",
        "jobset.sigs.k8s.io/jobset-name",
        "trainer.kubeflow.org/trainjob-ancestor-step",
    ],
)
def test_labels_that_others_rely_on_are_refused(executor: str, field: str, key: str) -> None:
    """With the whole key, and the field to use instead where there is one."""
    said = refusal({executor: {field: {key: "x"}}})
    assert key in said
    assert ("queueName" in said) == key.startswith("kueue")


ELASTIC = {"numNodes": 3, "minNodes": 2}


@pytest.mark.parametrize(
    ("executor", "more", "words"),
    [
        ({"job": {"workloadPriorityClass": "high"}}, {}, "set queueName"),
        ({"job": {"extraResourceRequests": {"cpu": "1"}}}, {}, "use cpu and cpuLimit"),
        ({"ray": {"extraResourceLimits": {"memory": "1"}}}, {}, "use memory and memoryLimit"),
        (
            {"job": {"extraResourceRequests": {"a/b": "1"}, "extraResourceLimits": {"a/b": "2"}}},
            {},
            "leave the limit out",
        ),
        (
            {
                "job": {
                    "shmSize": "1Gi",
                    "volumes": [{"name": "a", "emptyDir": {}}],
                    "volumeMounts": [{"name": "a", "mountPath": "/dev/shm/"}],  # noqa: S108
                }
            },
            {},
            "has shmSize and mounts",
        ),
        ({"job": {"podSpecOverrides": {"resourceClaims": [{"x": "y"}]}}}, {}, "without a name"),
        (
            {"job": {"nodes": 2}},
            {"script": None, "group": {"roles": [{"name": "a", "script": {"inline": "x"}}]}},
            "use executor.trainJob",
        ),
        ({"trainJob": {"minNodes": 2}}, {"launcher": {"torchrun": {"maxRestarts": 1}}}, "lower it"),
        ({"trainJob": ELASTIC}, {}, "with maxRestarts"),
        ({"trainJob": ELASTIC}, {"launcher": {"torchrun": {}}}, "with maxRestarts"),
        (
            {"trainJob": ELASTIC},
            {"launcher": {"ft": {"maxRestarts": 1, "rdzvBackend": "static"}}},
            "rdzvBackend c10d",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    executor: dict[str, Any], more: dict[str, Any], words: str
) -> None:
    """The message begins with the task and says what to do."""
    said = refusal(executor, **more)
    assert said.startswith("tasks[t] ")
    assert words in said


@pytest.mark.parametrize(
    ("executor", "more"),
    [
        ({"trainJob": ELASTIC}, {"launcher": {"torchrun": {"maxRestarts": 1}}}),
        ({"job": {"extraResourceLimits": {"a/b": "2"}}}, {}),
        ({"job": {"extraResourceRequests": {"a/b": "2"}, "queueName": "q"}}, {}),
        ({"job": {"podAnnotations": {"alpha.jobset.sigs.k8s.io/x": "y", "runyard.dev": "z"}}}, {}),
    ],
)
def test_what_can_be_honoured_is_taken(executor: dict[str, Any], more: dict[str, Any]) -> None:
    """The neighbours of what is refused."""
    assert refusal(executor, **more) == ""


@pytest.mark.parametrize("code", [None, {"inline": [{"path": "a.py", "content": ""}]}])
@pytest.mark.parametrize("render", ["job", "trainJob", "ray"])
def test_every_mount_has_its_volume(render: str, code: dict[str, Any] | None) -> None:
    """In each pod of each executor, with code of its own and without."""
    spec = {
        "job": job_spec(code=code, executor={"job": {"image": "a:1", "shmSize": "1Gi"}}),
        "trainJob": train_spec(code=code, script={"inline": "x"}),
        "ray": ray_spec({"image": "a:1", "workerGroups": [{"name": "ww"}]}, code=code),
    }[render]
    for pod in pods_of(field_plans.plan_of(render, target(spec))):
        volumes = {each["name"] for each in pod.get("volumes", [])}
        containers = [*pod["containers"], *pod.get("initContainers", [])]
        mounts = [each for one in containers for each in one.get("volumeMounts", [])]
        assert {each["name"] for each in mounts} <= volumes
        for one in containers:
            paths = [each["mountPath"] for each in one.get("volumeMounts", [])]
            assert len(paths) == len(set(paths))


def pods_of(value: Any) -> list[dict[str, Any]]:
    """Every spec of a pod somewhere in some objects."""
    if isinstance(value, list):
        return [pod for each in value for pod in pods_of(each)]
    if not isinstance(value, dict):
        return []
    below = [pod for each in value.values() for pod in pods_of(each)]
    return [value, *below] if "containers" in value else below


def test_our_labels_win() -> None:
    """A unit without an experiment is not checked: what it sets of ours goes under ours."""
    fields = {
        "image": "a:1",
        "labels": {"app.kubernetes.io/managed-by": "helm"},
        "podLabels": {"app.kubernetes.io/managed-by": "helm"},
    }
    (job,) = render_job(target(job_spec(executor={"job": fields})), CONFIG).objects
    for metadata in (job["metadata"], job["spec"]["template"]["metadata"]):
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "runyard"


def test_extra_resources_count_for_every_container_of_a_group() -> None:
    """Requests, limits and claims are each role's, as cpu and memory are."""
    roles = [{"name": name, "script": {"inline": "x"}} for name in ("a", "b")]
    fields = {
        "image": "a:1",
        "extraResourceRequests": {"rdma/ib": "1"},
        "podSpecOverrides": {"resourceClaims": [{"name": "nic", "resourceClaimName": "n"}]},
    }
    spec = job_spec(group={"roles": roles}, executor={"job": fields})
    del spec["script"]
    (job,) = render_job(target(spec), CONFIG).objects
    pod = job["spec"]["template"]["spec"]
    assert [each["resources"] for each in pod["containers"]] == 2 * [
        {
            "requests": {"rdma/ib": "1"},
            "limits": {"rdma/ib": "1"},
            "claims": [{"name": "nic"}],
        }
    ]
    assert "claims" not in pod["initContainers"][0]["resources"]


RUNTIME_POD = {
    "tolerations": [{"key": "gpu", "operator": "Exists"}, {"key": "x", "operator": "Exists"}],
    "nodeSelector": {"pool": "gpu", "zone": "z"},
    "affinity": {"nodeAffinity": {"a": 1}, "podAntiAffinity": {"b": 1}},
    "imagePullSecrets": [{"name": "platform"}],
    "securityContext": {"runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}},
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["platform"]}],
    "topologySpreadConstraints": [field_plans.SPREAD],
    "priorityClassName": "low",
    "dnsConfig": {"nameservers": ["10.0.0.3"], "searches": ["a"]},
}


def derived(fields: dict[str, Any], pod: dict[str, Any], **job: Any) -> dict[str, Any]:
    """The node job's spec of the runtime that is derived from one with this pod."""
    source = copy.deepcopy(TORCH_RUNTIME)
    node = source["spec"]["template"]["spec"]["replicatedJobs"][1]["template"]["spec"]
    node.update(job)
    node["template"]["spec"].update(copy.deepcopy(pod))
    source["spec"]["template"]["spec"]["ttlSecondsAfterFinished"] = 0
    spec = train_spec(executor={"trainJob": fields}, launcher={"torchrun": {"maxRestarts": 3}})
    runtime, _ = render_train_job(target(spec), source, CONFIG).objects
    assert "ttlSecondsAfterFinished" not in runtime["spec"]["template"]["spec"]
    found: dict[str, Any] = runtime["spec"]["template"]["spec"]["replicatedJobs"][1]["template"]
    return found["spec"]


def test_fields_merge_into_those_of_the_runtime() -> None:
    """Lists are united by their keys, objects field by field, and the task's values win."""
    other_spread = {**field_plans.SPREAD, "topologyKey": "rack"}
    fields = {
        "image": "a:1",
        "tolerations": [{"key": "gpu", "operator": "Exists"}, {"key": "y", "operator": "Exists"}],
        "nodeSelector": {"zone": "a"},
        "affinity": {"podAntiAffinity": {"c": 2}},
        "imagePullSecrets": ["mine"],
        "podSpecOverrides": {
            "securityContext": {"runAsUser": 2},
            "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["mine"]}],
            "topologySpreadConstraints": [{**field_plans.SPREAD, "maxSkew": 5}, other_spread],
            "priorityClassName": "high",
            "dnsConfig": {"nameservers": ["10.0.0.4"]},
        },
    }
    pod = derived(fields, RUNTIME_POD)["template"]["spec"]
    assert {name: pod[name] for name in RUNTIME_POD} == {
        "tolerations": [{"key": each, "operator": "Exists"} for each in ("gpu", "x", "y")],
        "nodeSelector": {"pool": "gpu", "zone": "a"},
        "affinity": {"nodeAffinity": {"a": 1}, "podAntiAffinity": {"c": 2}},
        "imagePullSecrets": [{"name": "platform"}, {"name": "mine"}],
        "securityContext": {"runAsUser": 2, "seccompProfile": {"type": "RuntimeDefault"}},
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["mine"]}],
        "topologySpreadConstraints": [{**field_plans.SPREAD, "maxSkew": 5}, other_spread],
        "priorityClassName": "high",
        "dnsConfig": {"nameservers": ["10.0.0.4"]},
    }


def test_fields_that_are_unset_leave_the_runtime_alone() -> None:
    """An empty block changes none of the fields of the runtime's pod."""
    pod = derived({"image": "a:1", "podSpecOverrides": {}}, RUNTIME_POD)["template"]["spec"]
    assert {name: pod[name] for name in RUNTIME_POD} == RUNTIME_POD


def test_an_elastic_job_makes_lost_pods_anew() -> None:
    """Evictions do not count; the kubelet restarts nothing, or the Job would not count either."""
    fields = {"image": "a:1", "numNodes": 3, "minNodes": 2}
    job = derived(fields, {"restartPolicy": "OnFailure"}, ttlSecondsAfterFinished=0)
    assert job["backoffLimit"] == 3
    assert job["podReplacementPolicy"] == "Failed"
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "Ignore"
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert "ttlSecondsAfterFinished" not in job


def test_a_job_of_several_nodes_names_them() -> None:
    """A headless Service comes first, and the program is told where rank 0 is."""
    fields = {"image": "a:1", "nodes": 2, "ntasksPerNode": 4}
    service, job = render_job(target(job_spec(executor={"job": fields})), CONFIG).objects
    assert service["kind"] == "Service"
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["metadata"]["ownerReferences"][0]["kind"] == "ExecutionUnit"
    pod = job["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert pod["spec"]["subdomain"] == service["metadata"]["name"] == job["metadata"]["name"]
    found = {each["name"]: each for each in pod["spec"]["containers"][0]["env"]}
    assert found["MASTER_ADDR"]["value"] == "sft-train-1-0.sft-train-1"
    assert found["NNODES"]["value"] == "2"
    path = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    assert found["NODE_RANK"]["valueFrom"] == {"fieldRef": {"fieldPath": path}}


def test_the_longest_name_of_a_unit_leaves_room_for_the_names_of_its_pods() -> None:
    """The last host name of the most nodes fits into a DNS label."""
    fields = {"image": "a:1", "nodes": 1024}
    spec = job_spec(executor={"job": fields})
    _, job = render_job(target(spec, name="u" * 63, attempt=999), CONFIG).objects
    assert len(f"{job['metadata']['name']}-1023") <= 63
