"""The CRDs on a real API server: accepted as structural, and strict with a hint on what to do."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from testbed.cluster import Cluster
from tests.support.crds import (
    API,
    Manifest,
    check_change,
    experiment,
    installed,
    job,
    rules,
    task,
    unit,
)
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.integration

LONG = "language-model-sweep-on-eu-2026"[:30]
ANOTHER_NAME = "create an experiment with another name"


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[Kubectl]:
    """Kubectl in one namespace for the whole module, with the CRDs installed."""
    with installed(cluster) as kubectl:
        yield kubectl


def refusal(api: Kubectl, manifest: Manifest) -> str:
    """What the API server says to a user who creates this."""
    done = api.result("create", "--dry-run=server", "-f", "-", stdin=json.dumps(manifest))
    assert done.returncode != 0, done.stdout
    return done.stderr


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
REFUSED: list[tuple[str, Manifest, str]] = [
    # Experiments
    (
        "two executors",
        experiment(task(executor={"job": {}, "trainJob": {}})),
        "set exactly one executor: job or trainJob",
    ),
    ("no executor", experiment(task(executor={})), "set exactly one executor: job or trainJob"),
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
        "set either inline (the script's text) or path (a file of the code)",
    ),
    (
        "no script",
        experiment(task(script={})),
        "set either inline (the script's text) or path (a file of the code)",
    ),
    (
        "a launcher on a job",
        experiment(task(launcher=TORCHRUN)),
        "launcher.torchrun needs executor.trainJob: a job is one pod",
    ),
    (
        "an empty launcher",
        experiment(task(launcher={}, executor={"trainJob": {}})),
        "set a launcher: torchrun is the one there is",
    ),
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
        "set exactly one code source: inline or configMap",
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
        "set either script or group",
    ),
    (
        "neither script nor group",
        experiment({"name": "a", "executor": job()}),
        "set either script or group",
    ),
    (
        "a group on a training job",
        experiment({"name": "a", "group": group(), "executor": {"trainJob": {}}}),
        "group needs executor.job: its roles are containers of one pod",
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
        "set exactly one executor: job or trainJob",
    ),
    (
        "a unit with a launcher on a job",
        unit(launcher=TORCHRUN),
        "launcher.torchrun needs executor.trainJob: a job is one pod",
    ),
    ("a unit with a long name", unit(name="x" * 64), "metadata.name must be a DNS label"),
]


@pytest.mark.parametrize(
    ("manifest", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_bad_object_is_refused_with_what_to_do(
    api: Kubectl, manifest: Manifest, message: str
) -> None:
    """The user's own kubectl shows it, before anything is stored."""
    assert message in refusal(api, manifest)


def test_every_rule_is_broken_by_an_object() -> None:
    """Each message that the CRDs can give on creation is expected above."""
    expected = [message for _, _, message in REFUSED]
    unseen = {
        message
        for expression, message in rules()
        if "oldSelf" not in expression and not any(each in message for each in expected)
    }
    assert unseen == set()


BIG = experiment(
    *(
        task(
            f"task-{number:03}-{'x' * 54}",
            after=[{"task": f"task-{n:03}-{'x' * 54}"} for n in range(max(number - 32, 0), number)],
        )
        for number in range(128)
    ),
    name="x" * 63,
)
GOOD: list[tuple[str, Manifest]] = [
    ("the least", experiment()),
    ("the biggest graph", BIG),
    (
        "training with everything",
        experiment(
            task("prep", outputs=[{"name": "rows"}]),
            task(
                "train",
                after=[{"task": "prep"}],
                launcher={"torchrun": {"maxRestarts": 1}},
                env=[{"name": "ROWS", "value": "${tasks.prep.outputs.rows}"}],
                executor={"trainJob": {"numNodes": 2, "nprocsPerNode": 2, "memory": "1.5Gi"}},
            ),
            defaults={"profile": "cpu", "executor": {"job": {"image": "a"}, "trainJob": {}}},
            code={"inline": [{"path": ".config/pkg/__init__.py", "content": "x: yes"}]},
            failurePolicy="Continue",
        ),
    ),
    ("volumes", with_mount("/data/")),
    (
        "everything about the order of tasks",
        experiment(
            task("a", matrix={"parameters": {"n": ["1", "2"]}, "maxParallel": 1}),
            task("b", matrix={"include": [{"n": "3"}]}, allowFailure=True),
            task(
                "c",
                after=[{"task": "a"}, {"task": "b", "when": "Failed"}],
                afterPolicy="Any",
                approval={"message": "look"},
                retry={
                    "limit": 3,
                    "infrastructureLimit": 10,
                    "failureClasses": ["Error", "Timeout"],
                    "exitCodes": [1, 255],
                    "backoff": {"seconds": 0, "factor": 3, "maxSeconds": 60, "jitterPercent": 0},
                },
                deadlines={"queuedSeconds": 60, "activeSeconds": 60},
            ),
            {"name": "d", "group": {**group("x", "y"), "successPolicy": "Leader"}, **ON_A_JOB},
            params=[PARAM],
            rerunOf={"name": "earlier", "fromTasks": ["c"]},
            mode="Plan",
            maxParallel=2,
            suspend=True,
            suspendTasks=["a"],
            approvals=[{"task": "c", "verdict": "Reject", "message": "no"}],
            activeDeadlineSeconds=60,
            ttlSecondsAfterFinished=0,
            **final(task("f", deadlines={"activeSeconds": 60})),
        ),
    ),
    ("a unit of its own", unit()),
    (
        "a profile",
        {
            "apiVersion": API,
            "kind": "ExecutionProfile",
            "metadata": {"name": "gpu.h100"},
            "spec": {"extends": "base", "executor": job(gpus=8)},
        },
    ),
    (
        "a backend",
        {
            "apiVersion": API,
            "kind": "Backend",
            "metadata": {"name": "eos"},
            "spec": {"allowedNamespaces": ["team-a"]},
        },
    ),
]


