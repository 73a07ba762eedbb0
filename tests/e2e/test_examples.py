"""Every example runs for real, as a user would run it: with the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.kubectl import Kubectl
from tests.support.operator import OperatorProcess

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True, slots=True)
class Expected:
    """How an example ends: the phase of each task, and what the log of one must contain."""

    experiment: str
    phases: dict[str, str]
    task: str
    log: str


EXPECTED = {
    "hello.yaml": Expected("hello", {"hello": "Succeeded"}, "hello", "Hello from hello-hello-1"),
    "failure.yaml": Expected(
        "failure",
        {"train": "Failed", "publish": "Skipped", "rescue": "Succeeded", "report": "Succeeded"},
        "train",
        "loss nan",
    ),
    "configmap-code.yaml": Expected("count", {"count": "Succeeded"}, "count", "{'the': 2"),
    "group.yaml": Expected(
        "group", {"evaluate": "Succeeded"}, "evaluate", "client heard: you asked for /42"
    ),
    "torchrun-job.yaml": Expected(
        "torchrun", {"train": "Succeeded"}, "train", "4 ranks add up to 6"
    ),
    "gang.yaml": Expected(
        "gang", {"train": "Succeeded"}, "train", "trained on batch 0 and batch 1"
    ),
    "finally.yaml": Expected(
        "finally",
        {"train": "Succeeded", "flaky": "Failed", "report": "Succeeded"},
        "report",
        "train: Succeeded, loss 0.25\nflaky: Failed, score ''",
    ),
    "matrix.yaml": Expected(
        "sweep", {"train": "Succeeded", "best": "Succeeded"}, "best", "best of 3: 0.1/0"
    ),
    "retry.yaml": Expected("retry", {"flaky": "Succeeded"}, "flaky", "attempt 2 with the key"),
    "profiles.yaml": Expected(
        "profiles",
        {"first": "Succeeded", "second": "Succeeded"},
        "second",
        "hello from the large profile, the answer is 42",
    ),
}
ALONE = {"approval.yaml", "rerun.yaml"}
"""Need more than one command, and have tests of their own below."""
ELSEWHERE = {"quickstart.yaml", "ray-cluster.yaml", "ray-job.yaml"}
"""Run by test_experiments.py, with an operator that is killed again and again, and by
test_ray.py."""


def runyard(kube: Kubectl, *args: str) -> subprocess.CompletedProcess[str]:
    """The command line in the test's namespace."""
    environment = {**os.environ, "KUBECONFIG": str(kube.kubeconfig)}
    command = [str(Path(sys.executable).with_name("runyard")), *args, "-n", kube.namespace]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=600
    )


def wait(kube: Kubectl, condition: str, experiment: str) -> None:
    """Until the experiment has the condition."""
    name = f"experiments.runyard.dev/{experiment}"
    kube.run("wait", f"--for=condition={condition}", name, "--timeout=180s")


def test_every_example_is_run_somewhere() -> None:
    """A new example must be added to a test that runs it."""
    assert {path.name for path in EXAMPLES.glob("*")} == set(EXPECTED) | ALONE | ELSEWHERE


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_runs(kube: Kubectl, operator: OperatorProcess, name: str) -> None:
    """`runyard apply --wait` follows the example to its end, and exits with 0."""
    expected = EXPECTED[name]
    done = runyard(kube, "apply", "-f", str(EXAMPLES / name), "--wait", "--timeout", "300s")
    assert done.returncode == 0, done.stdout + done.stderr
    units = kube.list("executionunits.runyard.dev")
    assert {u["spec"]["task"]: u["status"]["phase"] for u in units} == expected.phases
    log = runyard(kube, "logs", expected.experiment, expected.task)
    assert expected.log in log.stdout


def test_the_approval_example_waits_for_a_person(kube: Kubectl, operator: OperatorProcess) -> None:
    """Nothing is made for the task until somebody approves it."""
    assert runyard(kube, "apply", "-f", str(EXAMPLES / "approval.yaml")).returncode == 0
    wait(kube, "Approved=False", "approval")
    units = kube.list("executionunits.runyard.dev")
    assert [each["metadata"]["name"] for each in units] == ["approval-train"]
    approved = runyard(kube, "approve", "approval", "publish")
    assert approved.returncode == 0, approved.stdout + approved.stderr
    wait(kube, "Succeeded", "approval")
    log = runyard(kube, "logs", "approval", "publish")
    assert "published a model with a loss of 0.25" in log.stdout


def test_the_rerun_example_runs_only_what_is_new(kube: Kubectl, operator: OperatorProcess) -> None:
    """The members that `matrix.yaml` ran are taken over, with what they wrote."""
    for name in ("matrix.yaml", "rerun.yaml"):
        path = str(EXAMPLES / name)
        done = runyard(kube, "apply", "-f", path, "--wait", "--timeout", "300s")
        assert done.returncode == 0, done.stdout + done.stderr
    units = kube.list("executionunits.runyard.dev")
    again = [each for each in units if each["spec"]["experiment"] == "sweep-again"]
    ran = {each["metadata"]["name"] for each in again if each["status"]["reason"] != "Adopted"}
    assert ran == {"sweep-again-train-1", "sweep-again-best"}
    log = runyard(kube, "logs", "sweep-again", "best")
    assert "best of 4: 0.15/0 with a loss of 0.000" in log.stdout


def test_apply_and_wait_fails_with_the_experiment(
    kube: Kubectl, operator: OperatorProcess, tmp_path: Path
) -> None:
    """The exit code is 1, and the output names task, exit code, reason and last log lines."""
    text = (EXAMPLES / "failure.yaml").read_text(encoding="utf-8")
    unhandled = tmp_path / "unhandled.yaml"
    unhandled.write_text(text.replace("when: Failed", "when: Succeeded"), encoding="utf-8")
    done = runyard(kube, "apply", "-f", str(unhandled), "--wait", "--timeout", "300s")
    assert done.returncode == 1, done.stdout + done.stderr
    told = done.stdout + done.stderr
    for part in ("train", "exit code 3", "loss nan", "Skipped"):
        assert part in told, told
