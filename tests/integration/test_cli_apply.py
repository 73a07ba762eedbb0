"""`runyard apply` against a real API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.acting import ActingOperator, stamp
from tests.support.cli import Cli
from tests.support.experiments import experiment, job
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.integration

EXPERIMENTS = "experiments.runyard.dev"


@pytest.fixture
def cli(kube: Kubectl) -> Cli:
    """The command line in the test's namespace."""
    return Cli(kube.kubeconfig, kube.namespace)


@pytest.fixture
def acting(kube: Kubectl) -> ActingOperator:
    """The test in the operator's place."""
    return ActingOperator(kube, "demo")


def manifest(*documents: dict[str, Any]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False)


def chain() -> dict[str, Any]:
    """Two tasks, one after the other."""
    return experiment(
        "demo", job("first", "true"), job("second", "true", after=[{"task": "first"}])
    )


def generation(kube: Kubectl) -> int:
    found = kube.get(EXPERIMENTS, "demo")
    assert found is not None
    return int(found["metadata"]["generation"])


def test_apply_twice_changes_nothing(cli: Cli, kube: Kubectl) -> None:
    """The second time says unchanged and makes no new generation, for any kind of object."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "conf"},
        "data": {"a": "b"},
    }
    profile = {
        "apiVersion": "runyard.dev/v1alpha1",
        "kind": "ExecutionProfile",
        "metadata": {"name": "small"},
        "spec": {"executor": {"job": {"cpu": "100m"}}},
    }
    text = manifest(claim, config, profile, chain())
    names = [
        "persistentvolumeclaim/data",
        "configmap/conf",
        "executionprofile.runyard.dev/small",
        "experiment.runyard.dev/demo",
    ]
    first = cli.run("apply", "-f", "-", stdin=text)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines() == [f"{name} created" for name in names]
    before = generation(kube)
    for _ in range(2):
        again = cli.run("apply", "-f", "-", stdin=text)
        assert again.stdout.splitlines() == [f"{name} unchanged" for name in names]
    assert generation(kube) == before


def test_a_change_says_configured(cli: Cli) -> None:
    """An object that became another one is told apart from one that did not."""
    cli.run("apply", "-f", "-", stdin=manifest(chain()))
    done = cli.run(
        "apply", "-f", "-", stdin=manifest({**chain(), "spec": {**chain()["spec"], "cancel": True}})
    )
    assert done.stdout == "experiment.runyard.dev/demo configured\n"


def test_a_folder_is_applied_file_by_file(cli: Cli, tmp_path: Path) -> None:
    """YAML and JSON files count, in the order of their names; others do not."""
    for name in ("b", "a"):
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        (tmp_path / f"{name}.yaml").write_text(manifest(config))
    (tmp_path / "README.md").write_text("not: [yaml")
    done = cli.run("apply", "-f", str(tmp_path))
    assert done.stdout == "configmap/a created\nconfigmap/b created\n"


def test_refusals_name_the_line_and_the_field(cli: Cli, tmp_path: Path) -> None:
    """Every refused field of every document is shown; what is good is applied."""
    file = tmp_path / "bad.yaml"
    file.write_text(
        """\
apiVersion: v1
kind: ConfigMap
metadata: {name: good}
---
apiVersion: runyard.dev/v1alpha1
kind: Experiment
metadata: {name: typo}
spec:
  tasks:
  - name: a
    scrpt: {inline: x}
    script: {inline: x}
    executor: {job: {}}
---
apiVersion: runyard.dev/v1alpha1
kind: Experiment
metadata: {name: wrong}
spec:
  tasks:
  - name: a
    script: {inline: x}
    executor: {}
  - name: b
    script: {inline: x}
    executor:
      job:
        cpu: lots
