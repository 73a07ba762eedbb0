"""What the chart renders to, by the real helm binary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.helm import CHART, NAMESPACE, ROOT, grants, helm, of_kind, render

CRDS = sorted((ROOT / "crds").glob("*.yaml"))

NAMESPACED = {
    "experiments.runyard.dev": ["delete", "get", "list", "patch", "watch"],
    "executionunits.runyard.dev": ["create", "delete", "get", "list", "patch", "watch"],
    "experiments/status.runyard.dev": ["patch"],
    "executionunits/status.runyard.dev": ["patch"],
    "experiments/finalizers.runyard.dev": ["update"],
    "executionunits/finalizers.runyard.dev": ["update"],
    "executionprofiles.runyard.dev": ["get", "list", "watch"],
    "jobs.batch": ["create", "delete", "get", "list", "patch", "watch"],
    "trainjobs.trainer.kubeflow.org": ["create", "delete", "get", "list", "patch", "watch"],
    "rayclusters.ray.io": ["create", "delete", "get", "list", "watch"],
    "rayjobs.ray.io": ["create", "delete", "get", "list", "patch", "watch"],
    "trainingruntimes.trainer.kubeflow.org": ["create", "get", "list", "watch"],
    "workloads.kueue.x-k8s.io": ["list", "patch"],
    "pods": ["get", "list", "watch"],
    "pods/log": ["get"],
    "configmaps": ["create", "delete", "get", "list", "patch"],
    "services": ["create", "get"],
    "events": ["create", "list"],
}
CLUSTER = {
    "backends.runyard.dev": ["get", "list", "watch"],
    "clustertrainingruntimes.trainer.kubeflow.org": ["get", "list", "watch"],
    "customresourcedefinitions.apiextensions.k8s.io": ["get", "list", "watch"],
}


def operators_role(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The ClusterRole that is bound to the operator."""
    bound = of_kind(objects, "ClusterRoleBinding")[0]["roleRef"]["name"]
    return next(
        each for each in of_kind(objects, "ClusterRole") if each["metadata"]["name"] == bound
    )


def container(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The operator's container."""
    found: dict[str, Any] = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"][
        "containers"
    ][0]
    return found


def environment(objects: list[dict[str, Any]]) -> dict[str, str]:
    """The literal environment variables of the operator."""
    return {each["name"]: each["value"] for each in container(objects)["env"] if "value" in each}


def test_lint_has_no_complaint() -> None:
    """Helm lint accepts the chart, warnings included."""
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.stem)
def test_chart_carries_the_generated_crds(path: Path) -> None:
    """The chart's copy of each CRD is the generated file; `python -m runyard.api.crd FOLDER`."""
    assert (CHART / "files" / "crds" / path.name).read_text() == path.read_text()


def test_chart_has_no_other_crds() -> None:
    """A CRD that is no longer generated is not in the chart either."""
    copies = sorted(each.name for each in (CHART / "files" / "crds").iterdir())
    assert [each.name for each in CRDS] == copies


def test_rendering_keeps_the_crds_meaning() -> None:
    """Each rendered CRD has the very spec of the generated file and outlives the release."""
    rendered = {
        each["metadata"]["name"]: each for each in of_kind(render(), "CustomResourceDefinition")
    }
    for path in CRDS:
        generated = yaml.safe_load(path.read_text())
        found = rendered.pop(generated["metadata"]["name"])
        assert generated["spec"] == found["spec"]
        assert found["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert rendered == {}


def test_crds_can_be_left_out_or_let_go() -> None:
    """crds.enabled=false renders none; crds.keep=false lets uninstall remove them."""
    assert of_kind(render("--set", "crds.enabled=false"), "CustomResourceDefinition") == []
    loose = of_kind(render("--set", "crds.keep=false"), "CustomResourceDefinition")
    assert len(loose) == len(CRDS)
    assert all("annotations" not in each["metadata"] for each in loose)


def test_cluster_wide_rights_are_the_least() -> None:
    """Without watchNamespaces one ClusterRole grants exactly what the operator does."""
    objects = render()
    assert grants(operators_role(objects)) == NAMESPACED | CLUSTER
    (lease,) = of_kind(objects, "Role")
    assert lease["metadata"]["namespace"] == NAMESPACE
    assert grants(lease) == {"leases.coordination.k8s.io": ["create", "get", "update"]}
    named, unnamed = lease["rules"]
    assert named["resourceNames"] == [environment(objects)["RUNYARD_LEASE_NAME"]]
    assert unnamed["verbs"] == ["create"]


def test_watched_namespaces_get_roles_instead() -> None:
    """With watchNamespaces the ClusterRole keeps only what has no namespace."""
    objects = render("--set", "watchNamespaces={team-a,team-b}")
    assert grants(operators_role(objects)) == CLUSTER
    roles = [(each["metadata"]["namespace"], grants(each)) for each in of_kind(objects, "Role")]
    assert sorted(roles, key=str) == sorted(
        [
            ("team-a", NAMESPACED),
            ("team-b", NAMESPACED),
            (NAMESPACE, {"executionprofiles.runyard.dev": ["get", "list", "watch"]}),
            (NAMESPACE, {"leases.coordination.k8s.io": ["create", "get", "update"]}),
        ],
        key=str,
    )
    for binding in of_kind(objects, "RoleBinding"):
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "runyard", "namespace": NAMESPACE}
        ]
    assert environment(objects)["RUNYARD_NAMESPACES"] == "team-a,team-b"


