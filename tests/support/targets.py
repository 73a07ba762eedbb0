"""Attempts of real units, for tests that drive a backend without the operator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from runyard.api.constants import API_VERSION
from runyard.api.unit import UnitSpec
from runyard_operator.backends.base import Target
from runyard_operator.engine.naming import attempt_key
from runyard_operator.reconcile.manifests import owner
from tests.support.kubectl import Kubectl


def make_target(kube: Kubectl, name: str, attempt: int = 1, **spec: Any) -> Target:
    """An attempt of a real unit, so that the garbage collector finds its owner.

    The unit has a gate: no operator would touch it. A field that is None is left out.
    """
    whole = {
        "script": {"inline": "echo hello"},
        "executor": {"job": {"image": "testbed.local/worker:dev"}},
        "gates": [{"name": "test"}],
        **spec,
    }
    whole = {key: value for key, value in whole.items() if value is not None}
    unit = {
        "apiVersion": "runyard.dev/v1alpha1",
        "kind": "ExecutionUnit",
        "metadata": {"name": name},
        "spec": whole,
    }
    kube.apply(unit)
    stored = kube.get("executionunits.runyard.dev", name)
    assert stored is not None
    uid = stored["metadata"]["uid"]
    return attempt_of(kube.namespace, name, uid, whole, attempt=attempt)


def attempt_of(
    namespace: str, name: str, uid: str, spec: dict[str, Any], *, attempt: int = 1
) -> Target:
    """An attempt of the unit with this spec, which need not be stored anywhere."""
    return Target(
        namespace=namespace,
        name=name,
        uid=uid,
        spec=UnitSpec.model_validate(spec),
        attempt=attempt,
        key=attempt_key(uid, attempt),
        owner=owner(
            {
                "apiVersion": API_VERSION,
                "kind": "ExecutionUnit",
                "metadata": {"name": name, "uid": uid},
            }
        ),
    )


async def until(look: Callable[[], Awaitable[object]], what: str) -> None:
    """Returns once `look` says something true.

    Raises:
        AssertionError: it does not within five minutes; says what was waited for.
    """
    try:
        async with asyncio.timeout(300):
            while True:
                if await look():
                    return
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"not within 300 s: {what}") from None
