"""What of executor.ray is refused before anything is sent, and what holds for any cluster."""

from __future__ import annotations

import random
import shlex
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard_operator.backends.base import Refused
from runyard_operator.backends.ray.borrowed import Host
from runyard_operator.backends.ray.render import render
from runyard_operator.engine import reasons
from tests.unit.backends.ray_plans import FULL, SECRET, ray_spec
from tests.unit.backends.samples import CONFIG, target

HOST = Host("theirs", {"HF_TOKEN": SECRET}, ("einops",))
FROM = {"clusterFrom": {"task": "cluster", "unit": "sft-cluster"}}
CHOSEN = {"clusterSelector": {"team": "a"}}
IMAGE = {"image": "rayproject/ray:2.49.0"}


def refused(block: dict[str, Any], host: Host | None = None, **changes: Any) -> str:
    """The message of the refusal."""
    with pytest.raises(Refused) as caught:
        render(target(ray_spec(block, **changes)), CONFIG, host)
    assert caught.value.reason == reasons.INVALID_SPEC
    return caught.value.message


def head_of(block: dict[str, Any]) -> dict[str, Any]:
    """The head group of the cluster that is rendered."""
    found: dict[str, Any] = render(target(ray_spec(block)), CONFIG).objects[-1]["spec"][
        "rayClusterSpec"
    ]["headGroupSpec"]
    return found


def test_a_cluster_needs_an_image() -> None:
    """One that borrows needs none."""
    assert "executor.ray.image is not set" in refused({})
    render(target(ray_spec(FROM)), CONFIG, HOST)


@pytest.mark.parametrize("name", ["block", "address", "head", "--num-cpus", "a b", "Num", "a;b"])
def test_arguments_of_ray_start_that_are_not_the_users(name: str) -> None:
    """KubeRay writes the names into a line for bash."""
    message = refused({**IMAGE, "head": {"rayStartParams": {name: "1"}}})
    assert repr(name) in message


@given(value=st.text(max_size=40))
def test_values_of_ray_start_are_one_word_each(value: str) -> None:
    """KubeRay writes them into a line for bash as they are."""
    found = head_of({**IMAGE, "head": {"rayStartParams": {"labels-file": value}}})
    assert shlex.split(found["rayStartParams"]["labels-file"]) == [value]


@given(
    replicas=st.integers(0, 20),
    least=st.none() | st.integers(0, 20),
    most=st.none() | st.integers(0, 20),
)
def test_the_size_of_a_group_is_as_written(
    replicas: int, least: int | None, most: int | None
) -> None:
    """0 is a number: it never becomes `replicas`."""
    group = {"name": "wk", "replicas": replicas, "minReplicas": least, "maxReplicas": most}
    block = {**IMAGE, "workerGroups": [{k: v for k, v in group.items() if v is not None}]}
    job = render(target(ray_spec(block)), CONFIG).objects[-1]
    (found,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert found["replicas"] == replicas
    assert found["minReplicas"] == (replicas if least is None else least)
    assert found["maxReplicas"] == (replicas if most is None else most)


def test_workers_may_go_without_the_volumes() -> None:
    """What a group mounts itself it gets in any case."""
    spec = ray_spec({**FULL, "reuseVolumesInWorkerGroups": False})
    job = render(target(spec), CONFIG).objects[-1]
    plain, elastic = (
        {each["mountPath"] for each in group["template"]["spec"]["containers"][0]["volumeMounts"]}
        for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    )
    assert plain == {"/nemo_run"}
    assert elastic == {"/nemo_run", "/fast"}


def test_commands_before_ray_start_end_the_container_when_they_fail() -> None:
    """KubeRay joins the words with blanks, and `; ray start` comes behind them."""
    found = head_of({**IMAGE, "preRayStartCommands": ["false", "ray start; $(x)"]})
    command = found["template"]["spec"]["containers"][0]["command"]
    line = " ".join(command)
    assert line.endswith("/nemo_run/scripts/runyard-pre-ray-start.sh || exit 1")
    assert "ray start" not in line


@pytest.mark.parametrize(
    ("block", "changes", "words"),
    [
        (FROM, {"env": [{"name": "A", "value": "$HOME"}]}, "env A: on a shared Ray cluster"),
        (
            FROM,
            {"env": [{"name": "OTHER", "valueFrom": SECRET}]},
            "env OTHER takes its value from elsewhere",
        ),
        (CHOSEN, {"script": {"path": "a.sh"}}, "script.path needs the experiment's code"),
        (
            FROM,
            {"packages": {"requirements": ["einops", "rich"]}},
            "cannot be installed into a Ray cluster that is there already (rich)",
        ),
        (
            {**FROM, "runtimeEnv": {"env_vars": {"A": 1}}},
            {},
            "runtimeEnv.env_vars must be a map of texts",
        ),
    ],
)
def test_what_a_cluster_that_is_there_cannot_take(
    block: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    """The message says where it belongs."""
    assert words in refused(block, HOST, **changes)


def test_what_the_cluster_has_already_is_taken_from_there() -> None:
    """The same reference to a Secret, the same packages."""
    spec = ray_spec(
        FROM,
        env=[{"name": "HF_TOKEN", "valueFrom": SECRET}],
        packages={"requirements": ["einops"]},
    )
    assert "HF_TOKEN" not in str(render(target(spec), CONFIG, HOST).objects[-1]["spec"])


def test_a_plan_of_a_cluster_that_is_not_there_yet_can_be_shown() -> None:
    """What the cluster will have is not known then."""
    spec = ray_spec(FROM, env=[{"name": "HF_TOKEN", "valueFrom": SECRET}])
    assert render(target(spec), CONFIG, Host("later")).objects


def test_a_script_that_is_too_large_to_be_carried() -> None:
    """Compressed, nearly every script fits; noise does not."""
    noise = random.Random(1).choices(string.printable, k=65_000)
    texts = [{"name": f"E{n}", "value": "x" * 30_000} for n in range(4)]
    message = refused(FROM, HOST, script={"inline": "".join(noise)}, env=texts)
    assert "at most 98304" in message
    assert "script.path" in message
