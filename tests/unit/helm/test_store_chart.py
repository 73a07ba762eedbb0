"""What the chart renders for the code store."""

from __future__ import annotations

from typing import Any

from tests.support.helm import NAMESPACE, grants, of_kind, render

ON = ("--set", "bundleStore.enabled=true,networkPolicy.enabled=true")


def named(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """The one object of the kind and name."""
    (found,) = [each for each in of_kind(objects, kind) if each["metadata"]["name"] == name]
    return found


def test_nothing_of_the_store_is_rendered_unless_asked_for() -> None:
    """A volume is claimed only by those who want one; the operator then knows of no store."""
    assert not [each for each in render() if "store" in each["metadata"]["name"]]
    (deployment,) = of_kind(render(), "Deployment")
    assert "RUNYARD_STORE" not in str(deployment)


def test_the_operators_objects_do_not_find_the_stores_pods() -> None:
    """Selectors tell them apart; the operator and the store share one key."""
    objects = render(*ON)
    store, operator = (named(objects, "Deployment", name) for name in ("runyard-store", "runyard"))
    labels = store["spec"]["template"]["metadata"]["labels"]
    budget = of_kind(objects, "PodDisruptionBudget")[0]["spec"]["selector"]["matchLabels"]
    metrics = named(objects, "Service", "runyard-metrics")["spec"]["selector"]
    for selector in (operator["spec"]["selector"]["matchLabels"], budget, metrics):
        assert not selector.items() <= labels.items()
    assert named(objects, "Service", "runyard-store")["spec"]["selector"].items() <= labels.items()
    secrets = [
        volume["secret"]["secretName"]
        for deployment in (store, operator)
        for volume in deployment["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
    ]
    assert secrets == ["runyard-store"] * 2
    assert store["spec"]["strategy"] == {"type": "Recreate"}


def test_the_stores_pod_meets_the_restricted_level() -> None:
    """Without `ownVolume`; with it only its init container is root, with one capability."""
    pod = named(render(*ON), "Deployment", "runyard-store")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert "initContainers" not in pod
    (container,) = pod["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    own = named(render(*ON, "--set", "bundleStore.ownVolume=true"), "Deployment", "runyard-store")
    pod = own["spec"]["template"]["spec"]
    assert pod["containers"][0]["securityContext"]["runAsNonRoot"] is True
    capabilities = pod["initContainers"][0]["securityContext"]["capabilities"]
    assert capabilities == {"drop": ["ALL"], "add": ["CHOWN"]}


def test_rights_of_store_and_users_are_the_least() -> None:
    """The store reads and writes ConfigMaps; users get the way to one port of one Service."""
    objects = render(*ON)
    store = named(objects, "ClusterRole", f"{NAMESPACE}-runyard-store")
    assert grants(store) == {"configmaps": ["create", "get", "list", "patch"]}
    users = named(objects, "Role", "runyard-store-users")
    assert grants(users) == {"services/proxy": ["create", "get", "update"]}
    assert users["rules"][0]["resourceNames"] == ["runyard-store:http"]
    (subject,) = named(objects, "RoleBinding", "runyard-store-users")["subjects"]
    assert (subject["kind"], subject["name"]) == ("Group", "system:authenticated")
    within = render(*ON, "--set", "watchNamespaces={team-a}")
    assert f"{NAMESPACE}-runyard-store" not in [
        each["metadata"]["name"] for each in of_kind(within, "ClusterRole")
    ]
    role = named(within, "Role", f"{NAMESPACE}-runyard-store")
    assert role["metadata"]["namespace"] == "team-a"


def test_key_and_volume_outlive_the_release() -> None:
    """As the experiments do whose code they are; a key of one's own is used as it is."""
    objects = render(*ON)
    for kind in ("PersistentVolumeClaim", "Secret"):
        kept = named(objects, kind, "runyard-store")["metadata"]["annotations"]
        assert kept == {"helm.sh/resource-policy": "keep"}
    own = render(*ON, "--set", "bundleStore.existingSecret=ours,bundleStore.storageClassName=fast")
    assert of_kind(own, "Secret") == []
    assert "'secretName': 'ours'" in str(named(own, "Deployment", "runyard-store"))
    claim = named(own, "PersistentVolumeClaim", "runyard-store")
    assert claim["spec"]["storageClassName"] == "fast"
