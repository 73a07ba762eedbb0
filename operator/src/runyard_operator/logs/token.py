"""Lets the users of a namespace read its archived logs: by a token in a ConfigMap there."""

from __future__ import annotations

from typing import Final

from runyard.api.constants import LABEL_MANAGED_BY, MANAGED_BY
from runyard_operator.bundles import tokens
from runyard_operator.kube.api import KubeApi
from runyard_operator.kube.resources import Ref

CONFIG_MAP: Final = "runyard-logs"
MANAGER: Final = "runyard-logs"


class ForeignConfigMapError(Exception):
    """Somebody else has a ConfigMap of that name."""


class Tokens:
    """Makes the ConfigMaps, one for each namespace.

    Args:
        key: shared with the store.
        service: where the store is, as `<namespace>/<service>:<port>`.
    """

    def __init__(self, kube: KubeApi, key: bytes, service: str) -> None:
        self._kube = kube
        self._key = key
        self._service = service

    async def give(self, namespace: str) -> None:
        """Makes the namespace's ConfigMap, or puts it right.

        Raises:
            ForeignConfigMapError: one of the same name is not ours, and stays.
            KubeError: the API server refuses, or is silent.
        """
        ref = Ref("v1", "ConfigMap", CONFIG_MAP, namespace)
        found = await self._kube.get(ref)
        labels = (found or {}).get("metadata", {}).get("labels") or {}
        if found is not None and labels.get(LABEL_MANAGED_BY) != MANAGED_BY:
            raise ForeignConfigMapError(
                f"{ref} exists and is not Runyard's: delete or rename it, and restart the operator"
            )
        data = {"service": self._service, "token": tokens.logs_token(self._key, namespace)}
        if found is not None and found.get("data") == data:
            return
        await self._kube.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": CONFIG_MAP,
                    "namespace": namespace,
                    "labels": {LABEL_MANAGED_BY: MANAGED_BY},
                },
                "data": data,
            },
            manager=MANAGER,
        )
