"""Profile chain, experiment defaults, task: who wins, and how lists grow together."""

from __future__ import annotations

from typing import Any

import pytest

from runyard.api import ProfileSpec, Task, TaskDefaults
from runyard_operator.engine import merge
from tests.unit.engine.builders import task


def merged(
    one: Task, defaults: dict[str, Any] | None = None, **profiles: dict[str, Any]
) -> dict[str, Any]:
    """The merged task as JSON."""
    return merge.merged(
        one,
        TaskDefaults.model_validate(defaults) if defaults is not None else None,
        {name: ProfileSpec.model_validate(each) for name, each in profiles.items()},
    ).to_dict()


def job(**fields: Any) -> dict[str, Any]:
    """An executor block."""
    return {"job": fields}


def test_the_task_wins_over_defaults_over_profile_over_what_it_extends() -> None:
    """Each layer fills only what the layers above it leave open."""
    result = merged(
        task("a", executor=job(cpu="4")),
        {"profile": "p", "executor": job(cpu="3", memory="3Gi")},
        p={"extends": "q", "executor": job(cpu="2", memory="2Gi", image="p")},
        q={"executor": job(cpu="1", image="q", serviceAccountName="q")},
    )["executor"]["job"]
    assert result["cpu"] == "4"
    assert result["memory"] == "3Gi"
    assert result["image"] == "p"
    assert result["serviceAccountName"] == "q"


def test_only_the_block_of_the_own_executor_is_merged() -> None:
    """Defaults for another executor do not add a second one."""
    result = merged(
        task("a", executor={"trainJob": {}}),
        {"executor": {"job": {"image": "job"}, "trainJob": {"image": "train", "numNodes": 2}}},
    )["executor"]
    assert set(result) == {"trainJob"}
    assert (result["trainJob"]["image"], result["trainJob"]["numNodes"]) == ("train", 2)


def test_environments_merge_by_name() -> None:
    """The last word on a variable counts, in the place of the first."""
    result = merged(
        task("a", env=[{"name": "B", "value": "task"}, {"name": "C", "value": "task"}]),
        {"env": [{"name": "A", "value": "defaults"}, {"name": "B", "value": "defaults"}]},
    )["env"]
    assert result == [
        {"name": "A", "value": "defaults"},
        {"name": "B", "value": "task"},
        {"name": "C", "value": "task"},
    ]


def test_a_variable_is_replaced_whole() -> None:
    """A literal value over a reference to a Secret leaves no reference behind."""
    secret = {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    result = merged(task("a", env=[{"name": "T", "value": "v"}]), {"env": [secret]})
    assert result["env"] == [{"name": "T", "value": "v"}]


def test_volumes_merge_by_name_mounts_by_path_secrets_unite() -> None:
    """Lists with a key merge by it; the others grow without doubles."""
    result = merged(
        task(
            "a",
            executor=job(
                image="i",
                volumes=[{"name": "v", "emptyDir": {}}],
                volumeMounts=[{"name": "v", "mountPath": "/data"}],
                imagePullSecrets=["b", "c"],
                nodeSelector={"zone": "x"},
            ),
        ),
        {
            "executor": job(
                volumes=[
                    {"name": "v", "persistentVolumeClaim": {"claimName": "c"}},
                    {"name": "w", "emptyDir": {}},
                ],
                volumeMounts=[
                    {"name": "w", "mountPath": "/data"},
                    {"name": "w", "mountPath": "/w"},
                ],
                imagePullSecrets=["a", "b"],
                nodeSelector={"zone": "y", "gpu": "h100"},
            )
        },
    )["executor"]["job"]
    assert [(each["name"], "emptyDir" in each) for each in result["volumes"]] == [
        ("v", True),
        ("w", True),
    ]
    assert [(each["mountPath"], each["name"]) for each in result["volumeMounts"]] == [
        ("/data", "v"),
        ("/w", "w"),
    ]
    assert result["imagePullSecrets"] == ["a", "b", "c"]
    assert result["nodeSelector"] == {"zone": "x", "gpu": "h100"}


def test_further_fields_of_pods_merge_one_by_one() -> None:
    """A task that overrides one field of the pod's spec keeps what the profile says of others."""
    result = merged(
        task("a", executor=job(podSpecOverrides={"schedulerName": "s"}, podLabels={"b": ""})),
        {"profile": "p"},
        p={
            "executor": job(
                podSpecOverrides={"hostAliases": [{"ip": "::1", "hostnames": ["a"]}]},
                podLabels={"a": "1", "b": "2"},
                tolerations=[{"key": "gpu"}],
            )
        },
    )["executor"]["job"]
    assert result["podSpecOverrides"]["schedulerName"] == "s"
    assert result["podSpecOverrides"]["hostAliases"] == [{"ip": "::1", "hostnames": ["a"]}]
    assert result["podLabels"] == {"a": "1", "b": ""}
    assert result["tolerations"] == [{"key": "gpu"}]


def test_the_tasks_profile_replaces_the_default_one() -> None:
    """Profiles are chosen, not stacked; `extends` stacks them."""
    result = merged(
        task("a", profile="mine", executor=job()),
        {"profile": "theirs"},
        mine={"executor": job(image="mine")},
        theirs={"executor": job(image="theirs", cpu="9")},
    )["executor"]["job"]
    assert result["image"] == "mine"
    assert "cpu" not in result


def test_without_defaults_a_task_stays_as_it_is() -> None:
    """Nothing is invented."""
    one = task("a", env=[{"name": "A", "value": "1"}])
    assert merge.merged(one, None, {}) == one


def test_a_chain_of_eight_is_followed_and_one_of_nine_refused() -> None:
    """The bound is told with the chain."""
    profiles = {
        f"p{n}": ProfileSpec.model_validate({"extends": f"p{n + 1}"} if n < 8 else {})
        for n in range(9)
    }
    assert len(merge.chain("p1", profiles)) == 8
    with pytest.raises(merge.ProfileError, match=r"p0 -> p1 -> .* -> p8") as error:
        merge.chain("p0", profiles)
    assert error.value.reason == "ProfileCycle"


def test_a_missing_profile_in_the_middle_is_named() -> None:
    """The one that is missing, not the one that was asked for."""
    with pytest.raises(merge.ProfileError, match="'gone'") as error:
        merged(task("a", profile="p"), None, p={"extends": "gone"})
    assert error.value.reason == "ProfileNotFound"
