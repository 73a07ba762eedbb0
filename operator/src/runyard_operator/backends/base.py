"""The contract that every executor's backend fulfils.

The reconciler calls `submit` only after the attempt and its key were accepted by the API server,
and it may call it again for the same attempt after a crash: the key decides, one job comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from runyard.api.unit import Handle, UnitSpec
from runyard_operator.engine.observation import Observation

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One attempt of one unit: everything that rendering may depend on.

    `name` is the unit's own name. `key` is the attempt's key: it goes into the labels and
    annotations of all that is made. `owner` is the controller ownerReference to the unit.
    """

    namespace: str
    name: str
    uid: str
    spec: UnitSpec
    attempt: int
    key: str
    owner: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The exact request: objects to create, in order; the last one is the job itself."""

    objects: tuple[Manifest, ...]
    bundles: tuple[Manifest, ...] = ()
    """ConfigMaps that `objects` mount: named by content, shared between units, never changed."""
    digest: str
    """sha256 of the canonical JSON of `objects`, as `sha256:<hex>`; it covers the bundles, since
    their names do."""


class BackendError(Exception):
    """Something went wrong at a backend; `reason` is a CamelCase constant of `engine.reasons`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Unreachable(BackendError):  # noqa: N818
    """No clear answer: nothing may be concluded, the same call is made again later."""


class Stalled(BackendError):  # noqa: N818
    """A human is needed (a right, a quota, a missing controller); retried with backoff."""


class ForeignObject(Stalled):
    """An object of the wanted name exists and is not ours: a human must rename or delete it."""


class Refused(BackendError):  # noqa: N818
    """The request can never succeed as it is (invalid, forbidden, missing runtime)."""


class Backend(Protocol):
    """One executor. Methods are async where they talk to something."""

    kind: str
    """The executor block's name in the spec, for example `trainJob`."""

    settle_seconds: float
    """How long after a call a job may still appear, or not be found although it is there.

    Until then "there is none" is not a clear answer. 0 where a look-up sees at once what was
    submitted, and where a name can be taken only once.
    """

    can_suspend: bool
    """Whether `suspend` frees what a running job holds and `resume` lets it go on."""

    async def plan(self, target: Target) -> Plan:
        """The exact request that `submit` would send. It may read; it writes nothing.

        Raises:
            Unreachable, Stalled, Refused: see `submit`.
        """
        ...

    async def suspend(self, target: Target, handle: Handle | None) -> None:
        """Asks the job to free what it holds; safe to repeat. `observe` then says SUSPENDED.

        Raises:
            Unreachable, Stalled: see `cancel`.
        """
        ...

    async def resume(self, target: Target, handle: Handle | None) -> None:
        """Lets a suspended job go on; safe to repeat.

        Raises:
            Unreachable, Stalled: see `cancel`.
        """
        ...

    async def submit(self, target: Target) -> tuple[Handle, str]:
        """Creates or adopts the attempt's job; returns its handle and the plan's digest.

        Raises:
            Unreachable: the outcome is not known; call again.
            ForeignObject: the name is taken by an object that is not ours.
            Stalled: nothing was submitted and a human is needed (rights, quota, an add-on).
            Refused: the API server or a missing dependency says no for good.
        """
        ...

    async def observe(self, target: Target, handle: Handle | None) -> Observation:
        """Looks at the attempt's job. Never raises for transport errors: they are UNKNOWN.

        With no handle yet it looks the job up by its name and key, so that a submit whose answer
        was lost is found again.
        """
        ...

    async def cancel(self, target: Target, handle: Handle | None) -> None:
        """Asks for the job's end; safe to repeat. `observe` tells when it is gone.

        Raises:
            Unreachable: not known whether the request arrived; call again.
            Stalled: the operator lacks the right to delete.
        """
        ...
