"""The executors that this operator knows: one line for each."""

from __future__ import annotations

from typing import Final

from runyard_operator.backends.base import Backend
from runyard_operator.backends.incluster import InClusterBackend
from runyard_operator.backends.job.backend import JobBackend
from runyard_operator.backends.pods.template import PodConfig
from runyard_operator.backends.ray.backend import RayBackend
from runyard_operator.backends.trainjob.backend import TrainJobBackend
from runyard_operator.bundles import tokens
from runyard_operator.config import Config
from runyard_operator.kube.api import KubeApi
from runyard_operator.store import Store

IN_CLUSTER: Final[tuple[type[InClusterBackend], ...]] = (JobBackend, TrainJobBackend, RayBackend)


def pod_config(config: Config) -> PodConfig:
    """What the operator's settings add to every pod.

    Raises:
        KeyFileError: the key of the code store cannot be read.
    """
    return PodConfig(
        image=config.image,
        store_url=config.store_url,
        store_key=tokens.read_key(config.store_key_file) if config.store_key_file else b"",
        bundle_cap=config.bundle_cap,
        package_index=config.package_index,
    )


def build(kube: KubeApi, store: Store, config: Config) -> dict[str, Backend]:
    """The backends by the name of their executor block.

    Raises:
        KeyFileError: see `pod_config`.
    """
    pods = pod_config(config)
    return {each.kind: each(kube, store, pods) for each in IN_CLUSTER}
