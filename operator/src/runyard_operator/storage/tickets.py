"""The right to upload: a ConfigMap that the user made, whose token only he knows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from runyard.bundles import names
from runyard.bundles.names import Refusal
from runyard_operator.bundles import tokens
from runyard_operator.kube.api import KubeApi
from runyard_operator.kube.errors import Forbidden, KubeError, NotFound
from runyard_operator.kube.resources import Ref
from runyard_operator.storage.refusals import RefusedError

_HEADER: Final = re.compile(
    r"(?P<namespace>[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)/(?P<name>[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)"
    r":(?P<token>[A-Za-z0-9_-]{32,128})"
)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a request shows: where the ConfigMap is, and the token."""

    namespace: str
    name: str
    token: str


def parse(header: str) -> Ticket:
    """The ticket of a header `<namespace>/<name>:<token>`.

    Raises:
        RefusedError: it is not of this form.
    """
    found = _HEADER.fullmatch(header)
    if found is None:
        raise RefusedError(
            401,
            Refusal.TICKET,
            f"the header {names.TICKET_HEADER} must be NAMESPACE/CONFIGMAP:TOKEN; push with runyard"
            " code push",
        )
    return Ticket(found["namespace"], found["name"], found["token"])


def valid(found: Mapping[str, Any] | None, ticket: Ticket, digest: str, now: datetime) -> bool:
    """Whether what is stored as the ticket grants the upload of a digest."""
    if found is None or found["metadata"].get("deletionTimestamp"):
        return False
    data = found.get("data") or {}
    labelled = names.LABEL_TICKET in (found["metadata"].get("labels") or {})
    # The server's own time: an annotation could make it young for ever.
    created = datetime.fromisoformat(found["metadata"]["creationTimestamp"])
    young = (now - created).total_seconds() <= names.TICKET_SECONDS
    known = tokens.same(str(data.get("tokenSha256", "")), names.token_digest(ticket.token))
    return labelled and young and known and data.get("digest") == digest


async def check(kube: KubeApi, header: str, digest: str, now: datetime) -> str:
    """The namespace from which the bundle of a digest may be sent.

    Raises:
        RefusedError: the ticket does not grant it, or cannot be looked at.
    """
    ticket = parse(header)
    try:
        found = await kube.get(Ref("v1", "ConfigMap", ticket.name, ticket.namespace))
    except (Forbidden, NotFound) as error:
        raise RefusedError(
            403,
            Refusal.NO_RIGHT,
            f"the code store does not serve the namespace {ticket.namespace}: ask the administrator"
            " of Runyard to add it to the chart's value watchNamespaces",
        ) from error
    except KubeError as error:
        raise unavailable(error) from error
    if not valid(found, ticket, digest, now):
        raise RefusedError(
            403,
            Refusal.TICKET,
            "the ticket is not there, is older than an hour, or is for something else: push again",
        )
    return ticket.namespace


def unavailable(error: KubeError) -> RefusedError:
    """The store itself gets no answer: a passing trouble."""
    return RefusedError(
        503, Refusal.NO_ANSWER, f"the code store gets no answer of the API server: {error}"
    )
