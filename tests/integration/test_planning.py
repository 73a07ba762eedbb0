"""Plans on a real API server: what they show, what they find, and that nothing else is made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from runyard.api.unit import UnitSpec
from runyard_operator.backends.job.backend import JobBackend
from runyard_operator.backends.pods.template import PodConfig
from runyard_operator.backends.trainjob.backend import TrainJobBackend
from runyard_operator.context import Context
from runyard_operator.kube import HttpKubeApi, load_configuration
from runyard_operator.reconcile.planning import Planner, PlanResult
from runyard_operator.store import Store
from testbed.cluster import Cluster
from tests.support.audit import created
from tests.support.experiments import EXPERIMENT, experiment, job, train_job
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.integration


@pytest.fixture
async def planner(cluster: Cluster) -> AsyncIterator[Planner]:
    """The planner with all rights in the test's cluster."""
    async with planning(cluster.kubeconfig) as made:
        yield made


@asynccontextmanager
async def planning(kubeconfig: Path) -> AsyncIterator[Planner]:
    """A planner with the real backends and an API client."""
    api = HttpKubeApi(await load_configuration(str(kubeconfig)))
    config = PodConfig(image="testbed.local/operator:dev")
    backends = {
        "job": JobBackend(api, Store(), config),
        "trainJob": TrainJobBackend(api, Store(), config),
    }
    unused: Any = None
    context = Context(
        kube=api,
        store=Store(),
        queue=unused,
        metrics=unused,
        config=unused,
        now=lambda: datetime.now(UTC),
        emit=unused,
    )
    yield Planner(context, cast(Any, backends))
    await api.close()


def unit_of(name: str, task: dict[str, Any]) -> tuple[str, UnitSpec]:
    """A task as the spec of its unit."""
    work = {key: value for key, value in task.items() if key not in ("name", "after")}
    spec = UnitSpec.model_validate({**work, "experiment": name, "task": task["name"]})
    return task["name"], spec


async def planned(
    planner: Planner, kube: Kubectl, name: str, *tasks: dict[str, Any], **labels: str
) -> PlanResult:
    """The plan of an experiment that nobody runs."""
    manifest = experiment(name, *tasks, mode="Plan")
    manifest["metadata"]["labels"] = labels
    kube.apply(manifest)
    stored = kube.get(EXPERIMENT, name)
    assert stored is not None
    return await planner.render(stored, [unit_of(name, each) for each in tasks])


def texts(kube: Kubectl, result: PlanResult) -> dict[str, str]:
    """The documents of a plan."""
    found = kube.get("configmaps", result.config_map)
    assert found is not None
    data: dict[str, str] = found["data"]
    return data


