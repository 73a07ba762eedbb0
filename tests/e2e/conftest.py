"""One cluster of level ml, with real pods, for all end-to-end tests of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed.cluster import Cluster
from tests.support import clusters


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The user's own cluster when there is one, which then stays; else one for this run."""
    return clusters.shared("image/operator")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own; it and its pods are gone before the next test."""
    with cluster.fresh_namespace(wait=True) as name:
        yield name
