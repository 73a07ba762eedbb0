"""A hundred tasks with one bundle: one upload, one stored object."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard.bundles import names
from tests.support.cli import Cli
from tests.support.codestore import StoreProcess, store_behind
from tests.support.experiments import EXPERIMENT, experiment, job
from tests.support.kubectl import Kubectl
from tests.support.operator import OperatorProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

TASKS = 100


@pytest.fixture
def store(kube: Kubectl, tmp_path: Path) -> Iterator[StoreProcess]:
    with store_behind(kube, tmp_path) as running:
        yield running


@pytest.fixture
def operator(kube: Kubectl, store: StoreProcess, tmp_path: Path) -> Iterator[OperatorProcess]:
    """An operator that knows the store."""
    process = OperatorProcess(
        kube.kubeconfig, tmp_path / "operator.log", namespaces=(kube.namespace,)
    )
    process.more = ("--store-url", store.url, "--store-key-file", str(store.key_file))
    process.start()
    yield process
    kube.run("delete", EXPERIMENT, "--all", "--timeout=180s")
    process.stop()
    print(process.tail(60))


def push(cli: Cli, folder: Path, size: int, store_namespace: str) -> dict[str, Any]:
    folder.mkdir()
    (folder / "data.bin").write_bytes(random.Random(size).randbytes(size))
    done = cli.run("code", "push", str(folder), "-o", "json", "--store-namespace", store_namespace)
    assert done.returncode == 0, done.stderr
    source: dict[str, Any] = json.loads(done.stdout)["code"]
    return source


def sources(kube: Kubectl, label: str) -> set[str]:
    """What the init containers of the Jobs are told about the code."""
    found = set()
    for each in kube.list("jobs", label):
        (init,) = each["spec"]["template"]["spec"]["initContainers"]
        found |= {entry["value"] for entry in init["env"] if "sha256" in entry.get("value", "")}
    return found


@pytest.mark.usefixtures("operator")
def test_a_hundred_tasks_share_one_stored_bundle(
    kube: Kubectl, store: StoreProcess, tmp_path: Path
) -> None:
    """In the store, and a few in ConfigMaps; each Job of an experiment is told the same."""
    cli = Cli(kube.kubeconfig, kube.namespace)
    for name, size, count in (("small", 1_500_000, 5), ("big", 5_000_000, TASKS)):
        source = push(cli, tmp_path / name, size, kube.namespace)
        members = {"parameters": {"n": [str(number) for number in range(count)]}}
        kube.apply(experiment(name, job("each", "true", matrix=members), code=source))
        label = f"runyard.dev/experiment={name}"
        eventually(
            lambda label=label, count=count: len(kube.list("jobs", label)) == count,
            f"there are all Jobs of {name}",
            timeout=600,
            interval=1.0,
            explain=lambda: kube.run("get", "experiments.runyard.dev,jobs", check=False),
        )
        assert len(sources(kube, label)) == 1
        manifest = kube.get("configmap", names.manifest_name(source["bundle"]["digest"]))
        assert manifest is not None
        (owner,) = manifest["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("Experiment", name)
    found = [each["metadata"]["name"] for each in kube.list("configmaps", names.LABEL_PART)]
    assert len(found) == 2, "the parts of the small one"
    puts = 'runyard_store_requests_total{kind="bundles",method="PUT",status="200"}'
    assert store.count(puts) == 1
    assert store.count('runyard_store_objects{kind="bundles"}') == 1


@pytest.mark.usefixtures("operator")
def test_an_experiment_waits_for_its_code(kube: Kubectl, tmp_path: Path) -> None:
    """What is missing is said with the command that helps; pushed, the experiment goes on."""
    folder = tmp_path / "code"
    cli = Cli(kube.kubeconfig, kube.namespace)
    source = push(cli, folder, 1000, kube.namespace)
    name = names.manifest_name(source["bundle"]["digest"])
    kube.run("delete", "configmap", name)
    kube.apply(experiment("early", job("only", "true"), code=source))

    def staged(status: str) -> dict[str, Any] | None:
        found = kube.get(EXPERIMENT, "early") or {}
        conditions = found.get("status", {}).get("conditions", [])
        return next(
            (
                each
                for each in conditions
                if (each["type"], each["status"]) == ("CodeStaged", status)
            ),
            None,
        )

    condition = eventually(lambda: staged("False"), "the code is missed")
    assert "push it with runyard code push" in condition["message"]
    assert cli.run("code", "push", str(folder)).returncode == 0
    eventually(lambda: kube.list("jobs"), "the experiment goes on")
