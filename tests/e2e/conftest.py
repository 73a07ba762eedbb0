"""One cluster of level ml, with real pods, for all end-to-end tests of a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import pytest

from testbed.cluster import Cluster
from tests.support import clusters


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The user's own cluster when there is one, which then stays; else one for this run."""
    return clusters.shared("image/operator")


@pytest.fixture(scope="session")
def leaving(cluster: Cluster) -> Iterator[deque[str]]:
    """The namespaces of this process that are being deleted; all are gone at the end."""
    names: deque[str] = deque()
    yield names
    for name in names:
        _await_gone(cluster, name)


@pytest.fixture
def namespace(cluster: Cluster, leaving: deque[str]) -> Iterator[str]:
    """A namespace of the test's own.

    The pods of one test may still be ending when the next one begins, those of more may not.
    """
    with cluster.fresh_namespace(wait=False) as name:
        yield name
    leaving.append(name)
    if len(leaving) > 1:
        _await_gone(cluster, leaving.popleft())


def _await_gone(cluster: Cluster, name: str) -> None:
    cluster.kubectl("wait", f"namespace/{name}", "--for=delete", "--timeout=180s")
