"""What the API server's answers to a dry run mean for a plan."""

from __future__ import annotations

from typing import Any, cast

import pytest

from runyard_operator.backends.base import Unreachable
from runyard_operator.kube.api import KubeApi, Object, Texts
from runyard_operator.kube.errors import AlreadyExists, Forbidden, Invalid, KubeError, Unavailable
from runyard_operator.reconcile.admission import Findings, check

JOB: Object = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "a-1", "namespace": "team"},
    "spec": {"template": {"metadata": {"labels": {"x": "y"}}, "spec": {"containers": []}}},
}


class Answering:
    """An API server that answers dry runs by the object's kind, and keeps what it was asked."""

    def __init__(self, **answers: KubeError | Texts) -> None:
        self.answers = answers
        self.asked: list[Object] = []

    async def dry_run(self, manifest: Object) -> Texts:
        self.asked.append(manifest)
        answer = self.answers.get(manifest["kind"], [])
        if isinstance(answer, KubeError):
            raise answer
        return answer


async def found(kube: Answering) -> Findings:
    """The findings about a Job."""
    findings = Findings()
    await check(cast(KubeApi, cast(Any, kube)), JOB, findings)
    return findings


async def test_a_job_is_asked_for_and_the_pod_that_it_stands_for() -> None:
    """The pod has the template's labels and the Job's name."""
    kube = Answering(Job=["a is deprecated"], Pod=["b would violate PodSecurity"])
    assert await found(kube) == Findings(
        warnings=["a is deprecated", "b would violate PodSecurity"]
    )
    pod = kube.asked[1]
    assert (pod["kind"], pod["metadata"]) == (
        "Pod",
        {"name": "a-1", "namespace": "team", "labels": {"x": "y"}},
    )


async def test_a_name_that_is_taken_passes() -> None:
    """The API server looks for it last; a running experiment has its own jobs."""
    assert await found(Answering(Job=AlreadyExists("taken", status=409))) == Findings()


async def test_an_operator_that_may_create_no_pods_says_that_it_did_not_ask() -> None:
    """That is no problem of the plan."""
    said = 'pods is forbidden: User "x" cannot create resource "pods" in API group ""'
    findings = await found(Answering(Pod=Forbidden(said, status=403)))
    assert findings == Findings(
        unchecked=["Pod team/a-1, since the operator may create no pods itself"]
    )


async def test_a_webhook_without_dry_run_says_nothing_about_the_object() -> None:
    """It would refuse every plan."""
    said = "admission webhook x does not support dry run"
    findings = await found(Answering(Job=Invalid(said, status=400)))
    assert findings == Findings(unchecked=["Job team/a-1, since a webhook supports no dry run"])


@pytest.mark.parametrize(
    ("kind", "said", "problem"),
    [
        ("Job", "exceeded quota: none", False),
        ("Pod", "exceeded quota: none", False),
        ("Job", 'User "x" cannot create resource "jobs"', False),
        ("Job", "admission webhook p denied the request: no", True),
        ("Pod", "violates PodSecurity restricted", True),
    ],
)
async def test_refusals_fail_and_waits_warn(kind: str, said: str, problem: bool) -> None:
    """As they would once the unit is submitted."""
    findings = await found(Answering(**{kind: Forbidden(said, status=403)}))
    assert (len(findings.problems), len(findings.warnings)) == ((1, 0) if problem else (0, 1))
    assert said in [*findings.problems, *findings.warnings][0]


async def test_no_answer_is_no_finding() -> None:
    """The plan is made again later."""
    with pytest.raises(Unreachable):
        await found(Answering(Job=Unavailable("no answer")))