async def test_a_plan_is_the_exact_request_and_nothing_is_made(
    planner: Planner, kube: Kubectl, cluster: Cluster
) -> None:
    """One ConfigMap, owned by the experiment, is all that the audit log knows of."""
    secret = {"name": "HF_TOKEN", "value": "hf_abcdef"}
    result = await planned(planner, kube, "sft", job("prep", "echo hello", env=[secret]))
    assert (result.problems, result.warnings) == ((), ())
    found = kube.get("configmaps", "sft-plan")
    owner = kube.get(EXPERIMENT, "sft")
    assert found is not None
    assert owner is not None
    assert found["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
    (text,) = found["data"].values()
    bundle, planned_job = [each for each in yaml.safe_load_all(text) if each]
    assert bundle["data"] == {"f000": "echo hello"}
    assert planned_job["metadata"]["name"] == "sft-prep-1"
    assert "hf_abcdef" not in text
    assert owner["metadata"]["uid"] not in text
    kinds = ("configmaps", "jobs", "pods", "executionunits", "trainjobs")
    made = created(Path(cluster.audit_log), kube.namespace, *kinds)
    # A namespace comes with a ConfigMap of its own.
    assert {name for _, name in made} <= {"sft-plan", "kube-root-ca.crt"}
    there = {each["metadata"]["name"] for each in kube.list("configmaps,jobs,pods,executionunits")}
    assert there <= {"sft-plan", "kube-root-ca.crt"}


async def test_a_second_plan_is_the_same(planner: Planner, kube: Kubectl) -> None:
    """Neither the copy's name nor its UID shows: only what was changed does."""
    label = {"runyard.dev/plan-of": "sft"}
    one = await planned(planner, kube, "sft-plan-aaaaa", job("prep", "true"), **label)
    two = await planned(planner, kube, "sft-plan-bbbbb", job("prep", "true"), **label)
    other = await planned(planner, kube, "sft-plan-ccccc", job("prep", "false"), **label)
    assert one.config_map != two.config_map
    assert one.digest == two.digest
    assert texts(kube, one) == texts(kube, two)
    assert one.digest != other.digest
    assert "name: sft-prep-1" in texts(kube, one)["prep.yaml"]


async def test_what_admission_refuses_is_a_problem(planner: Planner, kube: Kubectl) -> None:
    """Here the pods' ServiceAccount is missing, which the Job itself would not tell."""
    bad = job("prep", "true")
    bad["executor"]["job"]["serviceAccountName"] = "nobody"
    result = await planned(planner, kube, "account", bad)
    (problem,) = result.problems
    assert problem.startswith("task 'prep': ")
    assert 'serviceaccount "nobody" not found' in problem
    assert 'serviceaccount "nobody" not found' in texts(kube, result)["prep.yaml"]


async def test_what_the_api_server_finds_invalid_is_a_problem(
    planner: Planner, kube: Kubectl
) -> None:
    """The task that can be made is shown all the same."""
    bad = job("bad", "true")
    bad["executor"]["job"]["nodeSelector"] = {"no key!": "x"}
    result = await planned(planner, kube, "invalid", job("good", "true"), bad)
    assert result.problems
    assert all(each.startswith("task 'bad': ") for each in result.problems)
    assert "# error: " in texts(kube, result)["bad.yaml"]
    assert "# error: " not in texts(kube, result)["good.yaml"]


async def test_a_quota_that_is_used_up_is_a_warning(planner: Planner, kube: Kubectl) -> None:
    """The task would wait for it, and not fail."""
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "none"},
            "spec": {"hard": {"count/jobs.batch": "0"}},
        }
    )
    result = await planned(planner, kube, "quota", job("prep", "true"))
    assert result.problems == ()
    assert any("exceeded quota" in each for each in result.warnings)
    assert "exceeded quota" in texts(kube, result)["prep.yaml"]


async def test_what_a_backend_cannot_render_is_a_problem(planner: Planner, kube: Kubectl) -> None:
    """For example a training runtime that is not there."""
    result = await planned(planner, kube, "runtime", train_job("train", "true"))
    assert result.problems
    assert result.problems[0].startswith("task 'train': ")
    assert "# error: " in texts(kube, result)["train.yaml"]


async def test_a_config_map_of_somebody_else_is_left_alone(planner: Planner, kube: Kubectl) -> None:
    """Ownership before touch."""
    theirs = {"a": "b"}
    kube.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own-plan"}, "data": theirs}
    )
    result = await planned(planner, kube, "own", job("prep", "true"))
    assert "was not made for this plan" in result.problems[0]
    found = kube.get("configmaps", "own-plan")
    assert found is not None
    assert found["data"] == theirs


async def test_planning_again_writes_what_has_changed(planner: Planner, kube: Kubectl) -> None:
    """A plan that was cut short by a crash is completed, tasks that are gone are dropped."""
    await planned(planner, kube, "again", job("a", "true"))
    stored = kube.get(EXPERIMENT, "again")
    assert stored is not None
    result = await planner.render(stored, [unit_of("again", job("b", "true"))])
    assert result.problems == ()
    assert list(texts(kube, result)) == ["b.yaml"]


async def test_an_operator_without_rights_on_pods_says_what_it_did_not_ask(
    cluster: Cluster, kube: Kubectl, tmp_path: Path
) -> None:
    """As the chart's: Jobs and ConfigMaps are checked, the pods are not, and that is no problem."""
    kube.run("create", "serviceaccount", "planner")
    kube.run("create", "role", "planner", "--verb=get,create,patch", "--resource=configmaps,jobs")
    subject = f"--serviceaccount={kube.namespace}:planner"
    kube.run("create", "rolebinding", "planner", "--role=planner", subject)
    config = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
    token = kube.run("create", "token", "planner").strip()
    for user in config["users"]:
        user["user"] = {"token": token}
    limited = tmp_path / "kubeconfig"
    limited.write_text(yaml.safe_dump(config), encoding="utf-8")
    async with planning(limited) as planner:
        result = await planned(planner, kube, "limited", job("prep", "true"))
    assert (result.problems, result.warnings) == ((), ())
    text = texts(kube, result)["prep.yaml"]
    assert "# not checked: Pod " in text
    assert "since the operator may create no pods itself" in text
