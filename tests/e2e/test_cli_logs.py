"""`runyard apply --wait` and `runyard logs` with real pods and the real operator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.experiments import experiment, job, train_job
from tests.support.kubectl import Kubectl
from tests.support.operator import OperatorProcess

pytestmark = pytest.mark.e2e


@pytest.fixture
def cli(kube: Kubectl) -> Cli:
    """The command line in the test's namespace."""
    return Cli(kube.kubeconfig, kube.namespace)


def test_logs_of_all_ranks_are_followed_to_the_end(
    cli: Cli, kube: Kubectl, operator: OperatorProcess
) -> None:
    """-f waits for pods that do not exist yet, prefixes each rank and ends with the task."""
    assert operator
    script = "for i in 1 2 3; do echo line $i; sleep 1; done"
    kube.apply(
        experiment(
            "ranks",
            job("prepare", "echo prepared"),
            train_job("train", script, after=[{"task": "prepare"}]),
        )
    )
    with cli.start("logs", "-f", "ranks") as running:
        running.wait_for("prepare/0 | prepared")
        assert running.finish() == 0
    lines = [line.strip() for line in running.seen]
    for rank in (0, 1):
        mine = [line for line in lines if line.startswith(f"train/{rank}")]
        assert mine == [f"train/{rank}   | line {number}" for number in (1, 2, 3)]

    one = cli.run("logs", "ranks", "train", "--rank", "1", "--tail", "2")
    assert one.stdout == "line 2\nline 3\n"
    stamped = cli.run("logs", "ranks", "prepare", "--timestamps")
    stamp, text = stamped.stdout.split(maxsplit=1)
    assert (stamp[:2], stamp[-1], text) == ("20", "Z", "prepared\n")


def test_a_failed_run_shows_why(
    cli: Cli, operator: OperatorProcess, kube: Kubectl, tmp_path: Path
) -> None:
    """Apply --wait ends 1 with exit code and last lines; logs has them when the pods are gone."""
    assert operator
    script = "echo loading; echo no data >&2; exit 3"
    file = tmp_path / "broken.json"
    file.write_text(
        json.dumps(
            experiment(
                "broken",
                job("load", script),
                job("use", "true", after=[{"task": "load"}]),
            )
        )
    )
    done = cli.run("apply", "-f", str(file), "--wait", "--timeout", "3m")
    assert done.returncode == 1
    assert "load: Failed (Error, exit code 3" in done.stdout
    assert "⊘ Skipped" in done.stdout
    assert "last log lines of load:\n" in done.stdout
    assert "  no data" in done.stdout
    kube.run("delete", "pods", "--all", "--timeout=120s")
    gone = cli.run("logs", "broken", "load")
    assert gone.returncode == 0
    assert "no data" in gone.stdout
    assert "the pods of load are gone" in gone.stderr


def test_cancel_and_delete_end_what_runs(
    cli: Cli, operator: OperatorProcess, kube: Kubectl
) -> None:
    """Cancel --wait ends when the pods have ended; delete --wait when nothing is left."""
    assert operator
    kube.apply(experiment("long", job("sleep", "echo asleep; sleep 600")))
    with cli.start("logs", "-f", "long", "sleep") as running:
        running.wait_for("asleep")
        cancelled = cli.run("cancel", "long", "--wait", "--timeout", "3m")
        assert cancelled.returncode == 0
        assert "long  ⊘ Cancelled" in cancelled.stdout
        assert running.finish() == 0
    deleted = cli.run("delete", "long", "--wait", "--timeout", "3m")
    assert deleted.stdout.endswith("experiment.runyard.dev/long deleted\n")
    assert kube.list("jobs,pods,executionunits.runyard.dev") == []
