"""Asks the API server, by dry runs, whether it would take objects that a plan shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from runyard_operator.backends import answers
from runyard_operator.backends.base import BackendError, Refused, Unreachable
from runyard_operator.engine import reasons
from runyard_operator.kube.api import KubeApi, Object
from runyard_operator.kube.errors import AlreadyExists, Forbidden, Invalid, KubeError
from runyard_operator.kube.resources import Ref

_NO_RIGHT: Final = 'cannot create resource "pods"'
_NO_DRY_RUN: Final = "does not support dry run"


@dataclass(slots=True)
class Findings:
    """What was found about one task: what would fail it, what would make it wait, and the rest."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)


class _Unchecked(Exception):  # noqa: N818
    """The question cannot be asked; nothing is known."""


async def check(kube: KubeApi, manifest: Object, findings: Findings) -> None:
    """Adds to `findings` what the API server says of an object, and of a Job's pod.

    Raises:
        Unreachable: there was no clear answer.
    """
    pod = _pod(manifest)
    for each in (manifest, pod) if pod is not None else (manifest,):
        try:
            findings.warnings += await _dry_run(kube, each)
        except _Unchecked as unchecked:
            findings.unchecked.append(str(unchecked))
        except Unreachable:
            raise
        except Refused as error:
            findings.problems.append(error.message)
        except BackendError as error:
            findings.warnings.append(error.message)


async def _dry_run(kube: KubeApi, manifest: Object) -> list[str]:
    ref = Ref.of(manifest)
    try:
        return await kube.dry_run(manifest)
    except AlreadyExists:
        return []  # this is found last: all else is in order
    except Forbidden as error:
        raise _forbidden(error, ref) from error
    except Invalid as error:
        if _NO_DRY_RUN in str(error):
            raise _Unchecked(f"{ref}, since a webhook supports no dry run") from error
        raise answers.to_backend_error(error, ref) from error
    except KubeError as error:
        raise answers.to_backend_error(error, ref) from error


def _forbidden(error: Forbidden, ref: Ref) -> Exception:
    """A pod is made by a controller, with rights that the operator need not have itself."""
    text = str(error)
    if ref.kind != "Pod" or "exceeded quota" in text:
        return answers.to_backend_error(error, ref)
    if _NO_RIGHT in text:
        return _Unchecked(f"{ref}, since the operator may create no pods itself")
    return Refused(reasons.REFUSED, f"the API server refuses {ref}: {text}")


def _pod(manifest: Object) -> Object | None:
    """The pod of a Job as its controller would make it; None for other kinds."""
    if manifest["kind"] != "Job":
        return None
    template = manifest["spec"]["template"]
    names = {key: manifest["metadata"][key] for key in ("name", "namespace")}
    metadata = {**template.get("metadata", {}), **names}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
