"""Units as the backends get them, for the tests of this folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runyard_operator.backends.base import Target
from runyard_operator.backends.pods.template import PodConfig
from tests.support.targets import attempt_of

UID = "0c9f9b6e-6d0a-4a59-9d3e-1f2a3b4c5d6e"
CONFIG = PodConfig(image="registry.example/runyard-operator:0.1.0")
GOLDENS = Path(__file__).parent / "goldens"


def target(
    spec: dict[str, Any], *, name: str = "sft-train", attempt: int = 1, uid: str = UID
) -> Target:
    """An attempt of a unit with this spec."""
    return attempt_of("team-a", name, uid, spec, attempt=attempt)


def job_spec(**changes: Any) -> dict[str, Any]:
    """A small unit with a Job."""
    return {
        "experiment": "sft",
        "task": "train",
        "script": {"inline": "echo hello"},
        "executor": {"job": {"image": "python:3.12-slim"}},
        **changes,
    }


def train_spec(**changes: Any) -> dict[str, Any]:
    """A small unit with a TrainJob of two nodes."""
    block = {"image": "pytorch:2.6", "numNodes": 2, "nprocsPerNode": 4}
    return {
        "experiment": "sft",
        "task": "train",
        "script": {"path": "train.py", "entrypoint": "python3"},
        "launcher": {"torchrun": {}},
        "executor": {"trainJob": block},
        **changes,
    }


def golden(name: str) -> dict[str, Any]:
    """What is written in `goldens/<name>.json`."""
    document: dict[str, Any] = json.loads((GOLDENS / f"{name}.json").read_text(encoding="utf-8"))
    return document


def expand(text: str) -> str:
    """What Kubernetes makes of one word of a container's command, with no variable known to it."""
    result, at = "", 0
    while at < len(text):
        if text[at] == "$" and text[at + 1 : at + 2] == "$":
            result, at = result + "$", at + 2
        else:
            result, at = result + text[at], at + 1
    return result
