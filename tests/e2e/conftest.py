"""One cluster of level ml, with real pods, for all end-to-end tests of a run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import pytest

from testbed import state
from testbed.cluster import Cluster, running_cluster, start_cluster
from testbed.layout import DEFAULT_NAME, home_of

IMAGES = ("image/operator",)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


@contextlib.contextmanager
def _without_its_operators(cluster: Cluster) -> Iterator[None]:
    """Puts the operators of the user's cluster to sleep: the tests bring their own."""
    label = "--selector=app.kubernetes.io/name=runyard"
    each = '{.metadata.namespace} {.metadata.name} {.spec.replicas}{"\\n"}'
    place = f"jsonpath={{range .items[*]}}{each}{{end}}"
    listed = cluster.kubectl("get", "deployments", "--all-namespaces", label, "-o", place)
    found = [line.split() for line in listed.splitlines()]
    for namespace, name, _ in found:
        cluster.kubectl("-n", namespace, "scale", "deployment", name, "--replicas=0")
        cluster.kubectl("-n", namespace, "wait", "pod", label, "--for=delete", "--timeout=120s")
    try:
        yield
    finally:
        for namespace, name, replicas in found:
            cluster.kubectl("-n", namespace, "scale", "deployment", name, f"--replicas={replicas}")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The user's own cluster when there is one, which then stays; else one for this run."""
    if state.load(home_of(DEFAULT_NAME)) is not None:
        joined = start_cluster(DEFAULT_NAME, "ml", images=IMAGES, say=_say)
        with _without_its_operators(joined):
            yield joined
        return
    with running_cluster(DEFAULT_NAME, "ml", images=IMAGES, say=_say) as running:
        yield running


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own; it and its pods are gone before the next test."""
    with cluster.fresh_namespace(wait=True) as name:
        yield name
