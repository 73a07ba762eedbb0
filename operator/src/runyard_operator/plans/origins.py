"""Says which layer each value of a task came from: a profile, the defaults, the task. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from runyard.api.profile import ProfileSpec

Layer = tuple[str, Mapping[str, Any]]
"""The name of a layer, and its fields as the wire has them."""

TASK: Final = "the task"
DEFAULTS: Final = "spec.defaults"
_SINGLE: Final = ("retry", "deadlines")
_KEYS: Final = {"env": "name", "volumes": "name", "volumeMounts": "mountPath"}


def layers(
    task: Mapping[str, Any],
    defaults: Mapping[str, Any] | None,
    profiles: Mapping[str, ProfileSpec],
) -> list[Layer]:
    """The layers of a task, the later ones lie over the earlier ones."""
    above = defaults or {}
    chain: dict[str, Mapping[str, Any]] = {}
    name: str | None = task.get("profile") or above.get("profile")
    while name is not None and name in profiles and name not in chain:
        chain[name] = profiles[name].to_dict()
        name = profiles[name].extends
    found: list[Layer] = [(f"profile {name}", chain[name]) for name in reversed(chain)]
    if defaults is not None:
        found.append((DEFAULTS, defaults))
    return [*found, (TASK, task)]


def described(order: list[Layer], executor: str) -> list[str]:
    """Lines that tell the order of the layers and, where there are several, each value's origin."""
    names = [name for name, _ in order]
    if names == [TASK]:
        return []
    origin: dict[str, str] = {}
    for name, layer in order:
        for path in _paths(layer, executor):
            origin[path] = name
    return [
        f"layers, the later ones win: {', '.join(names)}",
        *(f"{path}: {name}" for path, name in origin.items()),
    ]


def _paths(layer: Mapping[str, Any], executor: str) -> Iterator[str]:
    """The values that a layer sets, as far apart as they are merged."""
    yield from _inner("env", layer.get("env"))
    block = (layer.get("executor") or {}).get(executor) or {}
    for field, value in block.items():
        yield from _inner(f"executor.{executor}.{field}", value)
    for field in _SINGLE:
        if layer.get(field):
            yield field


def _inner(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (f"{path}.{key}" for key in value)
    elif isinstance(value, list):
        key = _KEYS.get(path.rsplit(".", 1)[-1])
        yield from (f"{path}[{each[key] if key else each}]" for each in value)
    elif value is not None:
        yield path
