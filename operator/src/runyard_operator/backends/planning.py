"""Objects to a plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from runyard_operator.backends.base import Manifest, Plan, Target
from runyard_operator.backends.pods.code import Staged
from runyard_operator.bundles.bundle import config_map


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
