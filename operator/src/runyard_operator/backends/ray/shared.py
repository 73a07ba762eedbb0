"""Ray clusters that are there already: how they are found, and what a job must know of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from runyard.api.constants import LABEL_ATTEMPT, LABEL_UNIT, LABEL_UNIT_UID
from runyard_operator.backends.pods import packages
from runyard_operator.backends.ray.borrowed import Host
from runyard_operator.engine.naming import bounded
from runyard_operator.kube.api import KubeApi, Object
from runyard_operator.kube.resources import RAY
from runyard_operator.unpack import install

KIND: Final = "RayCluster"


def _controlled_by(cluster: Mapping[str, Any], unit_uid: str) -> bool:
    owners = cluster["metadata"].get("ownerReferences") or []
    return any(each.get("controller") and each["uid"] == unit_uid for each in owners)


async def made_by(kube: KubeApi, namespace: str, unit: str) -> Object | None:
    """The cluster that the unit of this name has made: that of its latest attempt.

    Raises:
        KubeError: no clear answer.
    """
    found = await kube.list(
        RAY, KIND, namespace=namespace, label_selector=f"{LABEL_UNIT}={bounded(unit)}"
    )
    kept = [
        each
        for each in found
        if not each["metadata"].get("deletionTimestamp")
        and _controlled_by(each, each["metadata"]["labels"].get(LABEL_UNIT_UID, ""))
    ]
    return max(kept, key=_attempt, default=None)


def _attempt(cluster: Mapping[str, Any]) -> int:
    number = (cluster["metadata"].get("labels") or {}).get(LABEL_ATTEMPT) or ""
    return int(number) if number.isdigit() else 0


async def labelled(kube: KubeApi, namespace: str, labels: Mapping[str, str]) -> list[Object]:
    """The clusters with these labels, less those that are going.

    Raises:
        KubeError: no clear answer.
    """
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    found = await kube.list(RAY, KIND, namespace=namespace, label_selector=selector)
    return [each for each in found if not each["metadata"].get("deletionTimestamp")]


def host(cluster: Mapping[str, Any]) -> Host:
    """What a job that borrows the cluster must know of it."""
    pod = cluster["spec"]["headGroupSpec"]["template"].get("spec") or {}
    containers = pod.get("containers") or [{}]
    references = {
        each["name"]: each["valueFrom"]
        for each in containers[0].get("env") or []
        if "valueFrom" in each
    }
    return Host(
        name=cluster["metadata"]["name"],
        references=references,
        packages=tuple(_requirements(pod.get("initContainers") or [])),
    )


def _requirements(init: list[Any]) -> list[str]:
    """What the init container of packages installs; nothing where there is none of ours."""
    for each in init:
        if each.get("name") == packages.CONTAINER:
            for variable in each.get("env") or []:
                if variable["name"] == install.REQUIREMENTS:
                    found: list[str] = json.loads(variable["value"].replace("$$", "$"))
                    return found
    return []
