"""Answers that say no. They look like those of the API server, so that its clients read them."""

from __future__ import annotations

import json

from aiohttp import web

from runyard.bundles.names import Refusal


class RefusedError(Exception):
    """A request cannot be granted; the message is for the user."""

    def __init__(self, code: int, reason: Refusal, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


def answer(error: RefusedError) -> web.Response:
    """The HTTP answer: a Status object."""
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": str(error),
        "reason": error.reason.value,
        "code": error.code,
    }
    return web.Response(status=error.code, text=json.dumps(status), content_type="application/json")
