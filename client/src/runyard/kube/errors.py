"""What can go wrong between this program and an API server, told apart by type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class KubeError(Exception):
    """The base of everything in this module; its text is fit for users."""


class ConfigError(KubeError):
    """No cluster is configured, or what the kubeconfig says cannot be used."""


class UnreachableError(KubeError):
    """No answer came: the request may or may not have reached the API server."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that the API server refused, and the path of the field where it is known."""

    field: str
    message: str


class ApiError(KubeError):
    """The API server answered with a Status that is not a success."""

    def __init__(self, code: int, status: Mapping[str, Any], method: str, path: str) -> None:
        self.code = code
        self.reason: str = status.get("reason") or ""
        self.message: str = status.get("message") or f"HTTP status {code}"
        self.details: Mapping[str, Any] = status.get("details") or {}
        self.method = method
        self.path = path
        super().__init__(self.message)

    @property
    def causes(self) -> list[Cause]:
        """The single refusals, one for each field."""
        return [
            Cause(each.get("field") or "", each.get("message") or each.get("reason") or "")
            for each in self.details.get("causes") or []
        ]

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the server wants to be asked again."""
        seconds = self.details.get("retryAfterSeconds")
        return float(seconds) if seconds else None


def api_error(code: int, body: bytes, method: str, path: str) -> ApiError:
    """The error for a response; a body that is no Status (a proxy's page) becomes its message."""
    try:
        status = json.loads(body)
    except ValueError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        text = body.decode("utf-8", "replace").strip()
        status = {"message": text[:500]}
    return ApiError(code, status, method, path)
