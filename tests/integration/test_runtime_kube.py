"""The API client against a real API server: what its errors promise is what the server does."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runyard.api.constants import API_VERSION
from runyard_operator.kube import HttpKubeApi, Object, Ref, load_configuration
from runyard_operator.kube.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unavailable,
)
from runyard_operator.kube.resources import TRAINER
from tests.support.experiments import experiment, job
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.integration

Calls = list[tuple[str, int, float]]


@pytest.fixture
def calls() -> Calls:
    """What the client has told its observer."""
    return []


@pytest.fixture
async def api(kube: Kubectl, calls: Calls) -> AsyncIterator[HttpKubeApi]:
    """A client with the rights of the kubeconfig."""
    configuration = await load_configuration(str(kube.kubeconfig))
    client = HttpKubeApi(configuration, observe=lambda *call: calls.append(call))
    yield client
    await client.close()


def config_map(namespace: str, name: str = "a", **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "data": {"x": "1"},
    }


async def test_create_get_delete(api: HttpKubeApi, namespace: str, calls: Calls) -> None:
    """An object is there after its creation and gone after its deletion, and each call counts."""
    manifest = config_map(namespace)
    ref = Ref.of(manifest)
    assert await api.get(ref) is None
    stored = await api.create(manifest)
    assert await api.get(ref) == stored
    with pytest.raises(AlreadyExists, match='"a" already exists'):
        await api.create(manifest)
    with pytest.raises(Conflict, match="precondition"):
        await api.delete(ref, uid="another")
    assert await api.delete(ref, uid=stored["metadata"]["uid"])
    assert not await api.delete(ref)
    assert [(verb, status) for verb, status, _ in calls] == [
        ("get", 404),
        ("create", 201),
        ("get", 200),
        ("create", 409),
        ("delete", 409),
        ("delete", 200),
        ("delete", 404),
    ]


async def test_refusals_are_told_apart(api: HttpKubeApi, namespace: str) -> None:
    """A missing namespace, a bad name and a bad type each have their error and message."""
    with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
        await api.create(config_map("nowhere"))
    with pytest.raises(Invalid, match="lowercase RFC 1123"):
        await api.create(config_map(namespace, "A_"))
    with pytest.raises(Invalid, match="cannot unmarshal number"):
        await api.create({**config_map(namespace), "data": {"x": 1}})


async def test_rejected_credentials_are_forbidden(kube: Kubectl, namespace: str) -> None:
    """A client without rights learns that it lacks them."""
    configuration = await load_configuration(str(kube.kubeconfig))
    configuration.cert_file = configuration.key_file = None
    stranger = HttpKubeApi(configuration)
    try:
        with pytest.raises(Forbidden):
            await stranger.list("v1", "ConfigMap", namespace=namespace)
    finally:
        await stranger.close()


async def test_no_server_is_unavailable(kube: Kubectl, namespace: str, calls: Calls) -> None:
    """A refused connection says nothing about the object: the outcome is not known."""
    configuration = await load_configuration(str(kube.kubeconfig))
    configuration.host = "https://127.0.0.1:1"
    client = HttpKubeApi(configuration, observe=lambda *call: calls.append(call))
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await client.get(Ref("v1", "ConfigMap", "a", namespace))
    await client.close()
    assert [(verb, status) for verb, status, _ in calls] == [("get", 0)]


async def test_apply_has_one_owner_for_each_field(api: HttpKubeApi, namespace: str) -> None:
    """Applying again changes nothing; another manager's field is taken by force only."""
    manifest = config_map(namespace)
    first = await api.apply(manifest, manager="one")
    again = await api.apply(manifest, manager="one")
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    other = {**manifest, "data": {"x": "2"}}
    with pytest.raises(Conflict, match='conflict with "one"'):
        await api.apply(other, manager="two", force=False)
    assert (await api.apply(other, manager="two"))["data"] == {"x": "2"}


async def test_apply_keeps_to_the_life_it_was_meant_for(api: HttpKubeApi, namespace: str) -> None:
    """A uid or resourceVersion that is not the stored one refuses the write."""
    manifest = config_map(namespace)
    stored = await api.create(manifest)
    for precondition in ({"uid": "another"}, {"resourceVersion": "1"}):
        with pytest.raises(Conflict):
            await api.apply(config_map(namespace, **precondition), manager="one")
    with pytest.raises(Conflict):
        await api.apply(config_map(namespace, "absent", uid="another"), manager="one")
    uid = stored["metadata"]["uid"]
    assert await api.apply(config_map(namespace, uid=uid), manager="one")


