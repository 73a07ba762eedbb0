"""Fixtures that need a cluster; `cluster` and `namespace` come from each layer's own conftest.

Property tests take the same examples in every run, so that a change is judged by what it changes;
RUNYARD_EXPLORE=1 makes each run look at new ones.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.support import clusters, crds
from tests.support.kubectl import Kubectl
from tests.support.operator import OperatorProcess

# No deadline for one example: the machine may be busy with something else.
settings.register_profile(
    "runyard", deadline=None, derandomize=os.environ.get("RUNYARD_EXPLORE") != "1"
)
settings.load_profile("runyard")

_RUN = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Begins the run, unless this is a worker process of one."""
    if not hasattr(config, "workerinput"):
        config.stash[_RUN] = clusters.begin()
        # Workers must find the same tests in the same order, also where a set makes parameters.
        os.environ.setdefault("PYTHONHASHSEED", str(random.randrange(2**32)))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends the run, when all its worker processes have ended."""
    if _RUN in config.stash:
        clusters.end(config.stash[_RUN])


@pytest.fixture
def kube(cluster: Any, namespace: str) -> Kubectl:
    """Kubectl in the test's own namespace, with the CRDs of this checkout installed."""
    kubectl = Kubectl(cluster.home.root / "bin" / "kubectl", cluster.kubeconfig, namespace)
    crds.ensure(kubectl)
    return kubectl


@pytest.fixture
def operator(cluster: Any, kube: Kubectl, tmp_path: Path) -> Iterator[OperatorProcess]:
    """A running operator that watches the test's namespace; its log is shown on failure."""
    process = OperatorProcess(
        cluster.kubeconfig, tmp_path / "operator.log", namespaces=(kube.namespace,)
    )
    process.start()
    yield process
    # What the test leaves is cleaned by way of its finalizers, for which the operator must run.
    process.ensure()
    kube.run(
        "delete", "experiments.runyard.dev,executionunits.runyard.dev", "--all", "--timeout=120s"
    )
    process.stop()
    print(process.tail(60))
