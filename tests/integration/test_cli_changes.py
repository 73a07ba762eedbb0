"""The commands that change an experiment or make another one, against a real API server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.acting import ActingOperator
from tests.support.cli import Cli
from tests.support.experiments import EXPERIMENT, experiment, job
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.integration


@pytest.fixture
def cli(kube: Kubectl) -> Cli:
    """The command line in the test's namespace."""
    return Cli(kube.kubeconfig, kube.namespace)


@pytest.fixture
def acting(kube: Kubectl) -> ActingOperator:
    """The test in the operator's place, with a task that waits for approval."""
    deploy = job("deploy", "true", after=[{"task": "train"}], approval={"message": "look"})
    kube.apply(experiment("sft", job("train", "true"), job("other", "true"), deploy))
    return ActingOperator(kube, "sft")


def spec(kube: Kubectl, name: str = "sft") -> dict[str, Any]:
    """The stored spec."""
    found = kube.get(EXPERIMENT, name)
    assert found is not None
    stored: dict[str, Any] = found["spec"]
    return stored


def test_an_experiment_is_suspended_and_goes_on(cli: Cli, kube: Kubectl, acting: Any) -> None:
    """A second request changes nothing."""
    for _ in range(2):
        done = cli.run("suspend", "sft")
        assert (done.returncode, done.stdout) == (0, "experiment.runyard.dev/sft suspended\n")
    assert spec(kube)["suspend"] is True
    assert cli.run("resume", "sft").stdout == "experiment.runyard.dev/sft resumed\n"
    assert spec(kube)["suspend"] is False


def test_single_tasks_are_suspended_and_go_on(cli: Cli, kube: Kubectl, acting: Any) -> None:
    """The others' suspension stays, and what still holds a task is said."""
    assert cli.run("suspend", "sft", "train").returncode == 0
    assert cli.run("suspend", "sft", "other", "train").returncode == 0
    assert spec(kube)["suspendTasks"] == ["train", "other"]
    assert cli.run("resume", "sft", "train").returncode == 0
    assert spec(kube)["suspendTasks"] == ["other"]
    done = cli.run("resume", "sft")
    assert "still suspended one by one: other: runyard resume sft other" in done.stderr
    cli.run("suspend", "sft")
    done = cli.run("resume", "sft", "other")
    assert "all of sft is still suspended: runyard resume sft" in done.stderr
    assert spec(kube)["suspendTasks"] == []


@pytest.mark.parametrize(
    "command",
    [("suspend", "sft", "trian"), ("resume", "sft", "trian"), ("approve", "sft", "trian")],
)
def test_a_task_that_is_not_there_is_an_error(
    cli: Cli, acting: Any, command: tuple[str, ...]
) -> None:
    """With the name that was meant."""
    done = cli.run(*command)
    assert done.returncode == 2
    assert "has no task 'trian'" in done.stderr
    assert "did you mean train?" in done.stderr


def test_a_task_is_approved_once_and_the_verdict_may_change_before_it_counts(
    cli: Cli, kube: Kubectl, acting: ActingOperator
) -> None:
    """The status names the command."""
    acting.records(train="S", other="S", deploy=".")
    shown = cli.run("status", "sft").stdout
    assert "waits for approval: runyard approve sft deploy\n  look\n" in shown
    done = cli.run("reject", "sft", "deploy", "-m", "too early")
    assert done.stdout == "experiment.runyard.dev/sft rejected: deploy\n"
    assert spec(kube)["approvals"] == [
        {"task": "deploy", "verdict": "Reject", "message": "too early"}
    ]
    done = cli.run("approve", "sft", "deploy")
    assert done.stdout == "experiment.runyard.dev/sft approved: deploy\n"
    (verdict,) = spec(kube)["approvals"]
    assert (verdict["task"], verdict["verdict"]) == ("deploy", "Approve")


def test_what_needs_no_approval_or_none_any_more_is_refused(
    cli: Cli, acting: ActingOperator
) -> None:
    """A verdict that changes nothing would mislead."""
    done = cli.run("approve", "sft", "train")
    assert (done.returncode, done.stderr) == (1, "error: the task 'train' needs no approval\n")
    acting.records(train="S", other="S", deploy="+")
    done = cli.run("reject", "sft", "deploy")
    assert "the task 'deploy' waits for no verdict any more" in done.stderr
    assert done.returncode == 1


