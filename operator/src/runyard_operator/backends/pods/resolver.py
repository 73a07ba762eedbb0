"""The Job that finds out which commit a branch or tag names now, and what its pod says. Pure.

It runs in the experiment's namespace: the pod there may read the Secret and reach the server, while
the operator needs neither rights on Secrets nor a way to whatever address a user writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from runyard.api.code import COMMIT, CodeGit
from runyard.api.constants import LABEL_EXPERIMENT, LABEL_MANAGED_BY, MANAGED_BY
from runyard_operator.backends.base import Manifest
from runyard_operator.backends.pods import result
from runyard_operator.backends.pods.command import literal
from runyard_operator.backends.pods.sources import GIT_MEMORY, KEYS_DIR, git_access
from runyard_operator.backends.pods.template import RESTRICTED, PodConfig
from runyard_operator.backends.pods.view import ContainerView, PodView, instant, pod_view
from runyard_operator.backends.pods.waiting import why_waiting
from runyard_operator.engine import reasons
from runyard_operator.engine.naming import bounded
from runyard_operator.unpack import KEYS_VARIABLE
from runyard_operator.unpack.resolve import EXIT_LATER, RESOLVE_VARIABLE

MAX_NAME: Final = 57
DEADLINE_SECONDS: Final = 300
KEPT_SECONDS: Final = 300
PATIENCE: Final = timedelta(seconds=60)
"""How long the pod may be on its way before anybody asks why."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The commit."""

    commit: str


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Why there is none. `over` says that this Job will not find it: the next try needs another."""

    reason: str
    message: str
    over: bool


def name(experiment: str) -> str:
    """The Job's name."""
    return bounded(f"{experiment}-commit", MAX_NAME)


def job(
    experiment: str, namespace: str, owner: Mapping[str, Any], git: CodeGit, config: PodConfig
) -> Manifest:
    """The Job; the experiment owns it."""
    labels = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_EXPERIMENT: bounded(experiment)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name(experiment),
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [dict(owner)],
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": _pod(git, config)},
        },
    }


def _pod(git: CodeGit, config: PodConfig) -> Manifest:
    volumes, mounts, known = git_access(git)
    asked = {"url": git.url, "ref": git.ref, "secret": None, **known}
    container: Manifest = {
        "name": "resolve",
        "image": config.image,
        "imagePullPolicy": config.image_pull_policy,
        "command": [config.command[0], "-m", "runyard_operator.unpack.resolve"],
        "env": [
            {"name": RESOLVE_VARIABLE, "value": literal(json.dumps(asked))},
            {"name": KEYS_VARIABLE, "value": KEYS_DIR},
        ],
        "volumeMounts": list(mounts),
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"memory": GIT_MEMORY},
        },
        "securityContext": RESTRICTED,
    }
    pod: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [container],
        "volumes": list(volumes),
    }
    if config.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": each} for each in config.image_pull_secrets]
    return pod


def read(
    child: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], now: datetime
) -> Resolved | Unresolved | None:
    """What the Job has found; None while it is on its way."""
    views = [pod_view(each) for each in pods]
    ended = next((pod for pod in views if pod.main and pod.main.exit_code is not None), None)
    if ended is not None and ended.main is not None:
        return _answer(ended.name, ended.main)
    if result.is_terminal(child):
        return Unresolved(
            reasons.CODE_NOT_FOUND,
            f"Job {child['metadata']['name']} ended without the commit: trying again",
            over=True,
        )
    made = instant(child["metadata"].get("creationTimestamp"))
    if made is None or now - made < PATIENCE:
        return None
    return Unresolved(reasons.STAGING_CODE, _why(child, views), over=False)


def _answer(pod: str, container: ContainerView) -> Resolved | Unresolved:
    text = container.end_message.strip()
    if container.exit_code == 0:
        try:
            return Resolved(_commit(json.loads(text)))
        except ValueError:
            text = f"pod {pod} gave an answer that is no commit: {text[:200]!r}"
    if container.exit_code == EXIT_LATER:
        return Unresolved(reasons.UNREACHABLE, f"{text}; trying again", over=True)
    said = text or f"pod {pod} ended with {container.exit_code}"
    return Unresolved(reasons.CODE_NOT_FOUND, f"{said}; looked up again from time to time", True)


def _commit(answer: Any) -> str:
    commit = answer.get("commit") if isinstance(answer, dict) else None
    if not isinstance(commit, str) or not re.match(COMMIT, commit):
        raise ValueError("no commit")
    return commit


def _why(child: Mapping[str, Any], views: Sequence[PodView]) -> str:
    _, message = why_waiting(views, 1)
    return (
        f"the pod that looks up the commit does not run yet: {message}; see kubectl -n"
        f" {child['metadata']['namespace']} describe pods -l"
        f" batch.kubernetes.io/job-name={child['metadata']['name']}"
    )