@pytest.mark.parametrize("manifest", [row[1] for row in GOOD], ids=[row[0] for row in GOOD])
def test_a_good_object_is_accepted(api: Kubectl, manifest: Manifest) -> None:
    """No rule stands in the way of what the documentation shows, and none costs too much."""
    api.run("create", "--dry-run=server", "-f", "-", stdin=json.dumps(manifest))


def test_the_crds_are_structural_and_established(api: Kubectl) -> None:
    """No condition complains: schemas are structural and the rules are within their budget."""
    crds = json.loads(api.run("get", "crd", "-o", "json"))["items"]
    ours = [each for each in crds if each["spec"]["group"] == "runyard.dev"]
    assert len(ours) == 4
    for each in ours:
        conditions = {c["type"]: c["status"] for c in each["status"]["conditions"]}
        assert conditions == {"NamesAccepted": "True", "Established": "True"}
        assert "runyard" in each["spec"]["names"]["categories"]


# Changes

CHANGES: list[tuple[str, Manifest, Manifest, str | None]] = [
    ("a changed task", {}, {"tasks": [task(env=[{"name": "A", "value": "1"}])]}, ANOTHER_NAME),
    ("an added task", {}, {"tasks": [task(), task("b")]}, "tasks are immutable"),
    ("added defaults", {}, {"defaults": {"profile": "p"}}, "defaults are immutable"),
    ("added code", {}, {"code": {"configMap": {"name": "c"}}}, "code is immutable"),
    ("another policy", {}, {"failurePolicy": "Continue"}, "failurePolicy is immutable"),
    (
        "a cancel taken back",
        {"cancel": True},
        {"cancel": False},
        "cancel cannot be taken back: create the experiment anew",
    ),
    ("a cancel", {}, {"cancel": True}, None),
]


@pytest.mark.parametrize(
    ("spec", "change", "message"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES]
)
def test_an_experiment_changes_only_by_cancel(
    api: Kubectl, spec: Manifest, change: Manifest, message: str | None
) -> None:
    """Spec is the user's, and what runs is what was written first."""
    before = experiment(name="changing", **spec)
    check_change(api, before, change, message)


GATES = [{"name": "dependencies"}]
SKIP = {"reason": "FailFast"}
UNIT_CHANGES: list[tuple[str, Manifest, Manifest, str | None]] = [
    ("gates added again", {}, {"gates": GATES}, "gates can only be removed"),
    ("gates removed", {"gates": GATES}, {"gates": []}, None),
    (
        "work changed with the last gate",
        {"gates": GATES},
        {"gates": [], "env": [{"name": "A", "value": "1"}]},
        None,
    ),
    (
        "work changed afterwards",
        {},
        {"env": [{"name": "A", "value": "1"}]},
        "the work of a unit is immutable once its gates are gone: create a new unit",
    ),
    (
        "a launcher changed afterwards",
        {"executor": {"trainJob": {}}},
        {"launcher": TORCHRUN},
        "the work of a unit is immutable once its gates are gone: create a new unit",
    ),
    ("code changed", {"gates": GATES}, {"code": {"configMap": {"name": "c"}}}, "code is immutable"),
    ("another owner", {"gates": GATES}, {"experiment": "x"}, "they say whose unit this is"),
    ("a skip set", {"gates": GATES}, {"skip": SKIP}, None),
    ("a skip changed", {"skip": SKIP}, {"skip": {"reason": "Other"}}, "skip is final"),
    ("a skip taken back", {"skip": SKIP}, {"skip": None}, "skip is final"),
    ("a cancel taken back", {"cancel": True}, {"cancel": False}, "cancel cannot be taken back"),
    ("a cancel", {}, {"cancel": True}, None),
]


