"""Errors for people: what is wrong and what to do. No traceback for any of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from runyard.kube.client import EXPERIMENTS, NAMESPACES, KubeClient, Resource
from runyard.kube.errors import ApiError, KubeError

FAILED: Final = 1
USAGE: Final = 2
CANCELLED: Final = 3
TIMED_OUT: Final = 124
INTERRUPTED: Final = 130

_FORBIDDEN: Final = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)"'
    r' in API group "(?P<group>[^"]*)"(?: in the namespace "(?P<namespace>[^"]+)")?'
)


class CliError(Exception):
    """Ends the program with `code`; the text says what is wrong, `hint` what to do."""

    def __init__(self, message: str, hint: str = "", code: int = FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


def explain(error: KubeError) -> CliError:
    """The same failure in words for people."""
    if not isinstance(error, ApiError):
        return CliError(str(error))
    if error.code == 401:
        return CliError(
            "the API server does not accept your credentials: they may have expired",
            "log in again, or choose another user with --context",
        )
    if error.code == 403:
        return _forbidden(error)
    if is_missing_kind(error):
        return CliError(
            "Runyard is not installed in this cluster: it does not know runyard.dev/v1alpha1",
            "install the chart (helm install runyard helm/runyard), or the resource definitions"
            " alone (kubectl apply --server-side -f crds/)",
        )
    if error.code == 404 and error.details.get("kind") == "namespaces":
        name = error.details.get("name")
        return CliError(
            f"there is no namespace {name!r}",
            f"correct it, or create it: kubectl create namespace {name}",
        )
    if error.code == 404:
        return CliError(error.message)
    if error.code == 409:
        return conflict(error)
    return CliError(f"the API server refused this: {error.message}")


def is_missing_kind(error: ApiError) -> bool:
    """Whether the server knows none of our kinds, as opposed to one object that is missing."""
    return error.code == 404 and not error.details.get("name") and "/runyard.dev/" in error.path


def _forbidden(error: ApiError) -> CliError:
    found = _FORBIDDEN.search(error.message)
    if found is None:
        return CliError(f"the API server forbids this: {error.message}")
    resource = found["resource"]
    name = f"{resource.split('/')[0]}.{found['group']}" if found["group"] else resource
    where = f"in namespace {found['namespace']}" if found["namespace"] else "in the whole cluster"
    flag = f"-n {found['namespace']}" if found["namespace"] else "-A"
    return CliError(
        f"{found['user']} may not {found['verb']} {name} {where}",
        f"ask for a Role with the verb {found['verb']} on {name}; check with:"
        f" kubectl auth can-i {found['verb']} {name} {flag}",
    )


def conflict(error: ApiError) -> CliError:
    """Another field manager owns a field, or the object changed meanwhile."""
    owners = sorted(set(re.findall(r'conflict with "([^"]+)"', str(error.details) + error.message)))
    fields = sorted({each.field for each in error.causes if each.field})
    if not owners:
        return CliError(f"the API server refused this: {error.message}", "try again")
    return CliError(
        f"{', '.join(fields)}: set by {', '.join(owners)}",
        "make the file say the same, or take the fields over with --force-conflicts",
    )


def not_found(client: KubeClient, name: str, resource: Resource = EXPERIMENTS) -> CliError:
    """No such object; names near it, and the namespace itself if that is what is missing."""
    namespace = client.namespace
    try:
        known = [each["metadata"]["name"] for each in client.list_objects(resource, namespace)]
        missing = not known and client.find(NAMESPACES, None, namespace) is None
        spaces = [
            each["metadata"]["name"]
            for each in (client.list_objects(NAMESPACES, None) if missing else [])
        ]
    except KubeError:
        known, missing, spaces = [], False, []  # only the hints are lost
    if missing:
        return CliError(
            f"there is no namespace {namespace!r}", suggestion(namespace, spaces) or "correct -n"
        )
    word = resource.kind.lower()
    return CliError(
        f"there is no {word} {name!r} in namespace {namespace!r}",
        suggestion(name, known) or (_listing(known) if known else "give the right one with -n"),
    )


def suggestion(name: str, known: Iterable[str]) -> str:
    """A question that names the nearest of `known`; empty when none is near."""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else ""


def _listing(known: list[str]) -> str:
    shown = ", ".join(sorted(known)[:8])
    return f"there are: {shown}" + (", ..." if len(known) > 8 else "")