async def test_a_status_never_lands_on_a_successor(api: HttpKubeApi, namespace: str) -> None:
    """A status meant for a deleted object is refused by its successor of the same name.

    The API server itself ignores the uid on the status subresource.
    """
    manifest = {**experiment("same", job("a", "true"))}
    manifest["metadata"]["namespace"] = namespace
    ref = Ref.of(manifest)
    old = (await api.create(manifest))["metadata"]
    await api.delete(ref, uid=old["uid"])
    new = (await api.create(manifest))["metadata"]

    def status(**metadata: str) -> Object:
        named = {"name": "same", "namespace": namespace, **metadata}
        head = {"apiVersion": API_VERSION, "kind": "Experiment", "metadata": named}
        return {**head, "status": {"phase": "Running"}}

    for metadata in (
        {"uid": old["uid"]},
        {"uid": old["uid"], "resourceVersion": old["resourceVersion"]},
    ):
        with pytest.raises(Conflict):
            await api.apply(status(**metadata), manager="one", subresource="status")
    assert "phase" not in ((await api.get(ref)) or {})["status"]
    written = await api.apply(status(uid=new["uid"]), manager="one", subresource="status")
    assert written["status"]["phase"] == "Running"
    gone = status(uid=new["uid"], name="absent")
    with pytest.raises(NotFound):
        await api.apply(gone, manager="one", subresource="status")


async def test_json_patch_tests_before_it_writes(api: HttpKubeApi, namespace: str) -> None:
    """A failed test and a vanished path are conflicts; a bad result is the patch's own fault."""
    ref = Ref.of(await api.create(config_map(namespace)))
    replace = {"op": "replace", "path": "/data/x", "value": "2"}
    with pytest.raises(Conflict):
        await api.json_patch(ref, [{"op": "test", "path": "/data/x", "value": "9"}, replace])
    with pytest.raises(Conflict):
        await api.json_patch(ref, [{"op": "remove", "path": "/metadata/finalizers"}])
    bad = {"op": "add", "path": "/metadata/labels", "value": {"a b": "c"}}
    with pytest.raises(Invalid, match="name part must consist of"):
        await api.json_patch(ref, [bad])
    with pytest.raises(NotFound):
        await api.json_patch(dataclasses.replace(ref, name="absent"), [replace])
    test = {"op": "test", "path": "/data/x", "value": "1"}
    assert (await api.json_patch(ref, [test, replace]))["data"] == {"x": "2"}


async def test_lists_of_metadata_may_be_empty(api: HttpKubeApi, namespace: str) -> None:
    """They hold no data, and where nothing is selected there is nothing."""
    await api.create(config_map(namespace, labels={"l": "yes"}))
    (found,) = await api.list_metadata(
        "v1", "ConfigMap", namespace=namespace, label_selector="l=yes"
    )
    assert found["metadata"]["name"] == "a"
    assert "data" not in found
    assert not await api.list_metadata(
        "v1", "ConfigMap", namespace=namespace, label_selector="l=no"
    )


async def test_lists_are_whole(api: HttpKubeApi, namespace: str) -> None:
    """A list follows all its pages, selects by label, and its items know their kind."""
    for number in range(7):
        await api.create(config_map(namespace, f"c{number}", labels={"part": "yes"}))
    await api.create(config_map(namespace, "other"))
    found, version = await api.snapshot(
        "v1", "ConfigMap", namespace=namespace, label_selector="part", limit=3
    )
    assert [each["metadata"]["name"] for each in found] == [f"c{n}" for n in range(7)]
    assert {(each["apiVersion"], each["kind"]) for each in found} == {("v1", "ConfigMap")}
    assert int(version) >= max(int(each["metadata"]["resourceVersion"]) for each in found)


async def test_a_kind_that_is_not_served(api: HttpKubeApi, namespace: str) -> None:
    """Without its CRD, listing a kind is told apart from an empty list."""
    with pytest.raises(NotFound):
        await api.list(TRAINER, "TrainingRuntime", namespace=namespace)
    assert await api.list(API_VERSION, "ExecutionUnit", namespace=namespace) == []


async def test_the_log_of_a_missing_pod(api: HttpKubeApi, namespace: str) -> None:
    """There is no log without a pod."""
    pod = Ref("v1", "Pod", "absent", namespace)
    with pytest.raises(NotFound):
        await api.pod_log(pod, container="main", tail_lines=3, limit_bytes=100)
