"""`runyard plan` against a real API server, with the test in the operator's place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.acting import ActingOperator
from tests.support.cli import Cli
from tests.support.experiments import EXPERIMENT, experiment, job
from tests.support.kubectl import Kubectl
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

TEXT = "# task a, executor job\n---\nkind: Job\nimage: {image}\n"


@pytest.fixture
def cli(kube: Kubectl) -> Cli:
    """The command line in the test's namespace."""
    return Cli(kube.kubeconfig, kube.namespace)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An experiment of one task."""
    path = tmp_path / "sft.yaml"
    path.write_text(json.dumps(experiment("sft", job("a", "echo new"), suspend=True)))
    return path


def copies(kube: Kubectl) -> list[dict[str, Any]]:
    """The copies that wait for a plan."""
    found = kube.list(EXPERIMENT, "runyard.dev/plan-of=sft")
    return [each for each in found if not each.get("status", {}).get("phase")]


def act(kube: Kubectl, number: int, **status: Any) -> None:
    """Plans the copies, once there are `number` of them; the image tells whose plan it is."""

    def there() -> list[dict[str, Any]] | None:
        found = copies(kube)
        return found if len(found) == number else None

    for each in eventually(there, f"{number} copies are there"):
        name = each["metadata"]["name"]
        assert each["spec"]["mode"] == "Plan"
        script = each["spec"]["tasks"][0]["script"]["inline"].split()[-1]
        text = TEXT.format(image=script)
        ActingOperator(kube, name).plan({"a.yaml": text}, message=f"{name}: 1 task", **status)


def test_a_new_experiment_is_planned_and_nothing_stays(cli: Cli, kube: Kubectl, file: Path) -> None:
    """Not even the copy; the name that is meant is the one that is said."""
    with cli.start("plan", "-f", str(file)) as running:
        act(kube, 1, reason="Planned")
        assert running.finish() == 0
    assert "image: new" in running.seen
    assert "sft: Planned: sft: 1 task; nothing of this name runs" in running.seen
    assert kube.list(EXPERIMENT) == []


def test_a_difference_from_what_runs_is_shown_and_is_the_exit_code(
    cli: Cli, kube: Kubectl, file: Path
) -> None:
    """What runs stays as it is, its own suspension is no difference."""
    kube.apply(experiment("sft", job("a", "echo old")))
    before = kube.get(EXPERIMENT, "sft")
    with cli.start("plan", "-f", str(file)) as running:
        act(kube, 2, reason="Planned")
        assert running.finish() == 1
    said = running.seen
    assert "-image: old" in said
    assert "+image: new" in said
    assert "-    inline: echo old" in said
    assert not any("suspend" in line for line in said)
    assert kube.get(EXPERIMENT, "sft") == before
    assert [each["metadata"]["name"] for each in kube.list(EXPERIMENT)] == ["sft"]


def test_no_difference_is_exit_code_0(cli: Cli, kube: Kubectl, file: Path) -> None:
    """As for kubectl diff; -o yaml gives the objects alone."""
    kube.apply(experiment("sft", job("a", "echo new")))
    with cli.start("plan", "-f", str(file), "-o", "yaml") as running:
        act(kube, 2, reason="Planned")
        assert running.finish() == 0
    documents = [each for each in yaml.safe_load_all("\n".join(running.seen[:-1])) if each]
    assert documents == [{"kind": "Job", "image": "new"}]
    assert running.seen[-1].endswith("; the same as the one that exists")


def test_a_plan_that_failed_is_shown_and_told(cli: Cli, kube: Kubectl, file: Path) -> None:
    """With an exit code of its own, since 1 is a difference."""
    with cli.start("plan", "-f", str(file)) as running:
        act(kube, 1, phase="Failed", reason="PlanFailed")
        assert running.finish() == 4
    assert "image: new" in running.seen
    assert "error: sft: PlanFailed: sft: 1 task" in running.seen
    assert kube.list(EXPERIMENT) == []


def test_what_the_api_server_refuses_is_told_by_the_file(
    cli: Cli, kube: Kubectl, tmp_path: Path
) -> None:
    """With the file, the field and the name that the user wrote."""
    path = tmp_path / "bad.yaml"
    path.write_text(json.dumps(experiment("sft", job("a", "true"), nonsense=1)))
    done = cli.run("plan", "-f", str(path))
    assert done.returncode == 4
    assert "experiment sft was refused" in done.stderr
    assert "nonsense" in done.stderr
    assert "-plan-" not in done.stderr


def test_an_operator_that_is_silent_is_waited_for_and_not_for_ever(
    cli: Cli, kube: Kubectl, file: Path
) -> None:
    """The copy goes in this case, too."""
    done = cli.run("plan", "-f", str(file), "--timeout", "2s")
    assert done.returncode == 124
    assert "the operator has not made the plan in time" in done.stderr
    assert kube.list(EXPERIMENT) == []
