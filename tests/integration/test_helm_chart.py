"""The chart on a real API server: install, upgrade, uninstall, and what the operator may do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.cluster import Cluster, running_cluster
from tests.support import clusters, crds
from tests.support.examples import FOLDER
from tests.support.helm import CHART, NAMESPACE, helm
from tests.support.kubectl import Kubectl
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("helm")]

TEAM = "team-a"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:runyard"
CRDS = sorted(
    yaml.safe_load(path.read_text())["metadata"]["name"]
    for path in (CHART / "files" / "crds").iterdir()
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of its own: CRDs that others put there would not be helm's."""
    with running_cluster("helm", root=clusters.own_root()) as running:
        yield running


@pytest.fixture(scope="module")
def users(cluster: Cluster) -> Kubectl:
    """Kubectl in a namespace of users."""
    kubectl = Kubectl(cluster.home.root / "bin" / "kubectl", cluster.kubeconfig, TEAM)
    kubectl.run("create", "namespace", TEAM)
    return kubectl


@pytest.fixture(autouse=True)
def release(cluster: Cluster, users: Kubectl) -> Iterator[None]:
    """The chart, installed with its defaults; afterwards no experiment is left."""
    install(cluster)
    yield
    users.run("delete", "experiments.runyard.dev", "--all")


def install(cluster: Cluster, *options: str, chart: Path = CHART) -> None:
    """Installs or upgrades the release, and waits until the CRDs are served."""
    command = ["upgrade", "--install", "runyard", str(chart), "--namespace", NAMESPACE]
    done = helm(*command, "--create-namespace", *options, kubeconfig=cluster.kubeconfig)
    assert done.returncode == 0, done.stderr
    crds.wait_served(Kubectl(cluster.home.root / "bin" / "kubectl", cluster.kubeconfig, NAMESPACE))


def operators_objects(users: Kubectl) -> str:
    """What the chart made beside the CRDs, by name."""
    kinds = "deployments,services,serviceaccounts,roles,rolebindings,poddisruptionbudgets"
    label = "app.kubernetes.io/instance=runyard"
    own = users.run("get", kinds, "-n", NAMESPACE, "-l", label, "-o", "name")
    return own + users.run("get", "clusterroles,clusterrolebindings", "-l", label, "-o", "name")


def test_experiments_can_be_written_after_the_installation(users: Kubectl) -> None:
    """The CRDs are served, and a second apply of the same file changes nothing."""
    hello = str(FOLDER / "hello.yaml")
    users.run("apply", "--server-side", "-f", hello)
    users.run("apply", "--server-side", "-f", hello)
    found = users.get("experiments.runyard.dev", "hello")
    assert found is not None
    assert found["metadata"]["generation"] == 1


def test_commands_of_the_notes_work(cluster: Cluster, users: Kubectl) -> None:
    """The commands that the release's notes name are accepted by this cluster."""
    done = helm("get", "notes", "runyard", "--namespace", NAMESPACE, kubeconfig=cluster.kubeconfig)
    commands = [line.split() for line in done.stdout.splitlines() if line.startswith("  kubectl")]
    assert len(commands) == 3
    for _, *arguments in commands:
        # There is no node to run the operator on: looking is enough.
        shown = [each.replace("status", "history") if each == "status" else each
                 for each in arguments]  # fmt: skip
        users.run(*shown)


