"""What may change after creation and what may not: one case for each field of both specs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from runyard.api import ApiModel, ExperimentSpec, UnitSpec
from testbed.cluster import Cluster
from tests.support.crds import Manifest, experiment, installed, rules, task, unit
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.integration


@dataclass(frozen=True, slots=True)
class Edit:
    """A merge patch of a spec that has `before` in it; `refused` is what the user is told, if so.

    A value of None is a field that is not there.
    """

    what: str
    before: Mapping[str, Any]
    change: Mapping[str, Any]
    refused: str | None


def edits(field: str, one: Any, other: Any, refused: str | None) -> list[Edit]:
    """A field of two possible values, both other than its default: added, changed, removed."""
    return [
        Edit(f"{field} added", {}, {field: one}, refused),
        Edit(f"{field} changed", {field: one}, {field: other}, refused),
        Edit(f"{field} removed", {field: one}, {field: None}, refused),
    ]


def once(field: str, refused: str) -> list[Edit]:
    """A switch that can be turned on and not off again."""
    return [
        Edit(f"{field} set", {}, {field: True}, None),
        Edit(f"{field} taken back", {field: True}, {field: False}, refused),
        Edit(f"{field} removed", {field: True}, {field: None}, refused),
    ]


def another(field: str, verb: str = "is") -> str:
    """The refusal for what an experiment was created with."""
    return f"{field} {verb} immutable: create an experiment with another name"


CANCEL = "cancel cannot be taken back: create the {} anew"
CODE = ({"configMap": {"name": "a"}}, {"configMap": {"name": "b"}})
RETRY = ({"limit": 1}, {"limit": 2})
DEADLINES = ({"activeSeconds": 60}, {"queuedSeconds": 60})
A, B = [{"name": "A", "value": "1"}], [{"name": "A", "value": "2"}]
TASKS = another("tasks", "are")

EXPERIMENT: dict[str, list[Edit]] = {
    "mode": [
        Edit("mode set", {}, {"mode": "Plan"}, another("mode")),
        Edit("mode changed", {"mode": "Plan"}, {"mode": "Run"}, another("mode")),
        Edit("mode removed", {"mode": "Plan"}, {"mode": None}, another("mode")),
    ],
    "params": edits("params", A, B, another("params", "are")),
    "rerunOf": edits("rerunOf", {"name": "a"}, {"name": "b"}, another("rerunOf")),
    "defaults": edits("defaults", {"profile": "a"}, {"profile": "b"}, another("defaults", "are")),
    "code": edits("code", *CODE, another("code")),
    "failurePolicy": [
        Edit("policy set", {}, {"failurePolicy": "Continue"}, another("failurePolicy")),
        Edit(
            "policy removed",
            {"failurePolicy": "Continue"},
            {"failurePolicy": None},
            another("failurePolicy"),
        ),
    ],
    "activeDeadlineSeconds": edits(
        "activeDeadlineSeconds", 60, 90, another("activeDeadlineSeconds")
    ),
    "tasks": [
        Edit("a task added", {}, {"tasks": [task(), task("b")]}, TASKS),
        Edit("a task changed", {}, {"tasks": [task(env=A)]}, TASKS),
        Edit("a task removed", {"tasks": [task(), task("b")]}, {"tasks": [task()]}, TASKS),
        Edit("a task renamed", {}, {"tasks": [task("b")]}, TASKS),
        Edit("an edge changed", {"tasks": [task(), task("b")]},
             {"tasks": [task(), task("b", after=[{"task": "a"}])]}, TASKS),
        Edit("all tasks removed", {}, {"tasks": None}, "spec.tasks: Required value"),
    ],
    "finally": edits("finally", [task("f")], [task("g")], TASKS),
    "maxParallel": edits("maxParallel", 1, 2, None),
    "suspend": edits("suspend", True, False, None),
    "suspendTasks": [
        Edit("a task suspended", {}, {"suspendTasks": ["a"]}, None),
        Edit("a task resumed", {"suspendTasks": ["a"]}, {"suspendTasks": []}, None),
        Edit("all tasks resumed", {"suspendTasks": ["a"]}, {"suspendTasks": None}, None),
    ],
    "approvals": edits("approvals", [{"task": "a"}], [{"task": "a", "verdict": "Reject"}], None),
    "ttlSecondsAfterFinished": edits("ttlSecondsAfterFinished", 0, 60, None),
    "cancel": once("cancel", CANCEL.format("experiment")),
}  # fmt: skip

WORK = "the work of a unit is immutable once its gates are gone: create a new unit"
OWNER = "experiment and task are immutable: they say whose unit this is"
IDENTITY = "member and adopted are immutable: they say what this unit is"
PATIENCE = "retry and deadlines are immutable: create a new unit"
GROUP = {"roles": [{"name": "a", "script": {"inline": "true"}}]}
ADOPTED = {"experiment": "a", "unit": "a-t", "uid": "u"}
SKIP = {"reason": "FailFast"}

UNIT: dict[str, list[Edit]] = {
    "script": [Edit("the script changed", {}, {"script": {"inline": "false"}}, WORK)],
    "group": [
        Edit("a group for the script", {}, {"script": None, "group": GROUP}, WORK),
        Edit(
            "the group changed",
            {"script": None, "group": GROUP},
            {"group": {**GROUP, "successPolicy": "Leader"}},
            WORK,
        ),
    ],
    "env": edits("env", A, B, WORK),
    "executor": [
        Edit("another image", {}, {"executor": {"job": {"image": "other"}}}, WORK),
        Edit("another executor", {}, {"executor": {"job": None, "trainJob": {}}}, WORK),
        Edit("no executor", {}, {"executor": None}, "spec.executor: Required value"),
    ],
    "launcher": [
        Edit(
            "a launcher added",
            {"executor": {"trainJob": {}}},
            {"launcher": {"torchrun": {}}},
            WORK,
        ),
        Edit(
            "the launcher removed",
            {"executor": {"trainJob": {}}, "launcher": {"torchrun": {}}},
            {"launcher": None},
            WORK,
        ),
    ],
    "packages": edits("packages", {"requirements": ["a"]}, {"requirements": ["b"]}, WORK),
    "outputs": edits("outputs", [{"name": "a"}], [{"name": "b"}], WORK),
    "artifacts": edits(
        "artifacts", [{"name": "a", "uri": "s3://b/a"}], [{"name": "a", "uri": "s3://b/b"}], WORK
    ),
    "retry": edits("retry", *RETRY, PATIENCE),
    "deadlines": edits("deadlines", *DEADLINES, PATIENCE),
    "code": edits("code", *CODE, "code is immutable: create a new unit"),
    "experiment": edits("experiment", "a", "b", OWNER),
    "task": edits("task", "a", "b", OWNER),
    "member": edits("member", {"index": 0}, {"index": 1}, IDENTITY),
    "adopted": edits("adopted", ADOPTED, {**ADOPTED, "uid": "v"}, IDENTITY),
    "gates": [
        Edit("a gate added", {}, {"gates": [{"name": "g"}]}, "gates can only be removed"),
        Edit("a gate removed", {"gates": [{"name": "g"}]}, {"gates": []}, None),
    ],
    "skip": [
        Edit("a skip added", {}, {"skip": SKIP}, None),
        Edit("a skip changed", {"skip": SKIP}, {"skip": {"reason": "Other"}}, "skip is final"),
        Edit("a skip taken back", {"skip": SKIP}, {"skip": None}, "skip is final"),
    ],
    "suspend": edits("suspend", True, False, None),
    "cancel": once("cancel", CANCEL.format("unit")),
}


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[Kubectl]:
    """Kubectl in one namespace for the whole module, with the CRDs installed."""
    with installed(cluster) as kubectl:
        yield kubectl


@pytest.mark.parametrize(("model", "cases"), [(ExperimentSpec, EXPERIMENT), (UnitSpec, UNIT)])
def test_every_field_has_a_case(model: type[ApiModel], cases: Mapping[str, list[Edit]]) -> None:
    """Whoever adds a field says here whether it may change."""
    assert set(cases) == {each.alias for each in model.model_fields.values()}
    assert all(cases.values())


def test_every_rule_refuses_an_edit() -> None:
    """Each message that the CRDs can give on a change is expected above."""
    expected = {
        edit.refused for cases in (EXPERIMENT, UNIT) for row in cases.values() for edit in row
    }
    assert {message for rule, message in rules() if "oldSelf" in rule} <= expected


def check(api: Kubectl, before: Manifest, edit: Edit) -> None:
    """Creates an object and edits it as a user does, without leaving the edit behind."""
    before["spec"] = {k: v for k, v in before["spec"].items() if v is not None}
    before["metadata"] = {"generateName": "edited-"}
    name = api.run("create", "-f", "-", "-o", "name", stdin=json.dumps(before)).strip()
    patch = json.dumps({"spec": edit.change})
    done = api.result("patch", name, "--dry-run=server", "--type=merge", "-p", patch)
    if edit.refused is None:
        assert done.returncode == 0, done.stderr
        assert "no change" not in done.stdout
    else:
        assert done.returncode != 0, done.stdout
        assert edit.refused in done.stderr


@pytest.mark.parametrize(
    "edit", [edit for each in EXPERIMENT.values() for edit in each], ids=lambda edit: edit.what
)
def test_an_edit_of_an_experiment(api: Kubectl, edit: Edit) -> None:
    """What runs is what was written first; pace, patience and verdicts are the user's to change."""
    check(api, experiment(**edit.before), edit)


@pytest.mark.parametrize(
    "edit", [edit for each in UNIT.values() for edit in each], ids=lambda edit: edit.what
)
def test_an_edit_of_a_unit(api: Kubectl, edit: Edit) -> None:
    """What was submitted is what the spec says, for good."""
    check(api, unit(**edit.before), edit)
