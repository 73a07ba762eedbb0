"""A small client for the API server, with what a cluster's start needs and no more."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from testbed.errors import ClusterError
from testbed.layout import Home

FIELD_MANAGER = "runyard-testbed"
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status (0 when no connection was made) and the body as text."""

    status: int
    body: str

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)


class KubeApi:
    """Speaks to one API server as the admin of its cluster."""

    def __init__(self, home: Home, server: str) -> None:
        """Take the certificates from the cluster's home; ``server`` is an https URL."""
        self._context = ssl.create_default_context(cafile=str(home.pki / "ca.crt"))
        self._context.load_cert_chain(home.pki / "admin.crt", home.pki / "admin.key")
        self._address = urlsplit(server)

    def request(
        self, method: str, path: str, body: Json | None = None, kind: str = "application/json"
    ) -> Answer:
        """Send one request; a connection that fails is an answer with status 0."""
        connection = http.client.HTTPSConnection(
            self._address.hostname or "", self._address.port, context=self._context, timeout=10
        )
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": kind})
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(errors="replace"))
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, str(error))
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        """Read one path."""
        return self.request("GET", path)

    def apply(self, path: str, manifest: Json) -> None:
        """Apply one object, server-side, at the path of its collection.

        Raises ClusterError when the server refuses it.
        """
        self._apply(path, manifest, "")

    def apply_status(self, path: str, manifest: Json) -> None:
        """Apply the status of one object, as ``apply`` does the rest of it."""
        self._apply(path, manifest, "/status")

    def _apply(self, path: str, manifest: Json, part: str) -> None:
        name = quote(manifest["metadata"]["name"])
        query = f"fieldManager={FIELD_MANAGER}&force=true"
        answer = self.request(
            "PATCH", f"{path}/{name}{part}?{query}", manifest, "application/apply-patch+yaml"
        )
        if not answer.ok:
            raise ClusterError(
                f"the API server refused {manifest['kind']} {name}: {answer.body[:500]}"
            )
