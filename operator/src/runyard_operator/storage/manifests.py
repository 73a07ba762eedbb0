"""The ConfigMap that tells a namespace, and the operator, that the store has a bundle."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from runyard.api.constants import ANNOTATION_DIGEST
from runyard.bundles import names
from runyard.bundles.names import Location, Refusal
from runyard_operator.bundles import tokens
from runyard_operator.kube.api import KubeApi
from runyard_operator.kube.errors import Forbidden, Invalid, KubeError, NotFound
from runyard_operator.kube.resources import Ref
from runyard_operator.storage.refusals import RefusedError
from runyard_operator.storage.tickets import unavailable

MANAGER: Final = "runyard-store"


async def ensure(
    kube: KubeApi, key: bytes, namespace: str, digest: str, size: int, now: datetime
) -> None:
    """Makes the manifest, or makes one that is there say what is true.

    Raises:
        RefusedError: its name is taken by something else, or the namespace refuses it.
    """
    name = names.manifest_name(digest)
    try:
        found = await kube.get(Ref("v1", "ConfigMap", name, namespace))
        if found is not None:
            other = names.annotation(found, ANNOTATION_DIGEST) != digest
            place = (found.get("data") or {}).get("location")
            if other or place != Location.STORE.value:
                raise _taken(name)
        wanted = names.manifest(digest, size, now=now, proof=tokens.proof(key, namespace, digest))
        wanted["metadata"]["namespace"] = namespace
        await kube.apply(wanted, manager=MANAGER)
    except Invalid as error:
        raise _taken(name) from error
    except (Forbidden, NotFound) as error:
        raise RefusedError(
            403,
            Refusal.NO_RIGHT,
            f"the namespace {namespace} does not take the ConfigMap {name}: {error}",
        ) from error
    except KubeError as error:
        raise unavailable(error) from error


def _taken(name: str) -> RefusedError:
    return RefusedError(
        409,
        Refusal.TAKEN,
        f"the ConfigMap {name} exists and does not speak of this code: look whose it is, then"
        f" delete it (kubectl delete configmap {name}) and push again",
    )
