"""`runyard apply`: server-side apply of every object in the files, then the wait if asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence

from runyard.cli.errors import FAILED, USAGE, CliError, suggestion
from runyard.cli.manifests import Manifest, read
from runyard.cli.params import override
from runyard.cli.refusals import refusal
from runyard.cli.session import Session
from runyard.kube.client import EXPERIMENTS, OURS, KubeClient, Object, Resource
from runyard.kube.errors import KubeError, UnreachableError


def run(
    session: Session,
    sources: Sequence[str],
    *,
    params: Sequence[str] = (),
    wait: bool = False,
    timeout: float | None = None,
    force_conflicts: bool = False,
) -> int:
    """Applies everything that can be, says what cannot, and follows the experiments if `wait`.

    Returns the exit code.
    """
    manifests = read(sources)
    override(manifests, params)
    experiments = [each for each in manifests if _is_experiment(each)]
    if wait and not experiments:
        raise CliError(
            f"{', '.join(sources)}: no Experiment to wait for", "leave out --wait", USAGE
        )
    client = session.connect()
    _check_namespaces(session, manifests, client)
    applied = _apply_all(session, client, manifests, force_conflicts)
    if applied < len(manifests):
        if len(manifests) > 1:
            session.note(
                f"{applied} of {len(manifests)} objects were applied: correct the others and run"
                " this again"
            )
        return FAILED
    return _wait(session, client, experiments, timeout) if wait else 0


def _is_experiment(manifest: Manifest) -> bool:
    return (
        manifest.kind == EXPERIMENTS.kind and manifest.item["apiVersion"] == EXPERIMENTS.api_version
    )


def _check_namespaces(session: Session, manifests: Sequence[Manifest], client: KubeClient) -> None:
    """A namespace in the file and another one in -n contradict each other, as for kubectl."""
    if session.target.namespace is None:
        return
    for each in manifests:
        own = each.item["metadata"].get("namespace")
        if own is not None and own != client.namespace:
            raise CliError(
                f"{each.place}: metadata.namespace is {own!r}, but -n says {client.namespace!r}",
                "leave out one of them; nothing was applied",
                USAGE,
            )


def _apply_all(
    session: Session, client: KubeClient, manifests: Sequence[Manifest], force: bool
) -> int:
    """Applies one after the other, goes on after a refusal; how many were applied."""
    applied = 0
    for each in manifests:
        try:
            outcome = _apply(client, each, force)
        except UnreachableError:
            if applied:
                session.note(f"{applied} of {len(manifests)} objects were applied before this:")
            raise
        except KubeError as error:
            for line in refusal(each, error):
                session.note(line)
        except CliError as error:
            session.note(f"{error}" + (f"\n  {error.hint}" if error.hint else ""))
        else:
            session.say(outcome)
            applied += 1
    return applied


def _apply(client: KubeClient, manifest: Manifest, force: bool) -> str:
    """Applies one object; the line that says what became of it."""
    resource = _resource(client, manifest)
    metadata = manifest.item["metadata"]
    namespace = metadata.get("namespace") or client.namespace
    before = client.find(resource, namespace, manifest.name)
    after, created = client.apply(resource, namespace, manifest.item, force=force)
    name = f"{_singular(resource)}/{manifest.name}"
    if created:
        return f"{name} created"
    same = before is not None and _wanted(before) == _wanted(after)
    return f"{name} unchanged" if same else f"{name} configured"


def _wanted(item: Object) -> Object:
    """What people set of an object, without the API server's book-keeping.

    The resourceVersion would not do: it counts changes of that book-keeping too, and a controller
    may write the status between two reads.
    """
    counted = ("resourceVersion", "managedFields", "generation")
    metadata = {key: value for key, value in item["metadata"].items() if key not in counted}
    return {**item, "metadata": metadata, "status": None}


def _singular(resource: Resource) -> str:
    """For example experiment.runyard.dev or configmap, as kubectl prints them."""
    kind = resource.kind.lower()
    return f"{kind}.{resource.group}" if resource.group else kind


def _resource(client: KubeClient, manifest: Manifest) -> Resource:
    api_version = manifest.item["apiVersion"]
    found = client.resource(api_version, manifest.kind)
    if found is not None:
        return found
    near = suggestion(manifest.kind, OURS) if api_version.startswith("runyard.dev/") else ""
    raise CliError(
        f"{manifest.place}: the cluster does not know {manifest.kind} of {api_version}",
        near or "correct apiVersion and kind, or install what serves them",
    )


def _wait(
    session: Session, client: KubeClient, experiments: Sequence[Manifest], timeout: float | None
) -> int:
    """Follows each experiment to its end; the worst exit code."""
    from runyard.cli.follow import failures, follow

    started = time.monotonic()
    worst = 0
    for each in experiments:
        namespace = each.item["metadata"].get("namespace") or client.namespace
        last, code = follow(session, client.within(namespace), each.name, timeout, started)
        for line in failures(last):
            session.say(line)
        worst = worst if code == 0 or worst == FAILED else code
    return worst
