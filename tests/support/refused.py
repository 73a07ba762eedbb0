"""Objects that the CRDs refuse, each with the message that tells the user what to do."""

from __future__ import annotations

from typing import Any

from tests.support.crds import Manifest, experiment, job, task, unit


def with_mount(path: str, **volume: Any) -> Manifest:
    """An experiment that mounts a volume at a path."""
    source = {"name": "v", "emptyDir": {}, **volume}
    mount = {"name": source["name"], "mountPath": path}
    return experiment(task(executor=job(volumes=[source], volumeMounts=[mount])))


def with_file(path: str) -> Manifest:
    """An experiment with one file of code."""
    return experiment(code={"inline": [{"path": path, "content": ""}]})


def final(*tasks: Manifest) -> Manifest:
    """The field of an experiment's last tasks, whose name is a keyword of Python."""
    return {"finally": list(tasks)}


def group(*names: str) -> Manifest:
    """A group of these roles, or of a good one."""
    return {"roles": [{"name": name, "script": {"inline": "true"}} for name in names or "a"]}


def grouped(*names: str) -> Manifest:
    """A task that is a group of exactly these roles."""
    return {"name": "a", "group": {"roles": group(*names)["roles"] if names else []}, **ON_A_JOB}


NO_TASK = "approvals and suspendTasks must name tasks of this experiment: correct the name"
ON_A_JOB = {"executor": job()}
PARAM = {"name": "a", "value": "1"}
TORCHRUN: Manifest = {"torchrun": {}}
GIT = {"url": "https://host/r"}
REFUSED: list[tuple[str, Manifest, str]] = [
    # Experiments
    (
        "two executors",
        experiment(task(executor={"job": {}, "trainJob": {}})),
        "set exactly one executor: job, trainJob or ray",
    ),
    (
        "no executor",
        experiment(task(executor={})),
        "set exactly one executor: job, trainJob or ray",
    ),
    ("no tasks", experiment() | {"spec": {"tasks": []}}, "should have at least 1 items"),
    ("too many tasks", experiment(*(task(f"t{n}") for n in range(129))), "at most 128 items"),
    ("a task twice", experiment(task(), task()), "Duplicate value"),
    (
        "a self edge",
        experiment(task(after=[{"task": "a"}])),
        "a task cannot run after itself: remove it from its own 'after'",
    ),
    (
        "an edge to nowhere",
        experiment(task(after=[{"task": "z"}])),
        "'after' names a task that is not in spec.tasks: correct the name",
    ),
    (
        "two edges to one parent",
        experiment(task(), task("b", after=[{"task": "a"}, {"task": "a", "when": "Failed"}])),
        "Duplicate value",
    ),
    (
        "an unknown way to end",
        experiment(task(), task("b", after=[{"task": "a", "when": "Done"}])),
        'supported values: "Succeeded", "Failed", "Finished"',
    ),
    (
        "a script of two kinds",
        experiment(task(script={"inline": "x", "path": "x.sh"})),
        "set exactly one of inline (the script's text), path (a file of the code) and module",
    ),
    (
        "no script",
        experiment(task(script={})),
        "set exactly one of inline (the script's text), path (a file of the code) and module",
    ),
    (
        "a launcher on Ray",
        experiment(task(launcher=TORCHRUN, executor={"ray": {}})),
        "launcher and group need executor.job or executor.trainJob: Ray starts its processes",
    ),
    (
        "an empty launcher",
        experiment(task(launcher={}, executor={"trainJob": {}})),
        "set torchrun or ft, with or without nsys, or nsys alone",
    ),
    (
        "two launchers",
        experiment(task(launcher={"torchrun": {}, "ft": {}}, executor={"trainJob": {}})),
        "set torchrun or ft, with or without nsys, or nsys alone",
    ),
    (
        "a group on Ray",
        experiment({"name": "a", "group": group(), "executor": {"ray": {}}}),
        "launcher and group need executor.job or executor.trainJob: Ray starts its processes",
    ),
    (
        "a script on a cluster that is only made",
        experiment(task(executor={"ray": {"cluster": {}}})),
        "a task that makes a Ray cluster has neither",
    ),
    (
        "a Ray cluster of two kinds",
        experiment(task(executor={"ray": {"cluster": {}, "clusterFrom": {"task": "b"}}})),
        "set at most one of cluster, clusterFrom and clusterSelector",
    ),
    (
        "fewer workers than the least",
        experiment(task(executor={"ray": {"workerGroups": [{"name": "ww", "minReplicas": 2}]}})),
        "minReplicas <= replicas <= maxReplicas must hold",
    ),
    (
        "an artifact of two kinds",
        experiment(task(artifacts=[{"name": "a", "path": "/a", "uri": "s3://b/a"}])),
        "set either path or uri of an artifact",
    ),
    (
        "an option for a package",
        experiment(task(packages={"requirements": ["--index-url=http://x"]})),
        "should match",
    ),
    ("a repository in a file", experiment(code={"git": {"url": "file:///a"}}), "should match"),
    ("a ref with a space", experiment(code={"git": {**GIT, "ref": "a b"}}), "should match"),
    ("a digest of nothing", experiment(code={"bundle": {"digest": "a", "size": 1}}), "match"),
    (
        "a reserved volume name",
        with_mount("/v", name="runyard-code"),
        "volume names that begin with 'runyard-' are reserved: choose another",
    ),
    ("a mount at /nemo_run", with_mount("/nemo_run"), "/nemo_run belongs to Runyard"),
    ("a mount below it", with_mount("/nemo_run/code"), "mount the volume elsewhere"),
    ("a way around it", with_mount("/tmp/../nemo_run"), "should match"),  # noqa: S108
    ("a mount at the root", with_mount("/"), "should be at least 2 chars long"),
    (
        "a volume of two kinds",
        with_mount("/v", secret={"secretName": "s"}),
        "set exactly one of persistentVolumeClaim, configMap, secret and emptyDir",
    ),
    ("a host path", with_mount("/v", hostPath={"path": "/"}), 'unknown field "spec.tasks[0].exec'),
    ("an escaping path", with_file("a/../../b"), "spec.code.inline[0].path in body should match"),
    ("a path that only goes up", with_file(".."), "spec.code.inline[0].path in body should match"),
    ("an absolute path", with_file("/etc/passwd"), "should match"),
    (
        "code of two kinds",
        experiment(code={"inline": [{"path": "a", "content": ""}], "configMap": {"name": "c"}}),
        "set exactly one code source: inline, configMap, bundle, git, pvc or uri",
    ),
    (
        "a variable of two kinds",
        experiment(
            task(env=[{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}])
        ),
        "set value or valueFrom, not both",
    ),
    (
        "a variable from nowhere",
        experiment(task(env=[{"name": "A", "valueFrom": {}}])),
        "set exactly one of secretKeyRef, configMapKeyRef and fieldRef",
    ),
    ("a variable twice", experiment(task(env=[{"name": "A"}, {"name": "A"}])), "Duplicate value"),
    ("a bad variable", experiment(task(env=[{"name": "A-B"}])), "should match"),
    ("a bad quantity", experiment(task(executor=job(cpu="lots"))), "should match"),
    ("no GPUs", experiment(task(executor=job(gpus=0))), "should be greater than or equal to 1"),
    (
        "a name that is too long",
        experiment(name="x" * 64),
        "metadata.name must be a DNS label that begins with a letter, at most 63 characters",
    ),
    ("a name with a dot", experiment(name="a.b"), "metadata.name must be a DNS label"),
    ("a name that begins with a digit", experiment(name="1a"), "metadata.name must be a DNS label"),
    ("a bad task name", experiment(task("A")), "should match"),
    (
        "a script and a group",
        experiment(task(group=group())),
        "set either script or group; a task that makes a Ray cluster has neither",
    ),
    (
        "neither script nor group",
        experiment({"name": "a", "executor": job()}),
        "set either script or group; a task that makes a Ray cluster has neither",
    ),
    ("a group of nobody", experiment(grouped()), "should have at least 1 items"),
    ("a role twice", experiment(grouped("a", "a")), "Duplicate value"),
    (
        "an empty matrix",
        experiment(task(matrix={})),
        "set parameters, include, or both: a matrix needs at least one member",
    ),
    (
        "a matrix without parameters",
        experiment(task(matrix={"parameters": {}})),
        "set parameters, include, or both: a matrix needs at least one member",
    ),
    (
        "a parameter without values",
        experiment(task(matrix={"parameters": {"a": []}})),
        "should have at least 1 items",
    ),
    (
        "an unknown class of failure",
        experiment(task(retry={"limit": 1, "failureClasses": ["BadLuck"]})),
        "supported values",
    ),
    ("a retry without a limit", experiment(task(retry={})), "limit: Required value"),
    ("success as a failure", experiment(task(retry={"limit": 1, "exitCodes": [0]})), "equal to 1"),
    ("no time at all", experiment(task(deadlines={"activeSeconds": 0})), "equal to 1"),
    ("a time before the end", experiment(ttlSecondsAfterFinished=-1), "equal to 0"),
    ("no parallelism", experiment(maxParallel=0), "should be greater than or equal to 1"),
    (
        "too many at the end",
        experiment(**final(*(task(f"t{n}") for n in range(17)))),
        "most 16",
    ),
    ("a parameter twice", experiment(params=[PARAM, PARAM]), "Duplicate value"),
    ("a bad parameter", experiment(params=[{"name": "a-b", "value": ""}]), "should match"),
    ("two verdicts", experiment(approvals=[{"task": "a"}, {"task": "a"}]), "Duplicate value"),
    (
        "an unknown verdict",
        experiment(approvals=[{"task": "a", "verdict": "Maybe"}]),
        'supported values: "Approve", "Reject"',
    ),
    (
        "an approval of no task",
        experiment(approvals=[{"task": "z"}]),
        "approvals and suspendTasks must name tasks of this experiment: correct the name",
    ),
    (
        "a suspended task that is none",
        experiment(suspendTasks=["z"]),
        "approvals and suspendTasks must name tasks of this experiment: correct the name",
    ),
    ("a verdict on no task", experiment(approvals=[{"task": "z"}]), NO_TASK),
    ("a suspend of no task", experiment(suspendTasks=["z"]), NO_TASK),
    ("an unknown mode", experiment(mode="Try"), 'supported values: "Run", "Plan"'),
    ("a rerun of nothing", experiment(rerunOf={}), "rerunOf.name: Required value"),
    ("an unknown field", experiment(task(replicas=3)), 'unknown field "spec.tasks[0].replicas"'),
    ("an unknown policy", experiment(failurePolicy="Retry"), "supported values"),
    ("no spec", {k: v for k, v in experiment().items() if k != "spec"}, "spec: Required value"),
    # Units
    (
        "a unit with two executors",
        unit(executor={"job": {}, "trainJob": {}}),
        "set exactly one executor: job, trainJob or ray",
    ),
    (
        "a unit with a launcher on Ray",
        unit(launcher=TORCHRUN, executor={"ray": {}}),
        "launcher and group need executor.job or executor.trainJob: Ray starts its processes",
    ),
    ("a unit with a long name", unit(name="x" * 64), "metadata.name must be a DNS label"),
]
