"""Experiments on real pods: success, failure, cancel, deletion, and an operator that is killed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import audit
from tests.support.experiments import (
    EXPERIMENT,
    TERMINAL,
    UNIT,
    experiment,
    finished,
    job,
    phase,
    train_job,
)
from tests.support.kubectl import Kubectl
from tests.support.operator import OperatorProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.e2e

CHILDREN = "jobs,trainjobs,trainingruntimes,pods,configmaps,executionunits.runyard.dev"


def unit(kube: Kubectl, name: str) -> dict[str, Any]:
    """The unit, which must be there."""
    found = kube.get(UNIT, name)
    assert found is not None, f"no unit {name}"
    return found


def leftovers(kube: Kubectl) -> list[str]:
    """What is left of an experiment in the namespace, as kind/name."""
    return [
        f"{each['kind']}/{each['metadata']['name']}"
        for each in kube.list(CHILDREN)
        if each["metadata"]["name"] != "kube-root-ca.crt"
    ]


def test_outputs_flow_from_task_to_task(kube: Kubectl, operator: OperatorProcess) -> None:
    """An output of a finished task is in its status and in the environment of its child."""
    kube.apply(
        experiment(
            "flow",
            job(
                "write",
                'printf "forty two" > "$RUNYARD_OUTPUTS/answer"',
                outputs=[{"name": "answer"}],
            ),
            job(
                "read",
                'test "$ANSWER" = "forty two" && pwd && cat pkg/sub/data.txt && echo "$PYTHONPATH"',
                after=[{"task": "write"}],
                env=[{"name": "ANSWER", "value": "${tasks.write.outputs.answer}"}],
            ),
            code={"inline": [{"path": "pkg/sub/data.txt", "content": "data\n"}]},
        )
    )
    done = finished(kube, "flow")
    assert phase(done) == "Succeeded", done["status"]
    assert unit(kube, "flow-write")["status"]["outputs"] == [
        {"name": "answer", "value": "forty two"}
    ]
    log = kube.run("logs", "-l", "runyard.dev/task=read", "-c", "main")
    assert log.split() == ["/nemo_run/code", "data", "/nemo_run/code"]


def test_a_failure_blocks_what_depends_on_it(kube: Kubectl, operator: OperatorProcess) -> None:
    """A failed task shows exit code and last lines; dependants are Skipped with the reason."""
    kube.apply(
        experiment(
            "broken",
            job("bad", "echo before the fall; echo the reason >&2; exit 3"),
            job("next", "true", after=[{"task": "bad"}]),
            job("after-next", "true", after=[{"task": "next"}]),
            job("cleanup", "true", after=[{"task": "bad", "when": "Finished"}]),
            failurePolicy="Continue",
        )
    )
    done = finished(kube, "broken")
    assert phase(done) == "Failed"
    assert [each["name"] for each in done["status"]["failedTasks"]] == ["bad"]
    attempt = unit(kube, "broken-bad")["status"]["attempts"][0]
    assert attempt["exitCode"] == 3
    assert attempt["failureClass"] == "Error"
    assert "the reason" in "\n".join(attempt["lastLogLines"])
    for name, parent in (("broken-next", "bad"), ("broken-after-next", "next")):
        status = unit(kube, name)["status"]
        assert (status["phase"], status["reason"]) == ("Skipped", "DependencyNotMet")
        assert f"'{parent}'" in status["message"]
    assert phase(unit(kube, "broken-cleanup")) == "Succeeded"


def test_a_failing_train_job_tells_why(kube: Kubectl, operator: OperatorProcess) -> None:
    """The exit code of the node that failed reaches the unit's status."""
    kube.apply(experiment("crash", train_job("train", "echo boom >&2; exit 7")))
    assert phase(finished(kube, "crash")) == "Failed"
    attempt = unit(kube, "crash-train")["status"]["attempts"][0]
    assert attempt["exitCode"] == 7
    assert "boom" in "\n".join(attempt["lastLogLines"])
    assert attempt["node"]


def test_applying_twice_changes_nothing(kube: Kubectl, operator: OperatorProcess) -> None:
    """A second apply of the same file leaves the generation of everything as it was."""
    manifest = experiment("same", job("only", "sleep 2"))
    kube.apply(manifest)
    finished(kube, "same")

    def generations() -> dict[str, int]:
        return {
            f"{each['kind']}/{each['metadata']['name']}": each["metadata"].get("generation", 0)
            for each in kube.list(f"{EXPERIMENT},{UNIT},jobs")
        }

    before = generations()
    kube.apply(manifest)
    assert generations() == before


