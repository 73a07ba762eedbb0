"""One cluster of level api for all integration tests of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed.cluster import Cluster, running_cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real API server with its controllers; no pods."""
    with running_cluster("integration", root=tmp_path_factory.mktemp("testbed")) as running:
        yield running


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own, deleted afterwards."""
    with cluster.fresh_namespace(wait=False) as name:
        yield name
