"""The Job that looks up a commit, and what its pod's words come to."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runyard.api.code import CodeGit
from runyard_operator.backends.pods import resolver
from runyard_operator.backends.pods.resolver import Resolved, Unresolved
from runyard_operator.backends.pods.sources import SECRET_VOLUME
from runyard_operator.backends.pods.template import PodConfig
from runyard_operator.engine import reasons
from runyard_operator.unpack import resolve

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
GIT = {"url": "https://host/r.git", "ref": "main"}


def job(**git: Any) -> dict[str, Any]:
    """The Job, as the API server stores it."""
    source = CodeGit.model_validate({**GIT, **git})
    made = resolver.job("exp", "ns", {"uid": "u"}, source, PodConfig(image="operator"))
    made["metadata"]["creationTimestamp"] = NOW.isoformat()
    return made


def pod(code: int | None, message: str = "") -> dict[str, Any]:
    """Its pod, ended with this code or still running."""
    ended = {"terminated": {"exitCode": code, "message": message}}
    state = {"running": {"startedAt": NOW.isoformat()}} if code is None else ended
    return {
        "metadata": {"name": "p", "labels": {}},
        "spec": {},
        "status": {"containerStatuses": [{"name": "resolve", "state": state}]},
    }


def test_the_pod_is_asked_what_it_understands() -> None:
    """Nothing of the address is expanded by Kubernetes, and the Secret is a file there."""
    spec = job(secret={"name": "deploy"}, url="https://host/$(HOME).git")["spec"]
    container = spec["template"]["spec"]["containers"][0]
    env = {each["name"]: each["value"] for each in container["env"]}
    asked = json.loads(env[resolve.RESOLVE_VARIABLE].replace("$$", "$"))
    assert (asked["url"], asked["ref"]) == ("https://host/$(HOME).git", "main")
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == SECRET_VOLUME]
    assert asked["secret"] == mount["mountPath"]
    assert "secret" not in json.dumps(job()["spec"]["template"]["spec"]["volumes"])
    assert spec["backoffLimit"] == 0
    assert not spec["template"]["spec"]["automountServiceAccountToken"]


@pytest.mark.parametrize(
    ("code", "message", "outcome"),
    [
        (0, json.dumps({"commit": COMMIT}), Resolved(COMMIT)),
        (0, json.dumps({"commit": "main"}), reasons.CODE_NOT_FOUND),
        (0, "[]", reasons.CODE_NOT_FOUND),
        (0, "", reasons.CODE_NOT_FOUND),
        (resolve.EXIT_REFUSED, "no branch 'main'", reasons.CODE_NOT_FOUND),
        (resolve.EXIT_LATER, "host gave no answer", reasons.UNREACHABLE),
        (137, "", reasons.CODE_NOT_FOUND),
    ],
)
def test_what_the_pod_says(code: int, message: str, outcome: Resolved | str) -> None:
    """Only a whole commit is one; of the rest the reason is told, and the next try needs a Job."""
    found = resolver.read(job(), [pod(code, message)], NOW)
    if isinstance(outcome, Resolved):
        assert found == outcome
        return
    assert isinstance(found, Unresolved)
    assert (found.reason, found.over) == (outcome, True)
    assert code == 0 or message in found.message


def test_a_pod_that_does_not_start_is_told_of() -> None:
    """Not at once, and without giving the Job up."""
    assert resolver.read(job(), [], NOW) is None
    assert resolver.read(job(), [pod(None)], NOW + timedelta(seconds=59)) is None
    found = resolver.read(job(), [], NOW + timedelta(seconds=61))
    assert isinstance(found, Unresolved)
    assert (found.reason, found.over) == (reasons.STAGING_CODE, False)
    assert "describe pods" in found.message


def test_a_job_that_ended_without_its_pod_is_tried_again() -> None:
    """A node was lost, or the deadline of the Job has passed."""
    over = {**job(), "status": {"conditions": [{"type": "Failed", "status": "True"}]}}
    found = resolver.read(over, [], NOW)
    assert isinstance(found, Unresolved)
    assert found.over
