"""Defaults: the profile chain, under the experiment's defaults, under the task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from runyard.api.executor import EXECUTORS, Executor
from runyard.api.pod import EnvVar
from runyard.api.profile import ProfileSpec, TaskDefaults
from runyard.api.task import Task
from runyard_operator.engine import reasons

MAX_CHAIN: Final = 8
_LIST_KEYS: Final = {
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "workerGroups": "name",
}

Values = dict[str, Any]


class ProfileError(Exception):
    """A profile chain that cannot be followed; `reason` is a condition reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def chain(name: str, profiles: Mapping[str, ProfileSpec]) -> list[ProfileSpec]:
    """The profile and what it extends, the most basic first.

    Raises:
        ProfileError: a profile is missing, or the chain is a circle or longer than eight.
    """
    found: list[ProfileSpec] = []
    seen: list[str] = []
    following: str | None = name
    while following is not None:
        if following in seen or len(seen) == MAX_CHAIN:
            path = " -> ".join([*seen, following])
            raise ProfileError(
                reasons.PROFILE_CYCLE, f"profiles extend each other too far or in a circle: {path}"
            )
        if following not in profiles:
            raise ProfileError(
                reasons.PROFILE_NOT_FOUND,
                f"ExecutionProfile {following!r} does not exist in this namespace or the"
                " operator's: create it or correct the name",
            )
        seen.append(following)
        profile = profiles[following]
        found.append(profile)
        following = profile.extends
    return found[::-1]


def wanted_profile(task: Task, defaults: TaskDefaults | None) -> str | None:
    """The name of the profile that the task starts from."""
    return task.profile or (defaults.profile if defaults else None)


def merged(task: Task, defaults: TaskDefaults | None, profiles: Mapping[str, ProfileSpec]) -> Task:
    """The task with everything that it inherits written out.

    Raises:
        ProfileError: see `chain`.
    """
    name = wanted_profile(task, defaults)
    layers: list[ProfileSpec | TaskDefaults | Task] = [*(chain(name, profiles) if name else ())]
    if defaults is not None:
        layers.append(defaults)
    layers.append(task)
    block_name = next(each for each in EXECUTORS if each in task.executor.to_dict())
    env: list[Any] = []
    block: Values = {}
    last: Values = {}
    for layer in layers:
        env = _merge_lists(env, [each.to_dict() for each in layer.env], "name")
        if layer.executor is not None:
            block = _merge(block, layer.executor.to_dict().get(block_name, {}))
        for field in ("packages", "retry", "deadlines"):
            if (value := getattr(layer, field)) is not None:
                last[field] = value
    return task.model_copy(
        update={
            "env": [EnvVar.model_validate(each) for each in env],
            "executor": Executor.model_validate({block_name: block}),
            **last,
        }
    )


def _merge(under: Values, over: Values) -> Values:
    result = dict(under)
    for key, value in over.items():
        if isinstance(value, list):
            result[key] = _merge_lists(result.get(key, []), value, _LIST_KEYS.get(key))
        elif isinstance(value, dict):
            # An empty list in an object is one that nobody has written.
            said = {name: each for name, each in value.items() if each != []}
            result[key] = {**result.get(key, {}), **said}
        else:
            result[key] = value
    return result


def _merge_lists(under: list[Any], over: list[Any], key: str | None) -> list[Any]:
    """Lists with a key merge by it, the others are united; the order of first mention stays."""
    if key is None:
        return [*under, *(each for each in over if each not in under)]
    by_key = {each[key]: each for each in under}
    by_key.update({each[key]: each for each in over})
    return list(by_key.values())