def test_upgrade_brings_changed_crds(cluster: Cluster, users: Kubectl, tmp_path: Path) -> None:
    """A field that a newer chart adds is served after the upgrade; experiments stay."""
    users.run("apply", "--server-side", "-f", str(FOLDER / "hello.yaml"))
    newer = tmp_path / "runyard"
    shutil.copytree(CHART, newer)
    path = newer / "files" / "crds" / "runyard.dev_experiments.yaml"
    crd = yaml.safe_load(path.read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["fromTheFuture"] = {"type": "string"}
    path.write_text(yaml.safe_dump(crd))

    install(cluster, chart=newer)

    eventually(
        lambda: (
            users.result("explain", "experiments.runyard.dev.spec.fromTheFuture").returncode == 0
        ),
        "the new field is served",
    )
    assert users.get("experiments.runyard.dev", "hello") is not None


def test_uninstall_leaves_crds_and_user_data(cluster: Cluster, users: Kubectl) -> None:
    """After helm uninstall the operator is gone and all that users wrote is there."""
    users.run("apply", "--server-side", "-f", str(FOLDER / "quickstart.yaml"))
    before = users.get("experiments.runyard.dev", "quickstart")
    assert operators_objects(users) != ""

    command = ("uninstall", "runyard", "--namespace", NAMESPACE)
    assert helm(*command, kubeconfig=cluster.kubeconfig).returncode == 0

    eventually(lambda: operators_objects(users) == "", "the operator's objects are gone")
    assert users.get("experiments.runyard.dev", "quickstart") == before
    assert users.get("pvc", "quickstart-data") is not None


def test_installing_again_takes_the_kept_crds_over(cluster: Cluster, users: Kubectl) -> None:
    """Uninstall and install leave experiments as they were."""
    users.run("apply", "--server-side", "-f", str(FOLDER / "hello.yaml"))
    before = users.get("experiments.runyard.dev", "hello")
    helm("uninstall", "runyard", "--namespace", NAMESPACE, kubeconfig=cluster.kubeconfig)

    install(cluster)

    assert users.get("experiments.runyard.dev", "hello") == before


MAY = [
    ("list", "experiments.runyard.dev"),
    ("watch", "experiments.runyard.dev"),
    ("patch", "experiments.runyard.dev"),
    ("patch", "experiments/status.runyard.dev"),
    ("create", "executionunits.runyard.dev"),
    ("delete", "executionunits.runyard.dev"),
    ("patch", "executionunits/status.runyard.dev"),
    ("update", "executionunits/finalizers.runyard.dev"),
    ("get", "executionprofiles.runyard.dev"),
    ("create", "jobs.batch"),
    ("delete", "jobs.batch"),
    ("create", "trainjobs.trainer.kubeflow.org"),
    ("create", "trainingruntimes.trainer.kubeflow.org"),
    ("watch", "rayjobs.ray.io"),
    ("create", "rayjobs.ray.io"),
    ("patch", "rayjobs.ray.io"),
    ("delete", "rayjobs.ray.io"),
    ("list", "rayclusters.ray.io"),
    ("create", "rayclusters.ray.io"),
    ("delete", "rayclusters.ray.io"),
    ("list", "workloads.kueue.x-k8s.io"),
    ("patch", "workloads.kueue.x-k8s.io"),
    ("patch", "jobs.batch"),
    ("patch", "trainjobs.trainer.kubeflow.org"),
    ("delete", "experiments.runyard.dev"),
    ("create", "configmaps"),
    ("patch", "configmaps"),
    ("list", "configmaps"),
    ("delete", "configmaps"),
    ("watch", "pods"),
    ("list", "events"),
    ("create", "events"),
    ("create", "services"),
    ("get", "services"),
]
MAY_NOT = [
    ("get", "secrets"),
    ("list", "secrets"),
    ("create", "pods"),
    ("delete", "pods"),
    ("create", "pods/exec"),
    ("update", "configmaps"),
    ("watch", "configmaps"),
    ("list", "services"),
    ("patch", "services"),
    ("delete", "services"),
    ("update", "jobs.batch"),
    ("patch", "rayclusters.ray.io"),
    ("create", "experiments.runyard.dev"),
    ("patch", "executionprofiles.runyard.dev"),
    ("delete", "persistentvolumeclaims"),
    ("create", "serviceaccounts/token"),
    ("create", "rolebindings.rbac.authorization.k8s.io"),
    ("impersonate", "users"),
]
EVERYWHERE = [
    ("watch", "backends.runyard.dev"),
    ("get", "clustertrainingruntimes.trainer.kubeflow.org"),
    ("list", "customresourcedefinitions.apiextensions.k8s.io"),
]
NOWHERE = [
    ("patch", "customresourcedefinitions.apiextensions.k8s.io"),
    ("create", "namespaces"),
    ("list", "nodes"),
    ("patch", "backends.runyard.dev"),
    ("create", "clustertrainingruntimes.trainer.kubeflow.org"),
]


LEASE = "leases.coordination.k8s.io"


def allowed(
    users: Kubectl,
    questions: list[tuple[str, str]],
    namespace: str | None = TEAM,
    name: str = "",
) -> list[tuple[str, str]]:
    """Which of these the API server's authorizer lets the operator's service account do."""
    reviews = [review(*each, namespace or "", name) for each in questions]
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": reviews})
    template = 'jsonpath={.status.allowed}{"\\n"}'
    answers = users.run("create", "-f", "-", "-o", template, stdin=document).split()
    pairs = zip(questions, answers, strict=True)
    return [question for question, answer in pairs if answer == "true"]


def review(verb: str, resource: str, namespace: str, name: str) -> dict[str, Any]:
    """The question whether the operator may `verb` a resource, written `plural[/sub][.group]`."""
    whole, _, group = resource.partition(".")
    plural, _, sub = whole.partition("/")
    attributes = {"verb": verb, "group": group, "resource": plural, "subresource": sub}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": OPERATOR,
            # The groups that the API server gives to every service account.
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": {**attributes, "namespace": namespace, "name": name},
        },
    }


def test_operator_may_do_its_work_and_nothing_else(users: Kubectl) -> None:
    """The table of rights in a namespace of users, as the authorizer sees it."""
    assert allowed(users, MAY + MAY_NOT) == MAY
    assert allowed(users, EVERYWHERE + NOWHERE, namespace=None) == EVERYWHERE


def test_operator_may_hold_its_own_lease_only(users: Kubectl) -> None:
    """It may make a Lease at home, and read and renew the one that bears its name."""
    verbs = ("get", "update", "create", "delete", "patch", "list")
    asked = [(verb, LEASE) for verb in verbs]
    assert allowed(users, asked, namespace=NAMESPACE) == [("create", LEASE)]
    assert allowed(users, asked, namespace=NAMESPACE, name="runyard") == asked[:3]
    assert allowed(users, asked, name="runyard") == []


def test_watch_namespaces_confines_the_operator(cluster: Cluster, users: Kubectl) -> None:
    """With watchNamespaces the operator works in these, and is a stranger in all others."""
    install(cluster, "--set", f"watchNamespaces={{{TEAM}}}")
    assert allowed(users, MAY + MAY_NOT) == MAY
    assert allowed(users, MAY, namespace="default") == []
    profiles = ("get", "executionprofiles.runyard.dev")
    assert allowed(users, [profiles], namespace=NAMESPACE) == [profiles]


def test_editors_of_a_namespace_may_run_experiments(users: Kubectl) -> None:
    """Who is bound to the built-in role `edit` may write experiments, and not their status."""
    users.run("create", "rolebinding", "ed", "--clusterrole=edit", "--user=ed")

    def can(verb: str, *resource: str) -> str:
        return users.result("auth", "can-i", verb, *resource, "--as", "ed").stdout.strip()

    eventually(lambda: can("create", "experiments.runyard.dev") == "yes", "the role is aggregated")
    assert can("patch", "experiments.runyard.dev", "--subresource=status") == "no"
