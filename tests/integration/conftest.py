"""One cluster of level api for all integration tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed.cluster import Cluster, running_cluster
from tests.support import clusters


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A real API server with its controllers; no pods.

    No other process uses it, so a test may stop it or remove what the next one puts back.
    """
    with running_cluster("integration", root=clusters.own_root()) as running:
        yield running


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own, deleted afterwards."""
    with cluster.fresh_namespace(wait=False) as name:
        yield name
