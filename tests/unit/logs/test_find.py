"""Which containers of which pods are shown, and what their lines begin with."""

from __future__ import annotations

from typing import Any

from runyard.logs.archive import File, Manifest
from runyard.logs.describe import containers_of, ended, failed_init_containers, started
from runyard.logs.find import Choice, Source, of_archive, of_pods

RANK = "batch.kubernetes.io/job-completion-index"
JOB = "jobset.sigs.k8s.io/replicatedjob-name"


def pod(name: str = "p", *, made: str = "", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": f"uid-{name}",
            "labels": {"runyard.dev/task": "train", **labels},
            "creationTimestamp": made,
        },
        "spec": {"containers": [{"name": "main"}]},
        "status": {"phase": "Running"},
    }


def found(*pods: dict[str, Any], **choice: Any) -> list[tuple[str, str]]:
    """Prefix and pod of each source."""
    return [
        (each.prefix, each.pod["metadata"]["name"] if each.pod else "")
        for each in of_pods(pods, Choice(**choice))
    ]


def container(name: str, role: str) -> dict[str, Any]:
    return {"name": name, "env": [{"name": "RUNYARD_ROLE", "value": role}]}


def test_the_container_is_the_annotated_one_or_the_first() -> None:
    """Side-cars are not what people ask for."""
    item = pod()
    item["spec"]["containers"].append({"name": "side"})
    assert containers_of(item) == [("main", "")]
    item["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "side"}
    assert containers_of(item) == [("side", "")]
    assert not started(item, "side")
    item["status"]["containerStatuses"] = [{"name": "side", "state": {"running": {}}}]
    assert started(item, "side")
    assert not started(item, "main")
    assert not ended(item)


def test_an_init_container_that_failed_is_shown() -> None:
    """It says why the task never began; one that did its work says nothing."""
    item = pod()
    item["status"]["initContainerStatuses"] = [
        {"name": "runyard-code", "state": {"terminated": {"exitCode": 0}}},
        {"name": "runyard-packages", "state": {"terminated": {"exitCode": 1}}},
    ]
    assert failed_init_containers(item) == ["runyard-packages"]
    assert [prefix for prefix, _ in found(item)] == ["train/0:runyard-packages", "train/0"]


def test_every_role_of_a_group_is_shown() -> None:
    """The leader first, sidecars too; the prefix is the role's name."""
    item = pod("g")
    item["spec"] = {
        "initContainers": [{"name": "runyard-code"}, container("role-load", "load")],
        "containers": [container("main", "serve")],
    }
    (serve, load) = of_pods([item], Choice())
    assert [serve.prefix, load.prefix] == ["train/serve", "train/load"]
    assert [serve.container, load.container] == ["main", "role-load"]
    assert [each.container for each in of_pods([item], Choice(role="load"))] == ["role-load"]
    item["status"]["initContainerStatuses"] = [{"name": "role-load", "state": {"running": {}}}]
    assert started(item, "role-load")


def test_roles_that_are_pods_of_their_own_have_ranks() -> None:
    """Each role counts its nodes from 0: none stands in for another's."""

    def node(name: str, role: str, rank: str) -> dict[str, Any]:
        made = pod(name, **{RANK: rank, JOB: role})
        made["spec"]["containers"] = [container("node", role)]
        return made

    pods = [node("s0", "serve", "0"), node("l1", "load", "1"), node("l0", "load", "0")]
    assert found(*pods) == [("train/load/0", "l0"), ("train/load/1", "l1"), ("train/serve/0", "s0")]
    assert found(*pods, role="load", rank=1) == [("train/load/1", "l1")]


def test_the_pods_of_a_ray_cluster_are_told_apart() -> None:
    """The head, each worker by its name's end, and the pod that submits."""

    def ray(name: str, node: str, group: str) -> dict[str, Any]:
        return pod(name, **{"ray.io/node-type": node, "ray.io/group": group})

    pods = [
        ray("c-head-x1", "head", "headgroup"),
        ray("c-small-worker-b2", "worker", "small"),
        ray("c-small-worker-a1", "worker", "small"),
        pod("c-submit"),
    ]
    assert found(*pods) == [
        ("train/0", "c-submit"),
        ("train/head", "c-head-x1"),
        ("train/small-a1", "c-small-worker-a1"),
        ("train/small-b2", "c-small-worker-b2"),
    ]


def test_the_newest_attempt_counts_or_the_one_that_is_named() -> None:
    """Of its pods the newest of each rank: those before it were replaced."""

    def node(name: str, rank: str, attempt: str, made: str) -> dict[str, Any]:
        return pod(name, made=made, **{RANK: rank, "runyard.dev/attempt": attempt})

    pods = [
        node("new-1", "1", "2", "t4"),
        node("new-0", "0", "2", "t3"),
        node("lost-0", "0", "2", "t2"),
        node("old-0", "0", "1", "t1"),
    ]
    assert found(*pods) == [("train/0", "new-0"), ("train/1", "new-1")]
    assert found(*pods, rank=1) == [("train/1", "new-1")]
    assert found(*pods, attempt=1) == [("train/0", "old-0")]
    assert found(*pods, attempt=3) == []


def test_the_archive_says_the_same_of_a_log() -> None:
    """So its lines look as they did while the pod was there."""
    file = File(
        name="x",
        pod_uid="uid-a",
        container="node",
        rank=1,
        role="load",
        wide=True,
        init=False,
        size=1,
        sha256="",
        blocks=(),
        problem="",
    )
    choice = Choice(rank=1)
    (kept,) = of_archive("train", 3, 2, "uid-unit", Manifest((file,), ()), choice)
    item = pod("a", **{RANK: "1", JOB: "load", "runyard.dev/member": "3"})
    item["spec"]["containers"] = [container("node", "load")]
    (seen,) = of_pods([item], choice)
    assert (kept.prefix, kept.key) == (seen.prefix, seen.key) == ("train-3/load/1", "uid-a/node")
    assert isinstance(kept, Source)
    assert of_archive("train", 3, 2, "u", Manifest((file,), ()), Choice(rank=0)) == []
