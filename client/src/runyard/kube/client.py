"""Objects of the API server: get, list, apply, patch, delete, discover. Plain dictionaries."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from runyard.kube.errors import ApiError

if TYPE_CHECKING:
    from runyard.kube.transport import Query, Response, Stream, Transport

Object = dict[str, Any]

FIELD_MANAGER: Final = "runyard-client"
_TRIES: Final = 5
_PAGE: Final = "500"


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object and where the API server keeps it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The group and version as manifests write them."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """For example experiments.runyard.dev."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None, name: str | None = None, sub: str | None = None) -> str:
        """The URL path; without `namespace` that of all namespaces."""
        parts = [base_path(self.api_version)]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(each, safe="") for each in (name, sub) if each is not None]
        return "/".join(parts)


EXPERIMENTS: Final = Resource("runyard.dev", "v1alpha1", "experiments", "Experiment")
UNITS: Final = Resource("runyard.dev", "v1alpha1", "executionunits", "ExecutionUnit")
PROFILES: Final = Resource("runyard.dev", "v1alpha1", "executionprofiles", "ExecutionProfile")
PODS: Final = Resource("", "v1", "pods", "Pod")
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
OURS: Final = {each.kind: each for each in (EXPERIMENTS, UNITS, PROFILES)}


def base_path(api_version: str) -> str:
    """/api/v1 for the core group, /apis/GROUP/VERSION for the others."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


class KubeClient:
    """What the command line asks of an API server.

    Every method raises ApiError when the server refuses and UnreachableError when it is silent.
    """

    def __init__(
        self,
        transport: Transport,
        namespace: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.transport = transport
        self.namespace = namespace or transport.access.namespace
        """The namespace that is meant where none is named."""
        self._sleep = sleep
        self._kinds: dict[str, list[Object]] = {}

    def within(self, namespace: str) -> KubeClient:
        """The same client, meaning another namespace."""
        return KubeClient(self.transport, namespace, self._sleep)

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """The object."""
        return _object(self._call("GET", resource.path(namespace, name)))

    def find(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """The object, or None when it is not there; a missing kind still raises."""
        try:
            return self.get(resource, namespace, name)
        except ApiError as error:
            if error.code == 404 and error.details.get("name"):
                return None
            raise

    def list_objects(
        self,
        resource: Resource,
        namespace: str | None,
        labels: str | None = None,
        limit: int | None = None,
    ) -> list[Object]:
        """All objects that match, page by page; at most about `limit` of them when it is given."""
        items, _ = self.list_versioned(resource, namespace, {"labelSelector": labels or ""}, limit)
        return items

    def list_versioned(
        self,
        resource: Resource,
        namespace: str | None,
        selectors: Mapping[str, str],
        limit: int | None = None,
    ) -> tuple[list[Object], str]:
        """The objects that match and the resourceVersion from which a watch goes on."""
        query = {key: value for key, value in selectors.items() if value}
        query["limit"] = _PAGE
        items: list[Object] = []
        while True:
            page = _object(self._call("GET", resource.path(namespace), query))
            # Items of a list lack these two, which printing and matching want.
            items += [
                {"apiVersion": resource.api_version, "kind": resource.kind, **item}
                for item in page.get("items") or []
            ]
            head = page.get("metadata") or {}
            query["continue"] = head.get("continue") or ""
            if not query["continue"] or (limit is not None and len(items) >= limit):
                return items, str(head.get("resourceVersion") or "")

    def create(self, resource: Resource, namespace: str | None, item: Object) -> Object:
        """Creates the object; one of its name that exists is an ApiError, `AlreadyExists`."""
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        return _object(self._call("POST", resource.path(namespace), query, item))

    def apply(
        self, resource: Resource, namespace: str | None, item: Object, *, force: bool = False
    ) -> tuple[Object, bool]:
        """Server-side apply with strict field validation; the result, and whether it is new."""
        query = {
            "fieldManager": FIELD_MANAGER,
            "fieldValidation": "Strict",
            "force": "true" if force else "false",
        }
        path = resource.path(namespace, item["metadata"]["name"])
        # JSON is YAML: the server takes it under the only content type that means "apply".
        response = self._call("PATCH", path, query, item, "application/apply-patch+yaml")
        return _object(response), response.code == 201

    def merge(self, resource: Resource, namespace: str | None, name: str, patch: Object) -> Object:
        """A JSON merge patch."""
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        path = resource.path(namespace, name)
        return _object(self._call("PATCH", path, query, patch, "application/merge-patch+json"))

    def delete(
        self, resource: Resource, namespace: str | None, name: str, uid: str | None = None
    ) -> Object:
        """Deletes the object; with `uid`, only that one and no successor of its name."""
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
        }
        if uid:
            options["preconditions"] = {"uid": uid}
        return _object(self._call("DELETE", resource.path(namespace, name), None, options))

    def read(self, path: str, timeout: float = 10.0) -> Object:
        """A document at any path, for example /version."""
        return _object(self.transport.request("GET", path, timeout=timeout))

    def stream(self, path: str, query: Query, idle: float) -> Stream:
        """An answer that is read line by line."""
        return self.transport.stream(path, query, idle)

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """The resource of a kind by API discovery; None when the server does not know it."""
        known = OURS.get(kind)
        if known is not None and known.api_version == api_version:
            return known
        if api_version not in self._kinds:
            try:
                found = _object(self._call("GET", base_path(api_version)))
            except ApiError as error:
                if error.code != 404:
                    raise
                found = {}
            self._kinds[api_version] = found.get("resources") or []
        group, _, version = api_version.rpartition("/")
        for each in self._kinds[api_version]:
            if each["kind"] == kind and "/" not in each["name"]:
                return Resource(group, version, each["name"], kind, bool(each["namespaced"]))
        return None

    def _call(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Response:
        """One request; a server that is busy or starting is asked again a few times."""
        data = None if body is None else json.dumps(body).encode()
        for attempt in range(1, _TRIES + 1):
            try:
                return self.transport.request(method, path, query, data, content_type)
            except ApiError as error:
                if error.code not in (429, 503) or attempt == _TRIES:
                    raise
                self._sleep(min(error.retry_after or 2.0 ** (attempt - 2), 5.0))
        raise AssertionError("the last try returns or raises")


def _object(response: Response) -> Object:
    loaded = json.loads(response.body)
    if not isinstance(loaded, dict):
        raise ApiError(response.code, {"message": "the answer is no object"}, "", "")
    return loaded
