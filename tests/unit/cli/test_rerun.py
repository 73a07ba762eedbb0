"""The manifest of a rerun, from the old experiment's resource alone; parameters by option."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from runyard.api import ExperimentSpec
from runyard.cli import params
from runyard.cli.errors import CliError
from runyard.cli.manifests import Manifest, read
from runyard.cli.rerun import experiment, numbered, recorded_profiles

OLD: dict[str, Any] = {
    "metadata": {
        "name": "sft",
        "uid": "u",
        "labels": {
            "team": "nlp",
            "app.kubernetes.io/instance": "gitops",
            "argocd.argoproj.io/instance": "x",
        },
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    },
    "spec": {
        "mode": "Run",
        "suspend": False,
        "suspendTasks": ["a"],
        "cancel": True,
        "approvals": [{"task": "a", "verdict": "Approve"}],
        "rerunOf": {"name": "older"},
        "maxParallel": 3,
        "params": [{"name": "lr", "value": "1"}],
        "defaults": {"profile": "big"},
        "tasks": [
            {"name": "a", "script": {"inline": "true"}, "executor": {"job": {}}},
            {"name": "b", "script": {"inline": "true"}, "executor": {"job": {}}, "profile": "base"},
        ],
    },
    "status": {
        "profiles": [
            {"name": "base", "namespace": "n", "spec": {"env": [{"name": "A", "value": "1"}]}},
            {"name": "big", "namespace": "n", "spec": {"extends": "base"}},
        ]
    },
}


def test_a_rerun_is_what_the_old_one_ran_and_nothing_of_how_it_went() -> None:
    """Verdicts, suspension and the end are those of the old run."""
    made = experiment(OLD, "sft-rerun-1", ["b", "b"])
    old = OLD["spec"]
    assert made["spec"] == {
        "maxParallel": 3,
        "params": old["params"],
        "defaults": old["defaults"],
        "tasks": old["tasks"],
        "rerunOf": {"name": "sft", "fromTasks": ["b"]},
    }
    ExperimentSpec.model_validate(made["spec"])


def test_a_rerun_has_the_users_labels_and_no_tools() -> None:
    """A GitOps tool would take a tracked object for its own, and delete it."""
    made = experiment(OLD, "sft-rerun-1", [])
    assert made["metadata"] == {"name": "sft-rerun-1", "labels": {"team": "nlp"}}
    assert made["spec"]["rerunOf"] == {"name": "sft"}


def test_names_of_reruns_are_numbered_and_fit() -> None:
    """Also those of long names."""
    assert numbered("sft", 2) == "sft-rerun-2"
    assert numbered("s" * 63, 10).endswith("s-rerun-10")
    assert len(numbered("s" * 63, 10)) == 63


def test_recorded_profiles_take_the_place_of_those_of_today() -> None:
    """Under names of the rerun's own, the chain among them too."""
    made = experiment(copy.deepcopy(OLD), "new", [])
    copies = recorded_profiles(OLD, "new", made["spec"])
    profiles = {each["metadata"]["name"]: each["spec"] for each in copies}
    assert profiles == {
        "new-base": {"env": [{"name": "A", "value": "1"}]},
        "new-big": {"extends": "new-base"},
    }
    assert made["spec"]["defaults"]["profile"] == "new-big"
    assert [each.get("profile") for each in made["spec"]["tasks"]] == [None, "new-base"]


def manifests(tmp_path: Any) -> list[Manifest]:
    """An experiment with a parameter, from a file."""
    file = tmp_path / "x.yaml"
    file.write_text(
        "apiVersion: runyard.dev/v1alpha1\nkind: Experiment\nmetadata: {name: x}\n"
        "spec: {params: [{name: lr, value: '1'}, {name: seed, value: '2'}]}\n"
    )
    return read([str(file)])


def test_parameters_are_overridden_by_name(tmp_path: Any) -> None:
    """Values may have equals signs; all are text."""
    found = manifests(tmp_path)
    params.override(found, ["lr=a=b"])
    assert found[0].item["spec"]["params"] == [
        {"name": "lr", "value": "a=b"},
        {"name": "seed", "value": "2"},
    ]


@pytest.mark.parametrize(
    ("pair", "said", "hint"),
    [
        ("sede=1", "no experiment has a parameter 'sede'", "did you mean seed?"),
        ("lr", "write NAME=VALUE", ""),
        ("=1", "write NAME=VALUE", ""),
    ],
)
def test_a_parameter_that_is_not_there_is_an_error(
    tmp_path: Any, pair: str, said: str, hint: str
) -> None:
    """A slip of the pen would run with the wrong value."""
    with pytest.raises(CliError, match=said) as caught:
        params.override(manifests(tmp_path), [pair])
    assert caught.value.hint == hint
    assert caught.value.code == 2