@pytest.mark.parametrize(
    ("spec", "change", "message"),
    [row[1:] for row in UNIT_CHANGES],
    ids=[row[0] for row in UNIT_CHANGES],
)
def test_a_unit_is_fixed_once_its_gates_are_gone(
    api: Kubectl, spec: Manifest, change: Manifest, message: str | None
) -> None:
    """What was submitted is what the spec says, for good."""
    check_change(api, unit(name="changing", **spec), change, message)


def test_applying_twice_makes_no_new_generation(api: Kubectl) -> None:
    """Also when map lists come in another order: tasks are known by their names."""
    manifest = experiment(task(), task("b", after=[{"task": "a"}]), name="twice")
    api.apply(manifest)
    again = copy.deepcopy(manifest)
    api.apply(again)
    found = api.get("rexp", "twice")
    assert found is not None
    assert found["metadata"]["generation"] == 1


def test_a_fresh_object_is_in_progress_and_complete(api: Kubectl) -> None:
    """The observedGeneration is -1 from birth, and defaults are written out."""
    api.apply(experiment(name="fresh"), unit("fresh"))
    for kind in ("rexp", "reu"):
        found = api.get(kind, "fresh")
        assert found is not None
        assert found["status"]["observedGeneration"] == -1
        assert "phase" not in found["status"]
        assert found["spec"]["cancel"] is False
    experiment_ = api.get("rexp", "fresh")
    assert experiment_ is not None
    assert experiment_["spec"]["failurePolicy"] == "FailFast"
    assert experiment_["spec"]["tasks"][0]["after"] == []


def test_users_cannot_write_the_status(api: Kubectl) -> None:
    """Status is a subresource: an apply of a copied object changes nothing in it."""
    manifest = {**experiment(name="copied"), "status": {"phase": "Succeeded"}}
    api.run("create", "-f", "-", stdin=json.dumps(manifest))
    found = api.get("rexp", "copied")
    assert found is not None
    assert "phase" not in found["status"]


def write_status(api: Kubectl, kind: str, name: str, **status: Any) -> None:
    """Writes a status as the operator does."""
    patch = json.dumps({"status": status})
    api.run("patch", kind, name, "--subresource=status", "--type=merge", "-p", patch)


def test_finished_objects_can_leave_a_watch(api: Kubectl) -> None:
    """The phase is selectable, and so is a unit's experiment; `!=` finds what has none yet."""
    api.apply(unit("done", experiment="one"), unit("open", experiment="one"), unit("other"))
    write_status(api, "reu", "done", phase="Succeeded")
    selector = "--field-selector=status.phase!=Succeeded,spec.experiment=one"
    names = api.run("get", "reu", selector, "-o", "name").split()
    assert names == ["executionunit.runyard.dev/open"]
    api.apply(experiment(name="running"))
    write_status(api, "rexp", "running", phase="Running")
    selector = "--field-selector=status.phase=Running"
    assert api.run("get", "rexp", selector, "-o", "name").split() == [
        "experiment.runyard.dev/running"
    ]


def test_the_table_fits_into_80_columns(cluster: Cluster, api: Kubectl) -> None:
    """With names of thirty characters, the longest phases and both kinds at once."""
    with cluster.fresh_namespace(wait=False) as namespace:
        kubectl = Kubectl(api.binary, api.kubeconfig, namespace)
        kubectl.apply(experiment(name=LONG), unit(LONG))
        write_status(kubectl, "rexp", LONG, phase="Cancelling", progress="10/12", reason="X" * 30)
        write_status(kubectl, "reu", LONG, phase="Submitting", reason="DependencyNotMet")
        lines = kubectl.run("get", "rexp,reu").splitlines()
        assert [line.split()[:2] for line in lines if line] == [
            ["NAME", "PHASE"],
            [f"experiment.runyard.dev/{LONG}", "Cancelling"],
            ["NAME", "PHASE"],
            [f"executionunit.runyard.dev/{LONG}", "Submitting"],
        ]
        assert max(len(line.rstrip()) for line in lines) <= 80
        wide = kubectl.run("get", "reu", "-o", "wide")
        assert "DependencyNotMet" in wide
        assert "runyard.dev" in kubectl.run("get", "runyard", "-o", "name")
