"""Prints what the distributions in the given folders need from elsewhere, one requirement a line.

The image installs these before the code is copied in, so that they are a layer of their own; what
logs in S3 need is among them.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(folders: list[Path]) -> list[str]:
    """The dependencies of all projects, less the projects themselves."""
    projects = [tomllib.loads((folder / "pyproject.toml").read_text()) for folder in folders]
    ours = {project["project"]["name"] for project in projects}
    needed = {each for project in projects for each in project["project"]["dependencies"]}
    for project in projects:
        needed |= {*project["project"].get("optional-dependencies", {}).get("s3", [])}
    return sorted(needed - ours)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{each}\n" for each in requirements([Path(a) for a in sys.argv[1:]])))