def test_an_experiment_that_has_ended_is_not_changed(
    cli: Cli, kube: Kubectl, acting: ActingOperator
) -> None:
    """Suspending it is no error, a verdict is."""
    acting.status("Succeeded")
    done = cli.run("suspend", "sft")
    assert (done.returncode, "has ended already: Succeeded" in done.stdout) == (0, True)
    assert spec(kube)["suspend"] is False
    assert cli.run("approve", "sft", "deploy").returncode == 1


def test_a_rerun_is_another_experiment_with_the_old_ones_work(
    cli: Cli, kube: Kubectl, acting: ActingOperator
) -> None:
    """The first free name is taken; the old one stays as it was."""
    before = spec(kube)
    acting.status("Failed")
    done = cli.run("rerun", "sft", "--from", "train")
    assert done.stdout == "experiment.runyard.dev/sft-rerun-1 created, a rerun of sft\n"
    assert spec(kube) == before
    made = spec(kube, "sft-rerun-1")
    assert made["tasks"] == before["tasks"]
    assert made["rerunOf"] == {"name": "sft", "fromTasks": ["train"]}
    assert "sft-rerun-2 created" in cli.run("rerun", "sft").stdout
    assert "sft-rerun-3 created" in cli.run("rerun", "sft-rerun-2").stdout
    assert spec(kube, "sft-rerun-3")["rerunOf"]["name"] == "sft-rerun-2"


def test_a_rerun_takes_the_name_it_is_given_or_none(
    cli: Cli, kube: Kubectl, acting: ActingOperator
) -> None:
    """What exists is never changed."""
    done = cli.run("rerun", "sft", "--as", "again")
    assert "again created" in done.stdout
    assert "sft has not ended: only what has succeeded by now is taken over" in done.stderr
    done = cli.run("rerun", "sft", "--as", "again")
    assert done.returncode == 1
    assert "there is an experiment 'again' already" in done.stderr
    done = cli.run("rerun", "sft", "--from", "trian")
    assert (done.returncode, "did you mean train?" in done.stderr) == (2, True)


def test_a_rerun_with_the_recorded_profiles_owns_copies_of_them(
    cli: Cli, kube: Kubectl, acting: ActingOperator
) -> None:
    """Without them, what has changed is said."""
    profile = {
        "apiVersion": "runyard.dev/v1alpha1",
        "kind": "ExecutionProfile",
        "metadata": {"name": "big"},
        "spec": {"executor": {"job": {"cpu": "8"}}},
    }
    kube.apply(profile, experiment("old", job("a", "true", profile="big")))
    used = {"name": "big", "namespace": kube.namespace, "spec": {"executor": {"job": {"cpu": "4"}}}}
    ActingOperator(kube, "old").status("Failed", profiles=[used])
    done = cli.run("rerun", "old", "--as", "today")
    assert "changed since old ran: profile big" in done.stderr
    done = cli.run("rerun", "old", "--as", "then", "--recorded-profiles")
    assert done.stderr == ""
    (task,) = spec(kube, "then")["tasks"]
    assert task["profile"] == "then-big"
    copy = kube.get("executionprofiles.runyard.dev", "then-big")
    owner = kube.get(EXPERIMENT, "then")
    assert copy is not None
    assert owner is not None
    assert copy["spec"]["executor"]["job"]["cpu"] == "4"
    assert copy["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]


def test_parameters_come_from_the_command_line(cli: Cli, kube: Kubectl, tmp_path: Any) -> None:
    """The file stays as it is; a wrong name applies nothing."""
    file = tmp_path / "x.yaml"
    file.write_text(
        "apiVersion: runyard.dev/v1alpha1\nkind: Experiment\nmetadata: {name: swept}\n"
        "spec:\n  params: [{name: lr, value: '1'}]\n"
        "  tasks: [{name: a, script: {inline: 'true'}, executor: {job: {image: x}}}]\n"
    )
    done = cli.run("apply", "-f", str(file), "--param", "lrs=2")
    assert (done.returncode, "did you mean lr?" in done.stderr) == (2, True)
    assert kube.get(EXPERIMENT, "swept") is None
    assert cli.run("apply", "-f", str(file), "--param", "lr=2").returncode == 0
    assert spec(kube, "swept")["params"] == [{"name": "lr", "value": "2"}]
