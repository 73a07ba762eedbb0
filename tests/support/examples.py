"""The example files as objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "examples"
FILES = sorted(FOLDER.glob("*.yaml"))


def objects(path: Path) -> list[dict[str, Any]]:
    """The objects of one file."""
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def experiment(path: Path) -> dict[str, Any]:
    """The one Experiment of a file."""
    (found,) = (each for each in objects(path) if each["kind"] == "Experiment")
    return found


def inline_code(path: Path) -> dict[str, str]:
    """The files of `spec.code.inline`: path to content."""
    code = experiment(path)["spec"].get("code", {})
    return {each["path"]: each["content"] for each in code.get("inline", [])}
