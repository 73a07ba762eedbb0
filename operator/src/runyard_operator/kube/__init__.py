"""The API server as the operator sees it: a small typed client with clear errors."""

from __future__ import annotations

from runyard_operator.kube.api import KubeApi, Object, Objects
from runyard_operator.kube.client import HttpKubeApi
from runyard_operator.kube.resources import Ref, Resource, resource
from runyard_operator.kube.transport import ConfigError, load_configuration

__all__ = [
    "ConfigError",
    "HttpKubeApi",
    "KubeApi",
    "Object",
    "Objects",
    "Ref",
    "Resource",
    "load_configuration",
    "resource",
]