def test_cancel_ends_the_job_and_the_experiment(kube: Kubectl, operator: OperatorProcess) -> None:
    """spec.cancel ends running pods; the units say Cancelled, not Failed."""
    kube.apply(
        experiment(
            "stop",
            train_job("long", "trap 'exit 0' TERM; sleep 600 & wait"),
            job("later", "true", after=[{"task": "long"}]),
        )
    )
    eventually(lambda: phase(kube.get(UNIT, "stop-long")) == "Running", "long is running")
    kube.run("patch", EXPERIMENT, "stop", "--type=merge", "-p", '{"spec":{"cancel":true}}')
    assert phase(finished(kube, "stop")) == "Cancelled"
    assert {phase(each) for each in kube.list(UNIT)} == {"Cancelled"}
    eventually(lambda: not kube.list("pods,trainjobs"), "the job's pods are gone")


def _created(kube: Kubectl) -> bool:
    return bool(kube.list(UNIT))


def _submitted(kube: Kubectl) -> bool:
    return bool(kube.list("jobs,trainjobs"))


def _training(kube: Kubectl) -> bool:
    return phase(kube.get(UNIT, "gone-train")) == "Running"


def _over(kube: Kubectl) -> bool:
    return phase(kube.get(EXPERIMENT, "gone")) in TERMINAL


@pytest.mark.parametrize("moment", [_created, _submitted, _training, _over])
def test_deletion_leaves_nothing(
    kube: Kubectl, operator: OperatorProcess, moment: Callable[[Kubectl], bool]
) -> None:
    """Deleting the experiment in any phase leaves no unit, job, ConfigMap or pod."""
    kube.apply(
        experiment(
            "gone",
            job("prepare", "cat data.txt"),
            train_job("train", "sleep 8", after=[{"task": "prepare"}]),
            code={"inline": [{"path": "data.txt", "content": "x"}]},
        )
    )
    eventually(lambda: moment(kube), moment.__name__, interval=0.05)
    kube.run("delete", EXPERIMENT, "gone", "--timeout=180s")
    eventually(lambda: not leftovers(kube), "nothing is left", explain=lambda: str(leftovers(kube)))


def test_the_quickstart_survives_an_operator_that_is_killed(
    kube: Kubectl, operator: OperatorProcess, cluster: Any
) -> None:
    """SIGKILL at random moments of the example: it succeeds, and nothing is submitted twice."""
    example = Path(__file__).parents[2] / "examples" / "quickstart.yaml"
    rng = random.Random(20261121)
    kube.run("apply", "--server-side", "-f", str(example))
    kills = 0
    while phase(kube.get(EXPERIMENT, "quickstart")) not in TERMINAL:
        pause = rng.uniform(0.2, 6.0)
        over = _wait_at_most(pause, lambda: phase(kube.get(EXPERIMENT, "quickstart")) in TERMINAL)
        if over:
            break
        operator.kill()
        kills += 1
        operator.start(wait_ready=rng.random() < 0.7)
        assert kills < 400, kube.run("get", f"{EXPERIMENT},{UNIT},pods", "-o", "wide")
    done = finished(kube, "quickstart")
    assert phase(done) == "Succeeded", done["status"]
    assert kills > 3
    counts = audit.created(cluster.audit_log, kube.namespace, "jobs", "trainjobs")
    ours = {key: count for key, count in counts.items() if not key[1].endswith("-node-0")}
    assert ours == {
        ("jobs", "quickstart-prepare-1"): 1,
        ("trainjobs", "quickstart-train-1"): 1,
        ("jobs", "quickstart-evaluate-1"): 1,
    }
    train = {
        each["name"]: each["value"] for each in unit(kube, "quickstart-train")["status"]["outputs"]
    }
    assert float(train["final_loss"]) < float(train["first_loss"])


def _wait_at_most(seconds: float, look: Callable[[], bool]) -> bool:
    """Whether `look` came true within the seconds; a pause that ends early."""
    try:
        return eventually(look, "", timeout=seconds, interval=0.5)
    except AssertionError:
        return False


def test_tables_fit_into_80_columns(kube: Kubectl, operator: OperatorProcess) -> None:
    """`kubectl get rexp,reu` reads well on a narrow terminal."""
    kube.apply(experiment("llama-finetune", job("evaluate", "true")))
    finished(kube, "llama-finetune")
    table = kube.run("get", "rexp,reu")
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80, table
