"""Errors of the Kubernetes API, sorted by what a caller may conclude from them."""

from __future__ import annotations


class KubeError(Exception):
    """The API server answered, and the answer was no. `status` is the HTTP status."""

    def __init__(self, message: str, *, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class NotFound(KubeError):
    """404: the one clear "it is not there"."""


class AlreadyExists(KubeError):
    """409 on a create: an object of this name exists."""


class Conflict(KubeError):
    """409 otherwise: a precondition (uid, resourceVersion) did not hold."""


class Forbidden(KubeError):
    """401 or 403: the operator lacks the right, or a quota or policy says no."""


class Invalid(KubeError):
    """400, 413 or 422: the request can never succeed as it is."""


class Unavailable(KubeError):
    """429, 5xx, a time-out or a broken connection: the outcome is not known.

    `retry_after` is the number of seconds that the API server asks us to wait, if it said so.
    """

    retry_after: float | None = None
