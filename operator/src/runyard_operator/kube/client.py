"""`KubeApi` over HTTP, on the official client's configuration, credentials and transport."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException
from yarl import URL

from runyard_operator import __version__
from runyard_operator.kube.api import Object, Objects, Texts
from runyard_operator.kube.compact import compact
from runyard_operator.kube.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Invalid,
    KubeError,
    NotFound,
    Unavailable,
)
from runyard_operator.kube.resources import Ref, resource
from runyard_operator.kube.transport import MAX_CONNECTIONS, bearer, session

Observe = Callable[[str, int, float], None]
"""Is told of each call: the verb, the HTTP status (0: no answer) and the seconds it took."""

CONNECT_SECONDS: Final = 5.0
CALL_SECONDS: Final = 30.0
LIST_SECONDS: Final = 90.0

_HEADERS: Final = {
    "User-Agent": f"runyard-operator/{__version__}",
    "Accept": "application/json, */*",
}
_JSON: Final = "application/json"
_APPLY: Final = "application/apply-patch+yaml"
_JSON_PATCH: Final = "application/json-patch+json"
_METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class HttpKubeApi:
    """See `KubeApi`.

    Args:
        configuration: as `transport.load_configuration` gives it.
        observe: for metrics.
        fence: stands before each write, as the last thing before it is sent; it may raise.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        observe: Observe | None = None,
        fence: Callable[[], None] = lambda: None,
    ) -> None:
        self._configuration = configuration
        self._session: aiohttp.ClientSession | None = None
        self._observe = observe
        self._fence = fence

    async def get(self, ref: Ref) -> Object | None:
        try:
            return _decode(await self._call("get", "GET", ref.path()))
        except NotFound:
            return None

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = 500,
    ) -> Objects:
        objects, _ = await self.snapshot(
            api_version,
            kind,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            limit=limit,
        )
        return objects

    async def snapshot(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = 500,
    ) -> tuple[Objects, str]:
        query = {"limit": str(limit)}
        if label_selector:
            query["labelSelector"] = label_selector
        if field_selector:
            query["fieldSelector"] = field_selector
        return await self._pages(api_version, kind, namespace, query)

    async def list_metadata(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
    ) -> Objects:
        query = {"limit": "500"}
        if label_selector:
            query["labelSelector"] = label_selector
        objects, _ = await self._pages(api_version, kind, namespace, query, _METADATA)
        return objects

    async def _pages(
        self,
        api_version: str,
        kind: str,
        namespace: str | None,
        query: dict[str, str],
        accept: str | None = None,
    ) -> tuple[Objects, str]:
        path = resource(api_version, kind).path(namespace)
        objects: Objects = []
        while True:
            data = await self._call("list", "GET", path, query, seconds=LIST_SECONDS, accept=accept)
            page = _decode(data)
            # The items of a list come without these two. Page by page: a whole list as it was
            # decoded is many times the size of what is kept of it. A list of metadata alone has
            # null for none.
            head = {"apiVersion": api_version, "kind": kind}
            objects += (compact({**each, **head}) for each in page["items"] or ())
            token = page["metadata"].get("continue")
            if not token:
                return objects, page["metadata"]["resourceVersion"]
            query["continue"] = token

    async def create(self, manifest: Object) -> Object:
        metadata = manifest["metadata"]
        path = resource(manifest["apiVersion"], manifest["kind"]).path(metadata.get("namespace"))
        return _decode(await self._call("create", "POST", path, body=manifest))

    async def dry_run(self, manifest: Object) -> Texts:
        metadata = manifest["metadata"]
        path = resource(manifest["apiVersion"], manifest["kind"]).path(metadata.get("namespace"))
        query = {"dryRun": "All", "fieldValidation": "Warn"}
        warnings: Texts = []
        await self._call("dry_run", "POST", path, query, manifest, warnings=warnings)
        return warnings

    async def replace(self, manifest: Object) -> Object:
        path = Ref.of(manifest).path()
        return _decode(await self._call("update", "PUT", path, body=manifest))

    async def apply(
        self, manifest: Object, *, manager: str, force: bool = True, subresource: str | None = None
    ) -> Object:
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        ref = Ref.of(manifest)
        if subresource is not None:
            manifest = await self._pinned(ref, manifest)
        try:
            answer = await self._call(
                "apply", "PATCH", ref.path(subresource), query, manifest, _APPLY
            )
        except Invalid as error:
            if error.status == 422 and "metadata.uid: Invalid value" in str(error):
                raise Conflict(str(error), status=error.status, reason="UidMismatch") from None
            raise
        return _decode(answer)

    async def _pinned(self, ref: Ref, manifest: Object) -> Object:
        """The manifest with the resourceVersion that belongs to its uid.

        For a subresource the API server ignores the uid: a status that was decided for an object
        would land on another one of the same name that has taken its place.
        """
        metadata = manifest["metadata"]
        if "uid" not in metadata or "resourceVersion" in metadata:
            return manifest
        stored = _decode(await self._call("get", "GET", ref.path()))["metadata"]
        if stored["uid"] != metadata["uid"]:
            raise Conflict(f"{ref} is another object by now", status=409, reason="UidMismatch")
        pinned = {**metadata, "resourceVersion": stored["resourceVersion"]}
        return {**manifest, "metadata": pinned}

    async def json_patch(self, ref: Ref, ops: Objects, *, subresource: str | None = None) -> Object:
        try:
            answer = await self._call(
                "patch", "PATCH", ref.path(subresource), body=ops, content_type=_JSON_PATCH
            )
        except _PatchRefused as error:
            # The API server says 422 both for a patch that cannot be applied (a failed `test`, a
            # path that is not there) and for a result that validation refuses; only the latter
            # lists causes.
            raise Conflict(str(error), status=error.status, reason=error.reason) from None
        return _decode(answer)

    async def delete(
        self,
        ref: Ref,
        *,
        uid: str | None = None,
        version: str | None = None,
        propagation: str = "Background",
    ) -> bool:
        options: Object = {"propagationPolicy": propagation}
        known = {"uid": uid, "resourceVersion": version}
        preconditions = {name: value for name, value in known.items() if value is not None}
        if preconditions:
            options["preconditions"] = preconditions
        try:
            await self._call("delete", "DELETE", ref.path(), body=options)
        except NotFound:
            return False
        return True

    async def pod_log(self, ref: Ref, *, container: str, tail_lines: int, limit_bytes: int) -> str:
        query = {
            "container": container,
            "tailLines": str(tail_lines),
            "limitBytes": str(limit_bytes),
        }
        data = await self._call("log", "GET", ref.path("log"), query)
        return data.decode("utf-8", errors="replace")

    async def stream_pod_log(self, ref: Ref, *, container: str) -> AsyncIterator[bytes]:
        path, query = ref.path("log"), {"container": container, "timestamps": "true"}
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=CALL_SECONDS
        )
        try:
            response = await self._send("GET", path, query, None, _JSON, 0, None, timeout)
            async with response:
                if response.status >= 300:
                    retry = response.headers.get("Retry-After")
                    raise _error(response.status, await response.read(), retry, f"GET {path}")
                async for piece in response.content.iter_any():
                    yield piece
        except (aiohttp.ClientError, TimeoutError, OSError, ConfigException) as error:
            detail = str(error) or type(error).__name__
            raise Unavailable(f"GET {path}: {detail}", reason="NoAnswer") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _call(
        self,
        verb: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = _JSON,
        seconds: float = CALL_SECONDS,
        warnings: Texts | None = None,
        accept: str | None = None,
    ) -> bytes:
        started = time.monotonic()
        status = 0
        try:
            response = await self._send(method, path, query, body, content_type, seconds, accept)
            async with response:
                data = await response.read()
            status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ConfigException) as error:
            detail = str(error) or type(error).__name__
            raise Unavailable(f"{method} {path}: {detail}", reason="NoAnswer") from error
        finally:
            if self._observe is not None:
                self._observe(verb, status, time.monotonic() - started)
        if warnings is not None:
            warnings += map(_warning, response.headers.getall("Warning", []))
        if status >= 300:
            raise _error(status, data, response.headers.get("Retry-After"), f"{method} {path}")
        return data

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        content_type: str,
        seconds: float,
        accept: str | None,
        patience: aiohttp.ClientTimeout | None = None,
    ) -> aiohttp.ClientResponse:
        """Straight to aiohttp: the generated client costs more than the request itself."""
        if self._session is None:
            self._session = session(self._configuration, limit=MAX_CONNECTIONS, headers=_HEADERS)
        headers = {"Content-Type": content_type}
        if accept is not None:
            headers["Accept"] = accept
        token = await bearer(self._configuration)
        if token:
            headers["Authorization"] = token
        if method != "GET":
            self._fence()
        return await self._session.request(
            method,
            URL(f"{self._configuration.host}{path}", encoded=True),
            params=query,
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
            timeout=patience or aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS),
            server_hostname=self._configuration.tls_server_name or None,
        )


