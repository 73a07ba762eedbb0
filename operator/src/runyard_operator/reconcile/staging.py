"""Finds out what an experiment's code is: the commit of a branch, the parts of a bundle."""

from __future__ import annotations

import contextlib

from runyard.api.code import Code, CodeBundle, CodeGit
from runyard.api.experiment import StagedCode
from runyard_operator.backends.pods import resolver
from runyard_operator.backends.registry import pod_config
from runyard_operator.bundles import claim
from runyard_operator.context import Context
from runyard_operator.engine import reasons
from runyard_operator.engine.experiment import NotStaged, Staged
from runyard_operator.kube.api import Object
from runyard_operator.kube.errors import AlreadyExists, Conflict, Forbidden, Invalid
from runyard_operator.kube.resources import Ref
from runyard_operator.reconcile import manifests, views


class Stager:
    """Looks for the code of experiments, one step at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pods = pod_config(context.config)

    async def look(self, obj: Object, source: Code) -> Staged | NotStaged | None:
        """What is known of the code now; None while it is being found out.

        Raises:
            KubeError: the API server gives no answer.
        """
        try:
            if source.bundle is not None:
                return await self._bundle(obj, source.bundle)
            if source.git is not None:
                return await self._commit(obj, source.git)
        except (Forbidden, Invalid) as error:
            said = f"the API server does not let the operator look for the code: {error}"
            return NotStaged(reasons.FORBIDDEN, said)
        return None

    async def _bundle(self, obj: Object, bundle: CodeBundle) -> Staged | NotStaged:
        problem = await claim.claim(
            self._context.kube,
            bundle,
            obj["metadata"]["namespace"],
            manifests.owner(obj),
            manager=f"runyard-experiment-{obj['metadata']['uid']}",
            key=self._pods.store_key or None,
            cap=self._pods.bundle_cap,
        )
        if problem is not None:
            return NotStaged(reasons.CODE_NOT_FOUND, problem)
        return Staged(StagedCode(digest=bundle.digest))

    async def _commit(self, obj: Object, git: CodeGit) -> Staged | NotStaged | None:
        name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
        manifest = resolver.job(name, namespace, manifests.owner(obj), git, self._pods)
        ref = Ref.of(manifest)
        child = await self._context.kube.get(ref)
        if child is None:
            # One that is there is an earlier try whose answer was lost: the next pass looks at it.
            with contextlib.suppress(AlreadyExists):
                await self._context.kube.create(manifest)
            return None
        if not views.controlled_by(child, obj["metadata"]["uid"]):
            said = f"{ref} exists and was not made for this experiment: delete or rename it"
            return NotStaged(reasons.NAME_CONFLICT, said)
        if views.deleting(child):
            return None
        selector = f"batch.kubernetes.io/job-name={ref.name}"
        found = await self._context.kube.list(
            "v1", "Pod", namespace=namespace, label_selector=selector
        )
        outcome = resolver.read(child, found, self._context.now())
        if isinstance(outcome, resolver.Resolved):
            return Staged(StagedCode(commit=outcome.commit))
        if outcome is None:
            return None
        if outcome.over:
            await self._delete(ref, child)
        return NotStaged(outcome.reason, outcome.message)

    async def _delete(self, ref: Ref, child: Object) -> None:
        with contextlib.suppress(Conflict):  # another one has the name by now
            await self._context.kube.delete(ref, uid=child["metadata"]["uid"])
