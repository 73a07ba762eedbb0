"""The resources that the operator touches, and how an object of theirs is named in a URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from runyard.api.constants import API_VERSION

TRAINER: Final = "trainer.kubeflow.org/v1alpha1"
KUEUE: Final = "kueue.x-k8s.io/v1beta2"
RAY: Final = "ray.io/v1"


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as the API server serves it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        return self.api_version.rpartition("/")[2]

    def path(self, namespace: str | None, name: str | None = None, sub: str | None = None) -> str:
        """The URL path of a collection, an object or a subresource of it."""
        root = "/apis" if self.group else "/api"
        parts = [root, self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        if sub:
            parts.append(sub)
        return "/".join(parts)


# A static table instead of discovery: the operator is written against exactly these versions, and
# a lookup must not depend on an aggregated API that happens to be down.
RESOURCES: Final[Mapping[tuple[str, str], Resource]] = {
    (each.api_version, each.kind): each
    for each in (
        Resource(API_VERSION, "Experiment", "experiments"),
        Resource(API_VERSION, "ExecutionUnit", "executionunits"),
        Resource(API_VERSION, "ExecutionProfile", "executionprofiles"),
        Resource(API_VERSION, "Backend", "backends", namespaced=False),
        Resource("batch/v1", "Job", "jobs"),
        Resource("v1", "Pod", "pods"),
        Resource("v1", "ConfigMap", "configmaps"),
        Resource("v1", "Event", "events"),
        Resource("v1", "Service", "services"),
        Resource("coordination.k8s.io/v1", "Lease", "leases"),
        Resource(KUEUE, "Workload", "workloads"),
        Resource(RAY, "RayJob", "rayjobs"),
        Resource(RAY, "RayCluster", "rayclusters"),
        Resource(TRAINER, "TrainJob", "trainjobs"),
        Resource(TRAINER, "TrainingRuntime", "trainingruntimes"),
        Resource(TRAINER, "ClusterTrainingRuntime", "clustertrainingruntimes", namespaced=False),
    )
}


def resource(api_version: str, kind: str) -> Resource:
    """Looks a kind up.

    Raises:
        LookupError: the operator does not know the kind.
    """
    try:
        return RESOURCES[api_version, kind]
    except KeyError:
        raise LookupError(
            f"{kind} of {api_version} is not in runyard_operator.kube.resources: add it there"
        ) from None


@dataclass(frozen=True, slots=True)
class Ref:
    """The full name of one object; `namespace` is None for cluster-scoped kinds."""

    api_version: str
    kind: str
    name: str
    namespace: str | None = None

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> Ref:
        """The name of an object that carries its apiVersion and kind."""
        metadata = obj["metadata"]
        return cls(obj["apiVersion"], obj["kind"], metadata["name"], metadata.get("namespace"))

    def path(self, subresource: str | None = None) -> str:
        """The URL path of the object.

        Raises:
            ValueError: a namespaced kind without a namespace; the request would mean another one.
        """
        known = resource(self.api_version, self.kind)
        if known.namespaced and not self.namespace:
            raise ValueError(f"{self.kind} {self.name} needs a namespace")
        return known.path(self.namespace, self.name, subresource)

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {where}{self.name}"
