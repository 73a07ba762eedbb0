"""Mode Plan from end to end: the command line, the real operator, a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.cluster import Cluster
from tests.support.audit import created
from tests.support.cli import Cli
from tests.support.experiments import EXPERIMENT, UNIT, experiment, finished, job
from tests.support.kubectl import Kubectl
from tests.support.operator import OperatorProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

_SIGNS = ("--", "++")

PROFILE = {
    "apiVersion": "runyard.dev/v1alpha1",
    "kind": "ExecutionProfile",
    "metadata": {"name": "small"},
    "spec": {"executor": {"job": {"memory": "64Mi"}}},
}


@pytest.fixture
def operator(cluster: Cluster, kube: Kubectl, tmp_path: Path) -> Iterator[OperatorProcess]:
    """The real operator, watching the test's namespace."""
    process = OperatorProcess(
        cluster.kubeconfig, tmp_path / "operator.log", namespaces=(kube.namespace,)
    )
    process.start()
    yield process
    process.stop()


@pytest.fixture
def cli(kube: Kubectl) -> Cli:
    """The command line in the test's namespace."""
    return Cli(kube.kubeconfig, kube.namespace)


def whole(**changes: Any) -> dict[str, Any]:
    """An experiment with all that a plan must resolve or leave open."""
    secret = {"name": "HF_TOKEN", "value": "hf_abcdef"}
    prep = job("prep", "echo 7 > $RUNYARD_OUTPUTS/rows", outputs=[{"name": "rows"}], env=[secret])
    sweep = job(
        "sweep",
        "true",
        after=[{"task": "prep"}],
        profile="small",
        matrix={"parameters": {"lr": ["0.1", "0.2"], "seed": ["1", "2", "3"]}},
        env=[
            {"name": "LR", "value": "${matrix.lr}"},
            {"name": "ROWS", "value": "${tasks.prep.outputs.rows}"},
            {"name": "SIZE", "value": "${params.size}"},
            {"name": "WHO", "value": "${experiment.name}"},
        ],
    )
    report = job("report", "true", env=[{"name": "RESULT", "value": "${experiment.phase}"}])
    return experiment(
        "sft",
        prep,
        sweep,
        **{
            "finally": [report],
            "params": [{"name": "size", "value": "big"}],
            "code": {"inline": [{"path": "pkg/a.py", "content": "print('a')\n"}]},
            **changes,
        },
    )


def write(path: Path, manifest: dict[str, Any]) -> str:
    """The manifest as a file."""
    path.write_text(json.dumps(manifest))
    return str(path)


def test_a_plan_shows_all_and_makes_nothing(
    cli: Cli, kube: Kubectl, cluster: Cluster, operator: OperatorProcess, tmp_path: Path
) -> None:
    """What can be known is resolved, the outputs of other tasks stay as they were written."""
    kube.apply(PROFILE)
    done = cli.run("plan", "-f", write(tmp_path / "a.yaml", whole()), "--param", "size=huge")
    assert done.returncode == 0, done.stdout + done.stderr + operator.tail()
    said = done.stdout
    assert [line for line in said.splitlines() if line.startswith("# task ")] == [
        "# task prep, executor job",
        "# task sweep, executor job",
        "# task report, executor job",
    ]
    assert "# shown is member 0 of 6: lr=0.1, seed=1" in said
    assert "# executor.job.memory: profile small" in said
    assert "${tasks.prep.outputs.rows}" in said
    assert "value: huge" in said
    assert "value: sft\n" in said
    assert "name: sft-sweep-0-1\n" in said
    assert "hf_abcdef" not in said
    assert "-plan-" not in said
    assert "sft: Planned: 3 tasks planned; nothing of this name runs" in done.stderr
    kinds = ("configmaps", "jobs", "pods", "executionunits", "trainjobs")
    made = created(Path(cluster.audit_log), kube.namespace, *kinds)
    assert {name for _, name in made} <= {"kube-root-ca.crt"}


def test_a_plan_is_compared_with_what_runs(
    cli: Cli, kube: Kubectl, operator: OperatorProcess, tmp_path: Path
) -> None:
    """Equal to itself, and different by what was changed; what runs is left alone."""
    kube.apply(PROFILE, whole())
    made = eventually(lambda: kube.list(UNIT), "the first unit was made", explain=operator.tail)
    done = cli.run("plan", "-f", write(tmp_path / "a.yaml", whole()))
    assert done.returncode == 0, done.stdout + done.stderr + operator.tail()
    assert "the same as the one that exists" in done.stderr
    changed = whole(failurePolicy="Continue")
    changed["spec"]["tasks"][1]["executor"]["job"]["cpu"] = "75m"
    done = cli.run("plan", "-f", write(tmp_path / "b.yaml", changed))
    assert done.returncode == 1, done.stdout + done.stderr + operator.tail()
    lines = done.stdout.splitlines()
    changes = [each for each in lines if each.startswith(("+", "-")) and each[1:3] not in _SIGNS]
    assert {each[0] + each[1:].strip() for each in changes} == {
        "-failurePolicy: FailFast",
        "+failurePolicy: Continue",
        "-cpu: 50m",
        "+cpu: 75m",
    }
    assert "+++ planned/sft/sweep.yaml" in lines
    assert "+++ planned/sft/prep.yaml" not in lines
    names = [each["metadata"]["name"] for each in kube.list(EXPERIMENT)]
    assert [each for each in names if "-plan-" not in each] == ["sft"]
    assert [each["metadata"]["uid"] for each in kube.list(UNIT)] == [
        each["metadata"]["uid"] for each in made
    ]


def test_a_plan_that_would_be_refused_fails_and_names_the_task(
    cli: Cli, kube: Kubectl, operator: OperatorProcess, tmp_path: Path
) -> None:
    """The same from the resource alone: reason, message, and the ConfigMap with the whole."""
    bad = job("late", "true", after=[{"task": "early"}])
    bad["executor"]["job"]["serviceAccountName"] = "nobody"
    manifest = experiment("bad", job("early", "true"), bad, mode="Plan")
    done = cli.run("plan", "-f", write(tmp_path / "bad.yaml", manifest))
    assert done.returncode == 4, done.stdout + done.stderr + operator.tail()
    assert "bad: PlanFailed: task 'late': " in done.stderr
    assert 'serviceaccount "nobody" not found' in done.stderr
    kube.apply(manifest)
    ended = finished(kube, "bad", more=operator.tail)["status"]
    assert (ended["phase"], ended["reason"]) == ("Failed", "PlanFailed")
    stored = kube.get("configmaps", ended["plan"]["configMap"])
    assert stored is not None
    assert set(stored["data"]) == {"early.yaml", "late.yaml"}
    assert kube.list(f"{UNIT},jobs") == []


def test_a_plan_waits_for_no_profile_that_is_missing(
    cli: Cli, operator: OperatorProcess, tmp_path: Path
) -> None:
    """The operator waits for one that may still be written; the command says what is missing."""
    manifest = experiment("lost", job("a", "true", profile="nowhere"))
    done = cli.run("plan", "-f", write(tmp_path / "lost.yaml", manifest))
    assert done.returncode == 4, done.stdout + done.stderr + operator.tail()
    assert "lost: ProfileNotFound: " in done.stderr