@pytest.mark.parametrize("options", [(), ("--set", "watchNamespaces={a}")])
def test_nobody_is_granted_secrets_or_wildcards(options: tuple[str, ...]) -> None:
    """No role of the chart mentions Secrets or says `*`."""
    objects = render(*options)
    for role in of_kind(objects, "ClusterRole") + of_kind(objects, "Role"):
        assert "secrets" not in grants(role)
        assert "*" not in json.dumps(role["rules"])


def test_users_may_edit_experiments_but_not_their_status() -> None:
    """The built-in edit role gains the kinds of users, and no status."""
    edit = next(
        each
        for each in of_kind(render(), "ClusterRole")
        if each["metadata"]["name"].endswith("-edit")
    )
    assert "experiments.runyard.dev" in grants(edit)
    assert not [name for name in grants(edit) if "/status" in name]
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"


def test_pod_meets_the_restricted_level() -> None:
    """The operator's pod is what Pod Security's `restricted` level asks for."""
    pod = of_kind(render(), "Deployment")[0]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_operator_knows_its_own_image() -> None:
    """RUNYARD_IMAGE is the container's image, by tag or by digest."""
    digest = "sha256:" + "a" * 64
    tagged = render("--set", "image.repository=example.test/operator,image.tag=1.2")
    pinned = render("--set", f"image.repository=example.test/operator,image.digest={digest}")
    assert container(tagged)["image"] == "example.test/operator:1.2"
    assert container(pinned)["image"] == f"example.test/operator@{digest}"
    for objects in (tagged, pinned):
        assert environment(objects)["RUNYARD_IMAGE"] == container(objects)["image"]


def test_the_index_of_packages_reaches_the_operator() -> None:
    """It is the default for tasks that name none; unset, nothing is said."""
    index = "https://pypi.example/simple"
    for options, value in (((), None), (("--set", f"packages.indexUrl={index}"), index)):
        pod = of_kind(render(*options), "Deployment")[0]["spec"]["template"]["spec"]
        env = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
        assert env.get("RUNYARD_PACKAGE_INDEX") == value


def test_two_replicas_elect_a_leader() -> None:
    """An upgrade starts the new pods first; a drain of nodes leaves one; two nodes are better."""
    objects = render()
    (deployment,) = of_kind(objects, "Deployment")
    spec = deployment["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert environment(objects)["RUNYARD_LEADER_ELECT"] == "true"
    assert environment(objects)["RUNYARD_LEASE_SECONDS"] == "6"
    pods = spec["template"]["metadata"]["labels"]
    (budget,) = of_kind(objects, "PodDisruptionBudget")
    assert budget["spec"]["minAvailable"] == 1
    assert budget["spec"]["selector"]["matchLabels"].items() <= pods.items()
    affinity = spec["template"]["spec"]["affinity"]["podAntiAffinity"]
    (apart,) = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    assert apart["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    selector = apart["podAffinityTerm"]["labelSelector"]["matchLabels"]
    assert selector.items() <= pods.items()


def test_one_replica_needs_no_budget() -> None:
    """It would block every drain of its node; the lease stays, for the time of an upgrade."""
    objects = render("--set", "replicas=1")
    assert of_kind(objects, "PodDisruptionBudget") == []
    assert environment(objects)["RUNYARD_LEADER_ELECT"] == "true"


def test_ones_own_affinity_wins() -> None:
    """What the user says about nodes replaces the chart's preference."""
    own = '{"nodeAffinity": {"x": []}}'
    objects = render("--set-json", f"affinity={own}")
    pod = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]
    assert pod["affinity"] == json.loads(own)


def test_add_ons_come_when_asked_for() -> None:
    """PodMonitor and NetworkPolicy are rendered only when enabled."""
    assert not {"PodMonitor", "NetworkPolicy"} & {each["kind"] for each in render()}
    objects = render(
        "--set", "metrics.podMonitor.enabled=true", "--set", "networkPolicy.enabled=true"
    )
    assert {"PodMonitor", "NetworkPolicy"} <= {each["kind"] for each in objects}


def test_two_releases_share_no_cluster_wide_name() -> None:
    """Releases in other namespaces have cluster roles of other names."""
    names = [
        {
            each["metadata"]["name"]
            for each in of_kind(render("--namespace", namespace), "ClusterRole")
        }
        for namespace in ("one", "two")
    ]
    assert not names[0] & names[1]


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("replicas=0", "replicas"),
        ("leaseSeconds=2", "leaseSeconds"),
        ("image.tagg=x", "tagg"),
        ("image.repository=", "repository"),
        ("image.digest=latest", "digest"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("watchNamespaces=team-a", "watchNamespaces"),
        ("watchNamespaces={Team_A}", "watchNamespaces"),
        ("crds.keep=maybe", "keep"),
        ("logLevel=loud", "logLevel"),
        ("packages.indexUrl=https://u:p@pypi.example/simple", "indexUrl"),
        ("resources.cpu=1", "cpu"),
        ("networkPolicy.apiServerPorts={70000}", "apiServerPorts"),
    ],
)
def test_wrong_values_are_refused(option: str, complaint: str) -> None:
    """A misspelt or malformed value stops the installation and is named."""
    done = helm("template", "runyard", str(CHART), "--set", option)
    assert done.returncode != 0
    assert complaint in done.stderr


def test_foreign_service_account_must_be_named() -> None:
    """serviceAccount.create=false without a name is refused with what to do."""
    done = helm("template", "runyard", str(CHART), "--set", "serviceAccount.create=false")
    assert done.returncode != 0
    assert "serviceAccount.name is needed" in done.stderr