---
apiVersion: runyard.dev/v1alpha1
kind: Experment
metadata: {name: misspelt}
"""
    )
    done = cli.run("apply", "-f", str(file))
    assert done.returncode == 1
    assert done.stdout == "configmap/good created\n"
    lines = done.stderr.splitlines()
    assert lines[0] == f"{file}, document 2: experiment typo was refused:"
    assert lines[1].startswith("  line 11: spec.tasks")
    assert lines[1].endswith("scrpt: there is no such field; did you mean script?")
    assert lines[2] == f"{file}, document 3: experiment wrong was refused:"
    assert lines[3].startswith("  line 22: spec.tasks[0].executor: set exactly one executor")
    assert lines[4].startswith("  line 27: spec.tasks[1].executor.job.cpu: should match")
    assert lines[5].endswith("the cluster does not know Experment of runyard.dev/v1alpha1")
    assert lines[6] == "  did you mean Experiment?"
    assert lines[7].startswith("1 of 4 objects were applied")


def test_an_immutable_field_says_what_to_do(cli: Cli) -> None:
    """Changed tasks are refused with the way out."""
    cli.run("apply", "-f", "-", stdin=manifest(chain()))
    other = experiment("demo", job("first", "false"))
    done = cli.run("apply", "-f", "-", stdin=manifest(other))
    assert done.returncode == 1
    assert "create an experiment with another name" in done.stderr
    assert done.stderr.startswith("standard input: experiment demo was refused:")


def test_a_conflict_names_the_other_manager(cli: Cli, kube: Kubectl) -> None:
    """Fields that another tool owns are not taken silently."""
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "conf"},
        "data": {"a": "theirs"},
    }
    kube.apply(config)
    ours = manifest({**config, "data": {"a": "ours"}})
    done = cli.run("apply", "-f", "-", stdin=ours)
    assert done.returncode == 1
    assert ".data.a: set by test" in done.stderr
    assert "--force-conflicts" in done.stderr
    assert cli.run("apply", "-f", "-", "--force-conflicts", stdin=ours).returncode == 0


def test_a_contradicting_namespace_is_refused_before_anything_is_applied(
    cli: Cli, kube: Kubectl
) -> None:
    """-n and metadata.namespace must agree, as for kubectl."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "first"}}
    second = {**config, "metadata": {"name": "second", "namespace": "elsewhere"}}
    done = cli.run("apply", "-f", "-", stdin=manifest(config, second))
    assert done.returncode == 2
    assert "metadata.namespace is 'elsewhere'" in done.stderr
    assert kube.get("configmap", "first") is None


def test_wait_ends_with_success(cli: Cli, acting: ActingOperator) -> None:
    """--wait prints each change and ends 0 when the experiment has succeeded."""
    file = "-"
    assert cli.run("apply", "-f", file, stdin=manifest(chain())).returncode == 0
    acting.make_units()
    with cli.start("status", "-w", "demo") as running:
        acting.status("Running", startTime=stamp())
        running.wait_for("experiment demo Running")
        for task in ("first", "second"):
            acting.unit(task, "Running", startTime=stamp())
            running.wait_for(f"{task} Running")
            acting.unit(task, "Succeeded", completionTime=stamp())
            running.wait_for(f"{task} Succeeded")
        acting.status("Succeeded", completionTime=stamp(), progress="2/2")
        assert running.finish() == 0
    assert any("demo  ✓ Succeeded  2/2 done" in line for line in running.seen)


def test_wait_tells_why_a_task_failed(cli: Cli, acting: ActingOperator, tmp_path: Path) -> None:
    """A failure ends 1, with reason, exit code and the last log lines."""
    file = tmp_path / "demo.yaml"
    file.write_text(manifest(chain()))
    with cli.start("apply", "-f", str(file), "--wait", "--timeout", "5m") as running:
        running.wait_for("experiment.runyard.dev/demo created")
        acting.make_units()
        attempt = {
            "number": 1,
            "key": "k",
            "exitCode": 3,
            "node": "node1",
            "lastLogLines": ["loading", "ValueError: no data"],
        }
        acting.unit(
            "first", "Failed", reason="Error", message="the script failed", attempts=[attempt]
        )
        acting.unit("second", "Skipped", reason="DependencyNotMet")
        acting.status("Failed", reason="TasksFailed", message="1 task failed: first")
        assert running.finish() == 1
    text = "\n".join(running.seen)
    assert "first: Failed (Error, exit code 3, on node1)" in text
    assert "last log lines of first:\n  loading\n  ValueError: no data" in text


def test_wait_tells_a_cancel_apart(cli: Cli, acting: ActingOperator, tmp_path: Path) -> None:
    """A cancelled experiment ends 3."""
    file = tmp_path / "demo.yaml"
    file.write_text(manifest(chain()))
    with cli.start("apply", "-f", str(file), "--wait") as running:
        running.wait_for("experiment.runyard.dev/demo created")
        acting.status("Cancelled", reason="CancelRequested")
        assert running.finish() == 3


def test_wait_has_a_timeout(cli: Cli) -> None:
    """After the timeout it ends 124 and says that the experiment goes on."""
    done = cli.run("apply", "-f", "-", "--wait", "--timeout", "1s", stdin=manifest(chain()))
    assert done.returncode == 124
    assert "had not ended after 1 s: it is Pending" in done.stderr
    assert "runyard status -w demo" in done.stderr


def test_wait_needs_an_experiment(cli: Cli, kube: Kubectl) -> None:
    """Waiting for nothing is a usage error, before anything is applied."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}}
    done = cli.run("apply", "-f", "-", "--wait", stdin=manifest(config))
    assert done.returncode == 2
    assert "no Experiment to wait for" in done.stderr
    assert kube.get("configmap", "conf") is None
