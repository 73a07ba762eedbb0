"""An experiment's inline code becomes one ConfigMap that all its units name."""

from __future__ import annotations

from runyard.api.code import Code, CodeConfigMap
from runyard.api.pod import KeyToPath
from runyard_operator.bundles.bundle import Bundle, bundle
from runyard_operator.bundles.bundle import config_map as bundle_config_map
from runyard_operator.kube.api import Object
from runyard_operator.reconcile import manifests


def _bundle(source: Code) -> Bundle | None:
    if source.inline is None:
        return None
    return bundle((file.path, file.content) for file in source.inline)


def staged(source: Code) -> Code:
    """What the units say in place of `source`: copies of inline files would fill etcd.

    Raises:
        BundleError: the files do not fit together.
    """
    packed = _bundle(source)
    if packed is None:
        return source
    items = [KeyToPath.model_validate(each) for each in packed.items]
    return Code(config_map=CodeConfigMap(name=packed.name, items=items, digest=packed.digest))


def config_map(source: Code, experiment: Object) -> Object | None:
    """The ConfigMap that `staged` names, owned by the experiment; None when there is none to make.

    Raises:
        BundleError: the files do not fit together.
    """
    packed = _bundle(source)
    if packed is None:
        return None
    namespace = experiment["metadata"]["namespace"]
    return bundle_config_map(packed, namespace=namespace, owner=manifests.owner(experiment))
