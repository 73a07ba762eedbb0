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
from tests.support.refused import (
    ON_A_JOB,
    PARAM,
    REFUSED,
    TORCHRUN,
    final,
    group,
    with_mount,
)

pytestmark = pytest.mark.integration

DIGEST = f"sha256:{'0' * 64}"
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
    *(
        (f"code from {next(iter(source))}", experiment(code=source))
        for source in (
            {"git": {"url": "git@host:r.git", "ref": "v1.0", "subpath": "a", "submodules": True}},
            {"git": {"url": "https://h/r", "commit": "0" * 40, "secret": {"name": "s"}}},
            {"bundle": {"digest": DIGEST, "size": 1}},
            {"pvc": {"claimName": "c", "subPath": "a/b", "digest": DIGEST}},
            {"uri": {"url": "https://host/a.tar.gz?x=1", "digest": DIGEST}},
        )
    ),
    (
        "a Ray cluster for two",
        experiment(
            {"name": "c", "executor": {"ray": {"image": "r", "cluster": {}}}},
            task("u", after=[{"task": "c"}], executor={"ray": {"clusterFrom": {"task": "c"}}}),
            task(
                "own",
                executor={
                    "ray": {
                        "image": "r",
                        "head": {"rayStartParams": {"num-cpus": "1"}},
                        "workerGroups": [{"name": "ww", "replicas": 0, "maxReplicas": 4}],
                        "autoscaler": {"idleTimeoutSeconds": 60},
                        "runtimeEnv": {"env_vars": {"A": "1"}},
                    }
                },
            ),
        ),
    ),
    (
        "pods with everything",
        experiment(
            task(
                executor=job(
                    nodes=2,
                    tolerations=[{"key": "gpu", "operator": "Exists"}],
                    affinity={"nodeAffinity": {}},
                    extraResourceRequests={"rdma/ib": "1"},
                    podSpecOverrides={"priorityClassName": "p", "resourceClaims": [{"name": "g"}]},
                    queueName="q",
                ),
                launcher={"ft": {"maxRestarts": 1}, "nsys": {}},
                packages={"requirements": ["numpy==2.0", "x @ https://h/x.whl"]},
                artifacts=[{"name": "model", "path": "/data/model"}],
            ),
        ),
    ),
    (
        "a gang",
        experiment({"name": "g", "group": group("x", "y"), "executor": {"trainJob": {}}}),
    ),
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
