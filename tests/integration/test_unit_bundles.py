"""Pushed code of a unit: checked for each, whoever has written it, and kept for as long as it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from runyard.api import Code
from runyard.api.code import CodeBundle
from runyard.bundles import names
from runyard_operator.backends.base import Stalled, Target
from runyard_operator.backends.job.backend import JobBackend
from runyard_operator.backends.pods.template import PodConfig
from runyard_operator.bundles import tokens
from runyard_operator.kube import HttpKubeApi, Ref, load_configuration
from runyard_operator.store import Store
from testbed.cluster import Cluster
from tests.support.kubectl import Kubectl
from tests.support.targets import make_target

pytestmark = pytest.mark.integration

KEY = b"0123456789abcdef"
CONFIG = PodConfig(image="operator", store_url="http://store", store_key=KEY)
SMALL = CodeBundle(digest=f"sha256:{'a' * 64}", size=10)
BIG = CodeBundle(digest=f"sha256:{'b' * 64}", size=5_000_000)


@pytest.fixture
async def jobs(cluster: Cluster) -> AsyncIterator[JobBackend]:
    """The backend, asking the API server for everything."""
    client = HttpKubeApi(await load_configuration(str(cluster.kubeconfig)))
    yield JobBackend(client, Store(), CONFIG)
    await client.close()


def unit(kube: Kubectl, name: str, bundle: CodeBundle) -> Target:
    """A unit that runs pushed code."""
    return make_target(kube, name, code=Code(bundle=bundle).to_dict())


def pushed(kube: Kubectl, bundle: CodeBundle, *, proof: str | None = None) -> None:
    """The manifest is there."""
    made = names.manifest(bundle.digest, bundle.size, now=datetime.now(UTC), proof=proof)
    kube.apply(made)


async def test_a_unit_waits_for_its_code(kube: Kubectl, jobs: JobBackend) -> None:
    """Nothing is made before it is pushed; then the unit keeps it."""
    target = unit(kube, "waits", SMALL)
    with pytest.raises(Stalled, match="push it with runyard code push"):
        await jobs.submit(target)
    assert kube.list("jobs") == []
    pushed(kube, SMALL)
    await jobs.submit(target)
    await jobs.submit(target)
    ref = Ref("v1", "ConfigMap", names.manifest_name(SMALL.digest), kube.namespace)
    [owner] = (kube.get("configmap", ref.name) or {})["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("ExecutionUnit", target.uid)


async def test_a_digest_alone_is_no_right_to_read(kube: Kubectl, jobs: JobBackend) -> None:
    """Whoever knows the digest of another namespace's code gets no pod that may fetch it.

    Not with a manifest of their own, not with one that was proved elsewhere, not with the name of
    an experiment in the spec.
    """
    target = unit(kube, "spy", BIG)
    pushed(kube, BIG)
    with pytest.raises(Stalled, match="was not written by the code store"):
        await jobs.submit(target)
    named = target.spec.model_copy(update={"experiment": "spy"})
    pushed(kube, BIG, proof=tokens.proof(KEY, "elsewhere", BIG.digest))
    with pytest.raises(Stalled, match="was not written by the code store"):
        await jobs.submit(make_target(kube, "other", **named.to_dict()))
    assert kube.list("jobs") == []
    pushed(kube, BIG, proof=tokens.proof(KEY, kube.namespace, BIG.digest))
    await jobs.submit(target)
