"""Scripts, launchers, groups and artifacts that are refused before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from runyard.api.unit import UnitSpec
from runyard_operator.engine.checked_programs import problems

JOB = {"job": {"image": "i"}}
TRAIN = {"trainJob": {"image": "i"}}
TORCH = {"torchrun": {}}
ROLE = {"name": "a", "script": {"path": "a.sh"}}
CLAIM = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
SCRATCH = {"name": "scratch", "emptyDir": {}}


def found(**changes: Any) -> list[str]:
    """The problems of a unit."""
    whole = {"script": {"path": "a.sh"}, "executor": JOB, **changes}
    if "group" in whole:
        del whole["script"]
    return [*problems(UnitSpec.model_validate(whole))]


def on_volumes(path: str, *mounts: tuple[str, str]) -> list[str]:
    """The problems of a unit with an artifact at `path`, and volumes mounted where it is said."""
    block = {
        "image": "i",
        "volumes": [CLAIM, SCRATCH],
        "volumeMounts": [{"name": name, "mountPath": where} for name, where in mounts],
    }
    return found(executor={"job": block}, artifacts=[{"name": "model", "path": path}])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"script": {"module": "pkg.train", "entrypoint": "bash"}}, "script.entrypoint"),
        (
            {"group": {"roles": [{**ROLE, "script": {"module": "m", "entrypoint": "sh"}}]}},
            "group.roles[a].script.entrypoint",
        ),
        ({"group": {"roles": [ROLE]}, "launcher": TORCH, "executor": TRAIN}, "group.roles"),
        ({"group": {"roles": [{**ROLE, "numNodes": 2}]}}, "use executor.trainJob"),
        (
            {"group": {"roles": [ROLE]}, "executor": {"trainJob": {"image": "i", "minNodes": 1}}},
            "leave minNodes out",
        ),
        (
            {
                "outputs": [{"name": f"{number:02d}".rjust(63, "o")} for number in range(32)],
                "artifacts": [
                    {"name": f"{number:02d}".rjust(63, "a"), "uri": "s3://a"}
                    for number in range(16)
                ],
            },
            "declare fewer",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused(changes: dict[str, Any], words: str) -> None:
    """The message says where, and what to do."""
    (problem,) = found(**changes)
    assert words in problem


@pytest.mark.parametrize(
    "changes",
    [
        {"script": {"module": "pkg.train"}},
        {"script": {"module": "pkg.train", "entrypoint": "/opt/venv/bin/python3.12"}},
        {"script": {"module": "pkg.train", "entrypoint": "pypy3"}, "launcher": TORCH},
        {"group": {"roles": [{**ROLE, "launcher": TORCH}]}},
        {"group": {"roles": [{**ROLE, "numNodes": 2}]}, "executor": TRAIN},
        {"artifacts": [{"name": "a", "uri": "s3://a/b"}], "outputs": [{"name": "b"}]},
    ],
)
def test_what_can_be_honoured_is_not_refused(changes: dict[str, Any]) -> None:
    """Each of these runs."""
    assert found(**changes) == []


@pytest.mark.parametrize(
    ("path", "mounts"),
    [
        ("/data/model", [("data", "/data")]),
        ("/data/", [("data", "/data")]),
        ("/data/deep/model", [("scratch", "/data"), ("data", "/data/deep/")]),
    ],
)
def test_an_artifact_may_lie_on_a_claim(path: str, mounts: list[tuple[str, str]]) -> None:
    """The volume that is mounted deepest decides."""
    assert on_volumes(path, *mounts) == []


@pytest.mark.parametrize(
    ("path", "mounts", "words"),
    [
        ("/data/model", [], "in the container"),
        ("/database/model", [("data", "/data")], "in the container"),
        ("/data/model", [("scratch", "/data")], "on the volume 'scratch'"),
        ("/data/fast/x", [("data", "/data"), ("scratch", "/data/fast")], "'scratch'"),
        ("/data/a\nb", [("data", "/data")], "control character"),
    ],
)
def test_an_artifact_that_would_be_gone_is_refused(
    path: str, mounts: list[tuple[str, str]], words: str
) -> None:
    """Nobody could fetch it after the pod."""
    (problem,) = on_volumes(path, *mounts)
    assert words in problem
