"""What the CRD's schema cannot check, checked before anything is made."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final

from runyard.api.code import Code
from runyard.api.constants import MAX_INLINE_CODE_BYTES
from runyard.api.experiment import ExperimentSpec, UsedProfile
from runyard.api.task import Work
from runyard_operator.engine import checked_fields, checked_programs, reasons, references

MAX_PROFILES: Final = 16
MAX_PROFILES_BYTES: Final = 32_768
"""All profiles of an experiment together, as JSON."""
_LONGEST_NUMBER: Final = 9999
"""No unit can make as many attempts."""
_CREDENTIALS: Final = re.compile(r"^[a-z0-9]+://[^/@]*:[^/@]*@|^https?://[^/@]+@")
_LONGEST_KEY: Final = "k" * 128


class InvalidSpecError(Exception):
    """The object can never run as it is; `reason` is a condition reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def work(task: Work, path: str) -> None:
    """Checks a task or unit with its defaults merged in; `path` begins the error's message.

    Raises:
        InvalidSpecError: it has no image, mounts a volume that it does not have, or has fields
            that cannot be honoured.
    """
    block = task.executor.block
    if not block.image and not _borrows(task):
        raise InvalidSpecError(
            reasons.INVALID_SPEC,
            f"{path} has no image: set it on the task's executor, in spec.defaults.executor, or in"
            " the profile",
        )
    volumes = {volume.name for volume in block.volumes}
    for mount in block.volume_mounts:
        if mount.name not in volumes:
            raise InvalidSpecError(
                reasons.INVALID_SPEC,
                f"{path} mounts volume {mount.name!r} at {mount.mount_path}, and has no volume of"
                " that name: add it to the executor's volumes",
            )
    for problem in (*checked_programs.problems(task), *checked_fields.problems(task)):
        raise InvalidSpecError(reasons.INVALID_SPEC, f"{path} {problem}")


def _borrows(task: Work) -> bool:
    """Whether it runs in pods that are there already."""
    ray = task.executor.ray
    return ray is not None and ray.borrows


def attempt_references(task: Work) -> None:
    """Checks that the texts with `${attempt.number}` and `${attempt.key}` fit with any values.

    Raises:
        InvalidSpecError: one does not.
    """
    try:
        references.for_attempt(task, _LONGEST_NUMBER, _LONGEST_KEY)
    except references.TooLongError as error:
        raise InvalidSpecError(reasons.INVALID_REFERENCE, f"spec.{error}") from error


def profiles(used: Iterable[UsedProfile]) -> None:
    """Checks that the profiles of an experiment fit into its status, where they are kept.

    Raises:
        InvalidSpecError: they are too many, or too large.
    """
    known = list(used)
    if len(known) > MAX_PROFILES:
        raise InvalidSpecError(
            reasons.INVALID_SPEC,
            f"the tasks use {len(known)} profiles, more than the {MAX_PROFILES} that fit:"
            " use fewer",
        )
    size = len(json.dumps([each.to_dict() for each in known]))
    if size > MAX_PROFILES_BYTES:
        raise InvalidSpecError(
            reasons.INVALID_SPEC,
            f"the profiles that the tasks use are {size} bytes long together, more than the"
            f" {MAX_PROFILES_BYTES} that fit: use fewer or smaller ones",
        )


def rerun(experiment: str, spec: ExperimentSpec) -> None:
    """Checks that a rerun is of another experiment, and from tasks that there are.

    Raises:
        InvalidSpecError: it is not.
    """
    of = spec.rerun_of
    if of is None:
        return
    if of.name == experiment:
        raise InvalidSpecError(
            reasons.INVALID_SPEC,
            "rerunOf names this experiment itself: give the rerun a name of its own",
        )
    if unknown := sorted(set(of.from_tasks) - {each.name for each in spec.tasks}):
        raise InvalidSpecError(
            reasons.INVALID_SPEC,
            f"rerunOf.fromTasks names {unknown[0]!r}, which is not in spec.tasks: correct the name",
        )


def code(source: Code | None) -> None:
    """Checks that code can become one folder, and inline code one ConfigMap.

    Raises:
        InvalidSpecError: a path is a file and a folder, or the files are too large.
    """
    if source is None:
        return
    if source.inline is not None:
        _paths("code.inline", [file.path for file in source.inline])
        size = sum(len(file.content.encode()) for file in source.inline)
        if size > MAX_INLINE_CODE_BYTES:
            raise InvalidSpecError(
                reasons.INVALID_SPEC,
                f"code.inline holds {size} bytes, more than the {MAX_INLINE_CODE_BYTES} that fit:"
                " leave out data files, or use code.configMap",
            )
    if source.config_map is not None:
        _paths("code.configMap.items", [item.path for item in source.config_map.items])
    for field, address in (("git", source.git), ("uri", source.uri)):
        if address is not None and _CREDENTIALS.match(address.url):
            raise InvalidSpecError(
                reasons.INVALID_SPEC,
                f"code.{field}.url holds a password, which everybody could read here: put it into a"
                f" Secret and name that in code.{field}.secret",
            )


def unit_code(source: Code | None) -> None:
    """Checks that the code of a unit is one and the same for all its attempts.

    Raises:
        InvalidSpecError: it may change from one to the next.
    """
    if source is not None and source.git is not None and source.git.commit is None:
        raise InvalidSpecError(
            reasons.INVALID_SPEC,
            "spec.code.git needs the commit, for the ref may move between attempts: set it, or let"
            " an Experiment look it up",
        )


def _paths(where: str, paths: Sequence[str]) -> None:
    if twice := [path for path, times in Counter(paths).items() if times > 1]:
        raise InvalidSpecError(
            reasons.INVALID_SPEC, f"{where} has {twice[0]!r} twice: keep one of them"
        )
    folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    if both := sorted(folders.intersection(paths)):
        raise InvalidSpecError(
            reasons.INVALID_SPEC,
            f"{where} has {both[0]!r} both as a file and as the folder of another one: rename one",
        )
