"""What a plan says above a task's objects."""

from __future__ import annotations

from typing import Any

from runyard.api.executor import ExecutorDefaults, JobExecutor
from runyard.api.pod import EnvVar
from runyard.api.profile import ProfileSpec, TaskDefaults
from runyard.api.task import Task
from runyard.api.unit import Member, UnitSpec
from runyard_operator.engine import merge
from runyard_operator.plans import shown

PROFILES = {
    "base": ProfileSpec(
        env=[EnvVar(name="A", value="base"), EnvVar(name="B", value="base")],
        executor=ExecutorDefaults(job=JobExecutor(image="base:1", cpu="1")),
    ),
    "big": ProfileSpec(extends="base", executor=ExecutorDefaults(job=JobExecutor(cpu="8"))),
}


def sample(name: str, spec: dict[str, Any], **labels: str) -> dict[str, Any]:
    """An experiment as the API server has it."""
    return {"metadata": {"name": name, "uid": "uid-1", "labels": labels}, "spec": spec}


def unit(**fields: Any) -> UnitSpec:
    """A unit's spec."""
    work = {"script": {"inline": "true"}, "executor": {"job": {"image": "x"}}}
    return UnitSpec.model_validate({**work, **fields})


def test_each_value_names_the_layer_that_it_came_from() -> None:
    """The last layer that sets a value has it, as in the merge itself."""
    task = {
        "name": "train",
        "executor": {"job": {"memory": "2Gi", "nodeSelector": {"gpu": "h100"}}},
        "env": [{"name": "B", "value": "task"}],
    }
    defaults = {"profile": "big", "executor": {"job": {"image": "mine:1"}}}
    lines = shown.head(
        sample("sft", {"defaults": defaults, "tasks": [task]}), "train", unit(), 1, PROFILES
    )
    assert lines == [
        "task train, executor job",
        "layers, the later ones win: profile base, profile big, spec.defaults, the task",
        "env[A]: profile base",
        "env[B]: the task",
        "executor.job.image: spec.defaults",
        "executor.job.cpu: profile big",
        "executor.job.memory: the task",
        "executor.job.nodeSelector.gpu: the task",
    ]


def test_the_origins_agree_with_the_merge() -> None:
    """What a line says is where the merged value really is from."""
    task = Task.model_validate(
        {"name": "a", "script": {"inline": "true"}, "executor": {"job": {"cpu": "2"}}}
    )
    defaults = TaskDefaults(profile="big", env=[EnvVar(name="A", value="defaults")])
    merged = merge.merged(task, defaults, PROFILES)
    spec = {"defaults": defaults.to_dict(), "tasks": [task.to_dict()]}
    lines = shown.head(sample("sft", spec), "a", unit(), 1, PROFILES)
    block = merged.executor.job
    assert block is not None
    assert (block.cpu, block.image) == ("2", "base:1")
    assert {"executor.job.cpu: the task", "executor.job.image: profile base"} <= set(lines)
    assert [each.value for each in merged.env] == ["defaults", "base"]
    assert {"env[A]: spec.defaults", "env[B]: profile base"} <= set(lines)


def test_a_task_that_inherits_nothing_needs_no_such_lines() -> None:
    """There is one layer only."""
    spec = {"tasks": [{"name": "a", "executor": {"job": {"image": "x"}}}]}
    assert shown.head(sample("e", spec), "a", unit(), 1, {}) == ["task a, executor job"]


def test_a_matrix_says_which_member_is_shown() -> None:
    """And of how many."""
    member = Member(index=0, values={"lr": "0.1", "seed": "1"})
    spec = {"tasks": [{"name": "a", "executor": {"job": {}}}]}
    lines = shown.head(sample("e", spec), "a", unit(member=member), 12, {})
    assert lines[1] == "shown is member 0 of 12: lr=0.1, seed=1"


def test_a_copy_is_shown_by_the_name_that_it_stands_for() -> None:
    """So two plans of one experiment are alike, whatever the copies are called."""
    copy = sample("sft-plan-x7k2q", {}, **{shown.LABEL_PLAN_OF: "sft"})
    assert shown.name_of(copy) == "sft"
    text = "sft-plan-x7k2q-train uid-1-1"
    assert shown.neutral(copy, text) == f"sft-train {shown.UID}-1"
    assert shown.neutral(sample("sft", {}), "sft-train") == "sft-train"
