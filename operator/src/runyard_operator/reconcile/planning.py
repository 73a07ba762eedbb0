"""Mode Plan: what each backend would get, checked by dry runs, in one ConfigMap."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from runyard.api.constants import (
    LABEL_EXPERIMENT,
    LABEL_MANAGED_BY,
    LABEL_TASK,
    MANAGED_BY,
)
from runyard.api.profile import ProfileSpec
from runyard.api.unit import UnitSpec
from runyard.redact import Redactor, secret_values
from runyard_operator.backends import answers
from runyard_operator.backends.base import Backend, BackendError, Manifest, Target, Unreachable
from runyard_operator.context import Context
from runyard_operator.engine import naming, reasons
from runyard_operator.kube.api import Object
from runyard_operator.kube.errors import Conflict, KubeError
from runyard_operator.kube.resources import Ref
from runyard_operator.plans import document, shown
from runyard_operator.reconcile import admission, manifests, views
from runyard_operator.reconcile.admission import Findings

_MANAGER: Final = "runyard-plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult:
    """Where the plan is, and what is wrong with it.

    `problems` would make a task fail; `warnings` would make it wait, or are the API server's own.
    Each names its task.
    """

    config_map: str
    digest: str
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Planner:
    """Renders plans. It asks the backends for requests, and sends none of them."""

    def __init__(self, context: Context, backends: Mapping[str, Backend]) -> None:
        self._kube = context.kube
        self._backends = backends

    async def render(
        self,
        obj: Object,
        specs: Sequence[tuple[str, UnitSpec]],
        *,
        members: Mapping[str, int] | None = None,
        profiles: Mapping[str, ProfileSpec] | None = None,
    ) -> PlanResult:
        """Writes the plan of an experiment; safe to repeat.

        Args:
            obj: the experiment.
            specs: the tasks' names, those of `finally` too, each with its unit's spec or, of a
                matrix, with that of its first member.
            members: how many members each matrix has.
            profiles: those that were merged into `specs`, by name, to tell what came from where.

        Raises:
            Unreachable: no clear answer from a backend or the API server: call again.
        """
        wire = [spec.to_dict() for _, spec in specs]
        redactor = Redactor(secret_values([dict(obj["spec"]), *wire]))
        texts: dict[str, str] = {}
        problems: list[str] = []
        warnings: list[str] = []
        for name, spec in specs:
            head = shown.head(obj, name, spec, (members or {}).get(name, 1), profiles or {})
            objects, found = await self._examine(_target(obj, spec))
            texts[f"{name}.yaml"] = _text(obj, head, objects, found, redactor)
            problems += [f"task {name!r}: {redactor.text(each)}" for each in found.problems]
            warnings += [f"task {name!r}: {redactor.text(each)}" for each in found.warnings]
        data = document.bounded(texts)
        place, trouble = await self._write(_config_map(obj, data), obj["metadata"]["uid"])
        return PlanResult(
            config_map=place,
            digest=document.digest(data),
            problems=(*trouble, *problems),
            warnings=tuple(warnings),
        )

    async def _examine(self, target: Target) -> tuple[list[Manifest], Findings]:
        """The objects that the backend would make, and what is found about them."""
        found = Findings()
        block = next(iter(target.spec.executor.to_dict()))
        try:
            plan = await self._backends[block].plan(target)
        except Unreachable:
            raise
        except BackendError as error:
            found.problems.append(f"{error.reason}: {error.message}")
            return [], found
        objects = [*plan.bundles, *plan.objects]
        for each in objects:
            await admission.check(self._kube, each, found)
        return objects, found

    async def _write(self, manifest: Object, uid: str) -> tuple[str, list[str]]:
        """Writes the ConfigMap; its name, and why it could not be written."""
        ref = Ref.of(manifest)
        try:
            found = await self._kube.get(ref)
            if found is not None and not views.controlled_by(found, uid):
                said = f"{ref} exists and was not made for this plan: delete or rename it"
                return ref.name, [said]
            await self._kube.apply(manifest, manager=_MANAGER, force=False)
        except Conflict as error:
            said = f"{ref} was written by somebody else meanwhile: {error}"
            raise Unreachable(reasons.UNREACHABLE, said) from error
        except KubeError as error:
            trouble = answers.to_backend_error(error, ref)
            if isinstance(trouble, Unreachable):
                raise trouble from error
            return ref.name, [f"the plan cannot be written: {trouble.message}"]
        return ref.name, []


def _text(
    obj: Object,
    head: Sequence[str],
    objects: Sequence[Manifest],
    found: Findings,
    redactor: Redactor,
) -> str:
    """The document of one task."""
    comments = [
        *head,
        *(f"not checked: {each}" for each in found.unchecked),
        *(f"warning: {each}" for each in found.warnings),
        *(f"error: {each}" for each in found.problems),
    ]
    lines = [redactor.text(shown.neutral(obj, each)) for each in comments]
    visible = json.loads(shown.neutral(obj, json.dumps(list(objects))))
    return document.document(lines, redactor.document(visible))


def _target(obj: Object, spec: UnitSpec) -> Target:
    """The first attempt of a unit that does not exist."""
    metadata = obj["metadata"]
    experiment, task = shown.name_of(obj), spec.task or ""
    index = spec.member.index if spec.member is not None else None
    name = naming.unit_name(experiment, task, index)
    unit = {"metadata": {"name": name, "uid": metadata["uid"]}}
    return Target(
        namespace=metadata["namespace"],
        name=name,
        uid=metadata["uid"],
        spec=spec.model_copy(update={"experiment": experiment}),
        attempt=1,
        key=naming.attempt_key(metadata["uid"], 1),
        owner=manifests.owner({"apiVersion": obj["apiVersion"], "kind": "ExecutionUnit", **unit}),
        labels={LABEL_EXPERIMENT: experiment, LABEL_TASK: task},
    )


def _config_map(obj: Object, data: Mapping[str, str]) -> Object:
    metadata = obj["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{metadata['name']}-plan",
            "namespace": metadata["namespace"],
            "labels": {LABEL_EXPERIMENT: metadata["name"], LABEL_MANAGED_BY: MANAGED_BY},
            "ownerReferences": [manifests.owner(obj)],
        },
        "data": dict(data),
    }
