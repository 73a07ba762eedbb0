"""What is sent to the API server, against goldens, and what is refused before."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from kubeflow_trainer_api import models

from runyard_operator.backends.base import Refused
from runyard_operator.backends.job.render import render as render_job
from runyard_operator.backends.pods.command import plain_command
from runyard_operator.backends.trainjob.render import render as render_train_job
from runyard_operator.engine import reasons
from runyard_operator.launchers import Shape
from tests.unit.backends.rendering import CASES, TORCH_RUNTIME, document
from tests.unit.backends.samples import CONFIG, golden, job_spec, target, train_spec

TORCHRUN = [
    "torchrun", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--rdzv-id", "key",
    "--nnodes", "1", "--nproc-per-node", "1", "--node-rank", "0", "--tee", "3",
]  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_plans_are_as_the_goldens_say(name: str) -> None:
    """A change of what is sent shows in the golden; `rendering.py` writes them anew."""
    assert document(CASES[name]()) == golden(name)


@pytest.mark.parametrize("name", CASES)
def test_rendering_is_deterministic(name: str) -> None:
    """The same attempt gives the same bytes."""
    assert json.dumps(CASES[name]().objects) == json.dumps(CASES[name]().objects)


def test_the_train_job_is_one_by_its_own_models() -> None:
    """The Trainer's models read it and give back the same: no field is unknown to them."""
    runtime, job = CASES["trainjob"]().objects
    assert models.TrainerV1alpha1TrainJob.from_dict(job).to_dict() == job
    known = copy.deepcopy(runtime)
    del known["spec"]["fieldOfTheFuture"]
    assert models.TrainerV1alpha1TrainingRuntime.from_dict(known).to_dict() == known


def test_the_source_runtime_is_left_as_it_is() -> None:
    """It is an object of the cache, shared with everybody."""
    before = copy.deepcopy(TORCH_RUNTIME)
    render_train_job(target(train_spec()), TORCH_RUNTIME, CONFIG)
    assert before == TORCH_RUNTIME


def test_a_runtime_that_wants_restarts_keeps_them() -> None:
    """Only what the runtime leaves open is set: backoffLimit, restartPolicy, replacement."""
    source = copy.deepcopy(TORCH_RUNTIME)
    job = source["spec"]["template"]["spec"]["replicatedJobs"][1]["template"]["spec"]
    job["backoffLimit"] = 3
    job["template"]["spec"]["restartPolicy"] = "OnFailure"
    runtime, _ = render_train_job(target(train_spec()), source, CONFIG).objects
    derived = runtime["spec"]["template"]["spec"]["replicatedJobs"][1]["template"]["spec"]
    assert derived["backoffLimit"] == 3
    assert derived["template"]["spec"]["restartPolicy"] == "OnFailure"
    assert derived["podReplacementPolicy"] == "Failed"


def _without_trainer(source: dict[str, Any]) -> None:
    source["spec"]["template"]["spec"]["replicatedJobs"].pop()


def _mpi(source: dict[str, Any]) -> None:
    source["spec"]["mlPolicy"] = {"numNodes": 1, "mpi": {}}


@pytest.mark.parametrize(
    ("change", "words"),
    [(_without_trainer, "has no trainer job"), (_mpi, "needs a torch runtime")],
)
def test_a_runtime_that_cannot_run_the_task_is_refused(change: Any, words: str) -> None:
    """The message names the runtime and the field to change."""
    source = copy.deepcopy(TORCH_RUNTIME)
    change(source)
    with pytest.raises(Refused, match=words) as caught:
        render_train_job(target(train_spec()), source, CONFIG)
    assert "ClusterTrainingRuntime/torch-distributed" in caught.value.message


def test_a_job_without_an_image_is_refused() -> None:
    """There is no image that would fit every task."""
    with pytest.raises(Refused, match=r"executor\.job\.image is not set") as caught:
        render_job(target(job_spec(executor={"job": {}})), CONFIG)
    assert caught.value.reason == reasons.INVALID_SPEC


def test_inline_code_that_clashes_is_refused() -> None:
    """The bundle's own message reaches the unit."""
    code = {"inline": [{"path": "a", "content": ""}, {"path": "a/b", "content": ""}]}
    with pytest.raises(Refused, match="'a' is a file"):
        render_job(target(job_spec(code=code)), CONFIG)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"script": {"path": "a.sh", "args": ["1"]}}, ["bash", "a.sh", "1"]),
        (
            {"script": {"inline": "x", "args": ["1"]}},
            ["bash", "/nemo_run/scripts/train.sh", "1"],
        ),
        ({"script": {"inline": "x"}, "task": None}, ["bash", "/nemo_run/scripts/alone.sh"]),
        (
            {
                "script": {"path": "a.py", "entrypoint": "python", "args": ["1"]},
                "launcher": {"torchrun": {}},
            },
            [*TORCHRUN, "a.py", "1"],
        ),
        (
            {"script": {"path": "a.sh"}, "launcher": {"torchrun": {"maxRestarts": 0}}},
            [*TORCHRUN, "--max-restarts", "0", "--no-python", "bash", "a.sh"],
        ),
    ],
)
def test_commands(changes: dict[str, Any], expected: list[str]) -> None:
    """Script and launcher make the command."""
    spec = target(job_spec(**changes)).spec
    assert plain_command(spec, "alone", shape=Shape(run_id="key")) == expected
