"""Fixtures that need a cluster; `cluster` and `namespace` come from each layer's own conftest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubectl import Kubectl
from tests.support.operator import OperatorProcess


@pytest.fixture
def kube(cluster: Any, namespace: str) -> Kubectl:
    """Kubectl in the test's own namespace, with the CRDs of this checkout installed."""
    kubectl = Kubectl(cluster.home.root / "bin" / "kubectl", cluster.kubeconfig, namespace)
    crds = Path(__file__).parent.parent / "crds"
    kubectl.run("apply", "--server-side", "--force-conflicts", "-f", str(crds))
    kubectl.run("wait", "--for=condition=Established", "--timeout=60s", "-f", str(crds))
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