class _PatchRefused(Invalid):
    """422 without causes."""


def _decode(data: bytes) -> Object:
    decoded: Object = json.loads(data)
    return decoded


def _error(status: int, data: bytes, retry_after: str | None, request: str) -> KubeError:
    """The error for an answer; the message is the API server's own where it gave one."""
    try:
        said = json.loads(data)
    except ValueError:
        said = {}
    if not isinstance(said, dict) or said.get("kind") != "Status":
        said = {}
    details = said.get("details") or {}
    message = str(said.get("message") or data[:1024].decode("utf-8", errors="replace").strip())
    text = f"{request}: {message or f'status {status}'}"
    kind = _kind(status, said.get("reason") == "AlreadyExists", bool(details.get("causes")))
    error = kind(text, status=status, reason=str(said.get("reason", "")))
    if isinstance(error, Unavailable):
        error.retry_after = _seconds(retry_after or details.get("retryAfterSeconds"))
    return error


def _kind(status: int, exists: bool, causes: bool) -> type[KubeError]:
    match status:
        case 404:
            return NotFound
        case 409:
            return AlreadyExists if exists else Conflict
        case 401 | 403:
            return Forbidden
        case 422 if not causes:
            return _PatchRefused
        case 400 | 405 | 406 | 413 | 415 | 422:
            return Invalid
        case 408 | 410 | 429:
            # 410 is a list whose pages outlived the snapshot: the next try begins a new one.
            return Unavailable
    return Unavailable if status >= 500 else KubeError


def _warning(header: str) -> str:
    """The text of a Warning header such as `299 - "spec.x is deprecated"`."""
    _, opened, rest = header.partition('"')
    return re.sub(r"\\(.)", r"\1", rest.removesuffix('"')) if opened else header


def _seconds(hint: Any) -> float | None:
    try:
        return max(float(hint), 0.0)
    except (TypeError, ValueError):
        return None
