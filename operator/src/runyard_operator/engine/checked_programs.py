"""Checks scripts, launchers, groups and artifacts that no backend could honour as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from runyard.api.packages import Artifact
from runyard.api.podfields import PodFields
from runyard.api.task import Group, Script, Work
from runyard_operator.engine import results

_PYTHON: Final = re.compile(r"(^|/)(python|pypy)[0-9.]*$")


def problems(task: Work) -> Iterator[str]:
    """What is wrong, each as the rest of a sentence that begins with the path of the task."""
    if task.script is not None:
        yield from _module("script", task.script)
    if task.group is not None:
        yield from _group(task, task.group)
    ray = task.executor.ray
    if ray is None or not ray.borrows:
        for artifact in task.artifacts:
            yield from _kept(artifact, task.executor.block)
    names = [each.name for each in task.outputs]
    framed = results.frame_bytes(names, [each.name for each in task.artifacts])
    if framed > results.MESSAGE_BYTES:
        yield (
            f"declares outputs and artifacts whose names and digests take {framed} bytes, and"
            f" {results.MESSAGE_BYTES} are kept: declare fewer, or shorten their names"
        )


def _module(where: str, script: Script) -> Iterator[str]:
    if script.module is not None and not _PYTHON.search(script.program):
        yield (
            f"runs the module {script.module!r} with {script.program!r} in {where}.entrypoint: name"
            " a Python there, or leave it out"
        )


def _group(task: Work, group: Group) -> Iterator[str]:
    if task.launcher is not None:
        yield ("has a group and a launcher: set the launcher on those of group.roles that need one")
    train_job = task.executor.train_job
    if train_job is not None and train_job.min_nodes is not None:
        yield "has a group and minNodes: a gang starts and ends as a whole; leave minNodes out"
    for role in group.roles:
        yield from _module(f"group.roles[{role.name}].script", role.script)
        if train_job is None and (role.num_nodes or 1) > 1:
            yield (
                f"has {role.num_nodes} numNodes in group.roles[{role.name}]: with executor.job a"
                " group is one pod; use executor.trainJob, or leave numNodes out"
            )


def _kept(artifact: Artifact, block: PodFields) -> Iterator[str]:
    """The path must outlive the pod."""
    path = artifact.path
    if path is None:
        return
    if any(ord(character) < ord(" ") for character in path):
        yield f"has a control character in the path of artifact {artifact.name!r}: rename the file"
    folder = path.rstrip("/")
    mounts = [
        mount
        for mount in block.volume_mounts
        if f"{folder}/".startswith(f"{mount.mount_path.rstrip('/')}/")
    ]
    mount = max(mounts, key=lambda each: len(each.mount_path.rstrip("/")), default=None)
    name = mount.name if mount is not None else None
    volume = next((each for each in block.volumes if each.name == name), None)
    if volume is None or volume.persistent_volume_claim is None:
        where = "in the container" if mount is None else f"on the volume {mount.name!r}"
        yield (
            f"has artifact {artifact.name!r} at {path}, {where}, and it would be gone with the pod:"
            " mount a persistentVolumeClaim there"
        )
