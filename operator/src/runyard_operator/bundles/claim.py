"""An experiment takes a bundle that was pushed: it must be there, and is then kept for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runyard.api.code import CodeBundle
from runyard.api.constants import ANNOTATION_DIGEST, LABEL_BUNDLE
from runyard.bundles import names
from runyard.bundles.guard import human
from runyard.bundles.names import Location
from runyard_operator.bundles import tokens
from runyard_operator.kube.api import KubeApi, Object
from runyard_operator.kube.errors import Conflict, NotFound
from runyard_operator.kube.resources import Ref


def problem(
    found: Mapping[str, Any] | None, bundle: CodeBundle, namespace: str, key: bytes | None
) -> str | None:
    """Why the bundle cannot be used, given what is stored as its manifest; None when it can.

    Args:
        found: the ConfigMap of the manifest's name.
        bundle: what the experiment says.
        namespace: the experiment's.
        key: the store's; None when there is no store.
    """
    name = names.manifest_name(bundle.digest)
    if found is None or found["metadata"].get("deletionTimestamp"):
        return (
            f"the code {bundle.digest} is not in the namespace {namespace}: push it with runyard"
            f" code push -n {namespace}"
        )
    if names.annotation(found, ANNOTATION_DIGEST) != bundle.digest:
        return (
            f"the ConfigMap {name} is not the manifest of {bundle.digest}: delete it and push the"
            " code again with runyard code push"
        )
    size = names.size_of(found)
    if size != bundle.size:
        return (
            f"the code {bundle.digest} was pushed with {size} bytes and the experiment says"
            f" {bundle.size}: write size: {size}, as runyard code push prints it"
        )
    expected = {"location": names.location(size).value, "parts": str(names.part_count(size))}
    if {name: (found.get("data") or {}).get(name) for name in expected} != expected:
        return f"the ConfigMap {name} is damaged: delete it and push the code again"
    if names.location(size) is Location.STORE:
        return _store_problem(found, bundle.digest, namespace, key)
    return None


def _store_problem(
    found: Mapping[str, Any], digest: str, namespace: str, key: bytes | None
) -> str | None:
    if key is None:
        return (
            "this operator has no code store, and the code is too big for ConfigMaps: ask for the"
            " chart's value bundleStore.enabled=true, or leave out what is no code"
        )
    # A manifest can be written by anyone; without the proof, to know the digest of another
    # namespace's code would be to read it.
    said = names.annotation(found, names.ANNOTATION_PROOF)
    if not tokens.same(said, tokens.proof(key, namespace, digest)):
        return (
            f"the ConfigMap {names.manifest_name(digest)} was not written by the code store: delete"
            " it and push the code with runyard code push"
        )
    return None


def over_cap(manifests: Iterable[Mapping[str, Any]], cap: int) -> str | None:
    """Why no bundle more may be taken from a namespace; None while its ConfigMaps are in bounds.

    etcd holds a few GB for the whole cluster: one namespace must not fill it.

    Args:
        manifests: those of the namespace.
        cap: bytes that the bundles in its ConfigMaps may take.
    """
    sizes = [
        (str(each["metadata"]["name"]), names.size_of(each))
        for each in manifests
        if (each.get("data") or {}).get("location") == Location.CONFIG_MAPS.value
    ]
    total = sum(size for _, size in sizes)
    if total <= cap:
        return None
    biggest = sorted(sizes, key=lambda pair: (-pair[1], pair[0]))[:5]
    listed = ", ".join(f"{name} ({human(size)})" for name, size in biggest)
    return (
        f"the bundles of this namespace take {human(total)} and at most {human(cap)} may lie in"
        f" ConfigMaps: delete experiments that need them no more; the biggest are {listed}; see"
        " runyard code list"
    )


def owner_patch(found: Mapping[str, Any], owner: Mapping[str, Any]) -> Object:
    """The apply that adds an owner to a manifest that exists, and only to that one.

    With a field manager for each owner the owners add up. Without the uid the apply would create
    an empty ConfigMap where the manifest has just been deleted.
    """
    metadata = found["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "ownerReferences": [{key: owner[key] for key in ("apiVersion", "kind", "name", "uid")}],
        },
    }


def _keeps(one: Mapping[str, Any], owner: Mapping[str, Any], experiment: str | None) -> bool:
    whole = (one["kind"], one["name"]) == ("Experiment", experiment)
    return whole or one["uid"] == owner["uid"]


async def claim(
    kube: KubeApi,
    bundle: CodeBundle,
    namespace: str,
    owner: Mapping[str, Any],
    *,
    manager: str,
    key: bytes | None,
    cap: int,
    experiment: str | None = None,
) -> str | None:
    """Checks a bundle and becomes one more owner of it; safe to repeat.

    The parts belong to the manifest: only it needs the owner.

    Args:
        kube: the API server.
        bundle: what the experiment or unit says.
        namespace: where it is.
        owner: its apiVersion, kind, name and uid.
        manager: a field manager of this owner's own.
        key: the store's; None when there is no store.
        cap: see `over_cap`.
        experiment: an Experiment of that name keeps it already, if it is among the owners.

    Returns:
        Why the code cannot be used; None when it can.

    Raises:
        KubeError: the API server refuses or gives no answer.
    """
    found = await kube.get(Ref("v1", "ConfigMap", names.manifest_name(bundle.digest), namespace))
    why = problem(found, bundle, namespace, key)
    if why is not None or found is None:
        return why
    owners = found["metadata"].get("ownerReferences") or []
    if any(_keeps(each, owner, experiment) for each in owners):
        return None
    if names.location(bundle.size) is Location.CONFIG_MAPS and not owners:
        # What is in use already goes on: only one that is new to the namespace is one too many.
        manifests = await kube.list(
            "v1", "ConfigMap", namespace=namespace, label_selector=LABEL_BUNDLE
        )
        why = over_cap(manifests, cap)
        if why is not None:
            return why
    try:
        await kube.apply(owner_patch(found, owner), manager=manager)
    except (Conflict, NotFound):
        return problem(None, bundle, namespace, key)
    return None
