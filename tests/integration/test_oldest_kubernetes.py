"""The oldest supported Kubernetes: its API server takes the CRDs, the chart and the examples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.build.catalogue import OLDEST_KUBERNETES
from testbed.cluster import Cluster, running_cluster
from tests.support import clusters
from tests.support.crds import CRDS, installed
from tests.support.examples import FILES
from tests.support.experiments import experiment, finished, job, phase
from tests.support.helm import CHART, NAMESPACE, helm
from tests.support.kubectl import Kubectl
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("oldest")]

APPLY = ("apply", "--server-side", "--validate=strict", "--warnings-as-errors")
NOT_KUBERNETES = {"metrics.podMonitor.enabled"}
"""Switches of the chart for objects of other projects' kinds."""

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster whose API server is of the oldest supported version, with nothing in it."""
    root = clusters.own_root()
    with running_cluster("oldest", apiserver="kube-apiserver-oldest", root=root) as running:
        yield running


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[Kubectl]:
    """Kubectl in a namespace of users, with the CRDs installed."""
    with installed(cluster) as kubectl:
        yield kubectl


def idle(name: str, **spec: Any) -> Manifest:
    """An experiment that nobody runs."""
    return experiment(name, job("a", "true"), **spec)


def test_the_server_is_of_the_stated_version(api: Kubectl) -> None:
    """What answers is the old server, not a new one under its name."""
    version = json.loads(api.run("version", "-o", "json"))["serverVersion"]
    assert version["gitVersion"] == OLDEST_KUBERNETES


def test_the_crds_are_structural_and_established(api: Kubectl) -> None:
    """No condition complains of the schemas, and every rule is within its budget."""
    crds = json.loads(api.run("get", "-f", str(CRDS), "-o", "json"))["items"]
    assert len(crds) == len(list(CRDS.glob("*.yaml")))
    for each in crds:
        conditions = {c["type"]: c["status"] for c in each["status"]["conditions"]}
        assert conditions == {"NamesAccepted": "True", "Established": "True"}


def off(values: Manifest, prefix: str = "") -> Iterator[str]:
    """The paths of all values by which the chart leaves something out unless it is asked for."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from off(value, f"{prefix}{name}.")
        elif name == "enabled" and value is False:
            yield f"{prefix}{name}"


def test_the_chart_is_accepted(api: Kubectl) -> None:
    """All that it can render is stored, no field is unknown, and nothing is warned of."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    options = [f"--set={switch}=true" for switch in sorted(set(off(values)) - NOT_KUBERNETES)]
    version = ("--kube-version", OLDEST_KUBERNETES)
    rendered = helm("template", "runyard", str(CHART), "--namespace", NAMESPACE, *version, *options)
    assert rendered.returncode == 0, rendered.stderr
    api.run("create", "namespace", NAMESPACE)
    # The CRDs are applied by hand already; the chart's own copies take them over.
    own = Kubectl(api.binary, api.kubeconfig, NAMESPACE)
    own.run(*APPLY, "--force-conflicts", "-f", "-", stdin=rendered.stdout)
    assert own.get("deployment", "runyard") is not None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_example_is_accepted(api: Kubectl, path: Path) -> None:
    """A strict dry run knows every field and breaks no rule."""
    api.run("create", "--dry-run=server", "--validate=strict", "-f", str(path))


def test_phases_are_selectable(api: Kubectl) -> None:
    """Watches leave finished objects out by these fields."""
    api.apply(idle("selected"), idle("other"))
    patch = json.dumps({"status": {"phase": "Running"}})
    name = "experiment.runyard.dev/selected"
    api.run("patch", name, "--subresource=status", "--type=merge", "-p", patch)
    found = api.run("get", "rexp", "--field-selector=status.phase=Running", "-o", "name")
    assert found.split() == [name]
    api.run("get", "reu", "--field-selector=status.phase!=Failed,spec.experiment=selected")


def test_rules_are_active(api: Kubectl) -> None:
    """A bad experiment is refused with our words, and so is the change of what is immutable."""
    bad = idle("bad")
    bad["spec"]["tasks"][0]["after"] = [{"task": "z"}]
    refused = api.result("create", "-f", "-", stdin=json.dumps(bad))
    assert refused.returncode != 0
    assert "'after' names a task that is not in spec.tasks: correct the name" in refused.stderr
    api.apply(idle("good"))
    change = json.dumps({"spec": {"failurePolicy": "Continue"}})
    refused = api.result("patch", "rexp", "good", "--type=merge", "-p", change)
    assert refused.returncode != 0
    assert "failurePolicy is immutable" in refused.stderr
    api.run("patch", "rexp", "good", "--type=merge", "-p", json.dumps({"spec": {"cancel": True}}))


def test_the_operator_runs_experiments(kube: Kubectl, operator: OperatorProcess) -> None:
    """Its watches, patches and the Jobs that it makes are served by the old server, too."""
    one, two = job("one", "true"), job("two", "true", after=[{"task": "one"}])
    kube.apply(experiment("chain", one, two, matrix_of(3)))
    with Kubelet(kube):
        done = finished(kube, "chain")
    assert phase(done) == "Succeeded"
    assert done["status"]["progress"] == "5/5"


def matrix_of(size: int) -> Manifest:
    """A task with as many members."""
    parameters = {"n": [str(index) for index in range(size)]}
    return job("matrix", "true", matrix={"parameters": parameters})
