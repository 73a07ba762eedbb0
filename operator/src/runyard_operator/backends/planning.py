"""What every rendering begins and ends with: the executor block, and objects to a plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TypeVar

from pydantic.alias_generators import to_snake

from runyard.api.podfields import PodFields
from runyard_operator.backends.base import Manifest, Plan, Refused, Target
from runyard_operator.backends.pods.code import Staged
from runyard_operator.bundles.bundle import config_map
from runyard_operator.engine import reasons

Block = TypeVar("Block", bound=PodFields)


def block_of(target: Target, name: str, model: type[Block]) -> Block:
    """The unit's executor block of that name, as it is in the spec.

    Raises:
        Refused: it has another one.
    """
    found = getattr(target.spec.executor, to_snake(name))
    if not isinstance(found, model):
        raise Refused(reasons.INVALID_SPEC, f"the unit has no executor.{name}")
    return found


def plan(target: Target, staged: Staged, objects: Sequence[Manifest]) -> Plan:
    """The plan of some objects and of the bundles that they mount."""
    text = json.dumps(list(objects), sort_keys=True, separators=(",", ":"))
    return Plan(
        objects=tuple(objects),
        bundles=tuple(
            config_map(each, namespace=target.namespace, owner=target.owner)
            for each in staged.bundles
        ),
        digest=f"sha256:{hashlib.sha256(text.encode()).hexdigest()}",
    )
