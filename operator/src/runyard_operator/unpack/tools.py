"""Brings pip and the installer of packages to the task's image, which needs Python alone."""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import Final

from runyard_operator.unpack.files import make_empty
from runyard_operator.unpack.problems import UnpackError

INSTALLER: Final = "install.py"


def copy_to(target: str) -> int:
    """Copies them into the folder, readable for every user; returns how many files there are.

    Raises:
        UnpackError: this image has no pip.
    """
    found = importlib.util.find_spec("pip")
    if found is None or not found.submodule_search_locations:
        raise UnpackError("the operator's image has no pip: build it with operator/Dockerfile")
    root = make_empty(target)
    # Compiled files are for this image's Python.
    skipped = shutil.ignore_patterns("__pycache__", "*.exe")
    shutil.copytree(
        found.submodule_search_locations[0], os.path.join(root, "pip"), ignore=skipped,
        copy_function=shutil.copyfile,
    )  # fmt: skip
    here = os.path.dirname(os.path.abspath(__file__))
    shutil.copyfile(os.path.join(here, INSTALLER), os.path.join(root, INSTALLER))
    return sum(len(files) for _, _, files in os.walk(root))
