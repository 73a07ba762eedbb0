"""What a task says about its pods, over what its training runtime says. Pure.

As with profiles: lists are united, by their keys where Kubernetes has keys; objects merge field by
field; of two values the task's wins. So a task can loosen nothing that it could not set itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from runyard_operator.backends.pods.template import Fragment

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "imagePullSecrets": ("name",),
    "resourceClaims": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
"""The lists of a pod's spec whose entries have a key; those without one, like tolerations, are
united."""
_OBJECTS: Final = frozenset({"nodeSelector", "affinity", "securityContext"})
"""Merged one level deep: a task's podAffinity stands beside the runtime's nodeAffinity. Any other
object, dnsConfig among them, is replaced."""


def onto(pod: Mapping[str, Any], wanted: Mapping[str, Any]) -> Fragment:
    """The pod's spec of the runtime with the fields that the task wants."""
    merged = dict(pod)
    for name, value in wanted.items():
        under = pod.get(name)
        if under and name in _OBJECTS:
            merged[name] = {**under, **value}
        elif under and isinstance(value, list):
            merged[name] = _united(under, value, _KEYS.get(name))
        else:
            merged[name] = value
    return merged


def _united(under: list[Any], over: list[Any], keys: tuple[str, ...] | None) -> list[Any]:
    if keys is None:
        return [*under, *(each for each in over if each not in under)]
    found = {tuple(each.get(key) for key in keys): each for each in under}
    found.update({tuple(each.get(key) for key in keys): each for each in over})
    return list(found.values())
