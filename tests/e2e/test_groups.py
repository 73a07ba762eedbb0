"""Groups with real pods: how the end of one role reaches the others, and who reports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from runyard.api.policy import FailureClass
from runyard_operator.backends.base import Target
from runyard_operator.backends.job.backend import JobBackend
from runyard_operator.backends.pods.template import PodConfig
from runyard_operator.engine.observation import Observation, State
from runyard_operator.kube import HttpKubeApi, load_configuration
from runyard_operator.store import Store
from tests.support.cli import Cli
from tests.support.experiments import UNIT, WORKER, experiment, finished, job, phase
from tests.support.kubectl import Kubectl
from tests.support.operator import OperatorProcess
from tests.support.targets import make_target, until

pytestmark = pytest.mark.e2e

CONFIG = PodConfig(image="testbed.local/operator:dev")
ENDED = (State.SUCCEEDED, State.FAILED)
FOR_EVER = "while :; do sleep 0.2; done"


@pytest.fixture
async def jobs(cluster: Any) -> AsyncIterator[JobBackend]:
    """The backend, on the test's cluster."""
    client = HttpKubeApi(await load_configuration(str(cluster.kubeconfig)))
    yield JobBackend(client, Store(), CONFIG)
    await client.close()


async def submit(
    jobs: JobBackend, kube: Kubectl, name: str, policy: str = "All", /, **scripts: str
) -> Target:
    """Submits a group of these roles; it declares the output `who`."""
    roles = [
        {"name": role, "script": {"inline": text, "entrypoint": "sh"}}
        for role, text in scripts.items()
    ]
    block = {"image": WORKER, "imagePullPolicy": "IfNotPresent", "cpu": "50m", "memory": "128Mi"}
    target = make_target(
        kube,
        name,
        script=None,
        group={"roles": roles, "successPolicy": policy},
        env=[{"name": "WHERE", "value": "/nemo_run"}],
        outputs=[{"name": "who"}],
        executor={"job": block},
    )
    await jobs.submit(target)
    return target


async def end(jobs: JobBackend, target: Target) -> Observation:
    """The last observation of the group's job."""
    found: list[Observation] = []

    async def look() -> bool:
        found.append(await jobs.observe(target, None))
        return found[-1].state in ENDED

    await until(look, f"{target.name} has ended")
    return found[-1]


WELL = 'echo "$RUNYARD_ROLE of $RUNYARD_ROLES" > "$RUNYARD_OUTPUTS/who"'


async def test_all_roles_run_together_and_the_leader_reports(
    kube: Kubectl, jobs: JobBackend
) -> None:
    """They see each other at localhost and in the shared folder; the last end is the group's."""
    serve = f"python3 -m http.server 8000 & until [ -e $WHERE/got ]; do sleep 0.1; done; {WELL}"
    ask = """
    until python3 -c 'import urllib.request as u; u.urlopen("http://localhost:8000")'; do
      sleep 0.2
    done
    : > $WHERE/got
    """
    end_of = await end(jobs, await submit(jobs, kube, "well", serve=serve, ask=ask))
    assert end_of.state is State.SUCCEEDED, end_of
    assert end_of.outputs == (("who", "serve of serve ask"),)


async def test_a_failed_role_ends_its_group(kube: Kubectl, jobs: JobBackend) -> None:
    """The leader would run for ever, and so would one that ignores what its shell is told."""
    deaf = f"trap '' TERM; {FOR_EVER}"
    bad = await submit(
        jobs, kube, "bad", leader=FOR_EVER, deaf=deaf, bad="echo no data; sleep 2; exit 3"
    )
    # The shell around the command dies with it: the kernel kills all that is in the container.
    greedy = "python3 -c 'x = bytearray(400 * 1024 * 1024)'; code=$?; sleep 3; exit $code"
    memory = await submit(jobs, kube, "memory", leader=FOR_EVER, greedy=greedy)
    end_of = await end(jobs, bad)
    assert (end_of.state, end_of.exit_code) == (State.FAILED, 3)
    assert "role bad: exit code 3" in end_of.message
    assert end_of.last_log_lines == ("no data",)
    end_of = await end(jobs, memory)
    assert end_of.failure_class is FailureClass.OUT_OF_MEMORY
    assert "role greedy" in end_of.message


async def test_the_leader_decides(kube: Kubectl, jobs: JobBackend) -> None:
    """Workers that would run for ever are ended with it; how they ended does not count."""
    well = await submit(
        jobs, kube, "well", "Leader", lead=f"sleep 3; {WELL}", worker=FOR_EVER, lost="exit 9"
    )
    bad = await submit(jobs, kube, "bad", "Leader", lead="sleep 3; exit 4", worker=FOR_EVER)
    end_of = await end(jobs, well)
    assert end_of.state is State.SUCCEEDED, end_of
    assert end_of.outputs == (("who", "lead of lead worker lost"),)
    end_of = await end(jobs, bad)
    assert (end_of.state, end_of.exit_code) == (State.FAILED, 4)
    assert "role lead: exit code 4" in end_of.message


def test_every_role_shows_in_the_logs(kube: Kubectl, operator: OperatorProcess) -> None:
    """Lines carry the name of the role; the failed role is named where the experiment is told."""
    assert operator
    roles = [
        {"name": name, "script": {"inline": text, "entrypoint": "sh"}}
        for name, text in (("lead", f"echo leading; {FOR_EVER}"), ("bad", "echo no data; exit 3"))
    ]
    task = job("pair", "true", group={"roles": roles})
    del task["script"]
    kube.apply(experiment("roles", task))
    assert phase(finished(kube, "roles")) == "Failed"
    unit = kube.get(UNIT, "roles-pair")
    assert unit is not None
    assert "role bad: exit code 3" in unit["status"]["message"]
    (attempt,) = unit["status"]["attempts"]
    assert (attempt["exitCode"], attempt["lastLogLines"]) == (3, ["no data"])
    shown = Cli(kube.kubeconfig, kube.namespace).run("logs", "roles", "pair").stdout.splitlines()
    assert "pair/lead | leading" in shown
    assert "pair/bad  | no data" in shown
