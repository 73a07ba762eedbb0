"""Random experiments while the operator is killed and its line to the API server is bad.

RUNYARD_CHAOS_EXPERIMENTS is how many (40), RUNYARD_CHAOS_SEED which ones (1). What is asserted is
true at any seed and any timing.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import audit
from tests.support.experiments import EXPERIMENT, TERMINAL, UNIT, phase
from tests.support.kubectl import Kubectl
from tests.support.kubelet import End, Kubelet
from tests.support.operator import OperatorProcess
from tests.support.proxy import Proxy, Way, address, behind
from tests.support.random_experiments import Random, Wish, generate
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

COUNT = int(os.environ.get("RUNYARD_CHAOS_EXPERIMENTS", "40"))
SEED = int(os.environ.get("RUNYARD_CHAOS_SEED", "1"))
BATCH = 4
KILLS = 6
"""At least; there are more when there are many experiments."""
FAILING = {f"bad{index}": End(3, "it broke") for index in range(4)}


class Chaos:
    """A thread that breaks things, one after the other, until it is told to stop."""

    def __init__(self, rng: random.Random, operator: OperatorProcess, proxy: Proxy) -> None:
        self.kills = 0
        self._rng = rng
        self._operator = operator
        self._proxy = proxy
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos")
        self._error: BaseException | None = None

    def __enter__(self) -> Chaos:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._proxy.calm()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                faults = [self._kill, self._cut, self._slow, self._deafen, self._silence]
                self._rng.shuffle(faults)
                for each in faults:
                    # An operator that never came to work would prove nothing.
                    self._until_ready()
                    self._wait(0.0, 3.0)
                    each()
                    self._proxy.calm()
        except BaseException as error:
            self._error = error

    @property
    def failed(self) -> bool:
        """Whether it has ended by itself; the end of the block says why."""
        return self._error is not None

    def _until_ready(self) -> None:
        while not self._stop.is_set() and not self._operator.ready():
            self._wait(0.1, 0.1)

    def _kill(self) -> None:
        self._operator.kill()
        self._wait(0.0, 1.0)
        self._operator.start(wait_ready=False)
        self.kills += 1

    def _cut(self) -> None:
        self._proxy.cut()

    def _slow(self) -> None:
        self._proxy.delay(self._rng.uniform(0.05, 0.5))
        self._wait(1.0, 3.0)

    def _deafen(self) -> None:
        """Requests arrive, and nobody hears of it."""
        self._proxy.swallow(Way.ANSWERS)
        self._wait(0.3, 3.0)

    def _silence(self) -> None:
        self._proxy.swallow(Way.ANSWERS, Way.REQUESTS)
        self._wait(0.3, 3.0)

    def _wait(self, least: float, most: float) -> None:
        self._stop.wait(self._rng.uniform(least, most))


@pytest.fixture
def proxy(cluster: Any) -> Iterator[Proxy]:
    """The operator's line to the API server."""
    with Proxy(*address(cluster.kubeconfig)) as running:
        yield running


@pytest.fixture
def operator(
    cluster: Any, kube: Kubectl, proxy: Proxy, tmp_path: Path
) -> Iterator[OperatorProcess]:
    """An operator behind the proxy."""
    process = OperatorProcess(
        behind(proxy, cluster.kubeconfig, tmp_path / "kubeconfig"),
        tmp_path / "operator.log",
        namespaces=(kube.namespace,),
    )
    process.start()
    yield process
    process.kill()
    print(process.tail(60))


def meddle(kube: Kubectl, each: Random) -> None:
    """The user's wish."""
    patch = ("patch", EXPERIMENT, each.name, "--type=merge", "-p")
    match each.wish:
        case Wish.CANCEL:
            kube.run(*patch, '{"spec": {"cancel": true}}')
        case Wish.DELETE:
            kube.run("delete", EXPERIMENT, each.name, "--wait=false", "--ignore-not-found")
        case Wish.SUSPEND:
            kube.run(*patch, '{"spec": {"suspend": true}}')


def submit(kube: Kubectl, rng: random.Random, experiments: list[Random]) -> None:
    """The users come and go: some change their minds at once, some when others have come."""
    waiting: list[Random] = []
    for start in range(0, len(experiments), BATCH):
        batch = experiments[start : start + BATCH]
        kube.apply(*[each.manifest for each in batch])
        now = waiting + [each for each in batch if rng.random() < 0.5]
        waiting = [each for each in batch if each not in now]
        for each in rng.sample(now, k=len(now)):
            meddle(kube, each)
    for each in waiting:
        meddle(kube, each)
    for each in experiments:
        if each.wish is Wish.SUSPEND:
            patch = '{"spec": {"suspend": false}}'
            kube.run("patch", EXPERIMENT, each.name, "--type=merge", "-p", patch)


def test_chaos_doubles_loses_and_leaves_nothing(
    kube: Kubectl, operator: OperatorProcess, proxy: Proxy, cluster: Any
) -> None:
    """Every experiment ends, each attempt had one Job, and nothing is left that holds anything."""
    rng = random.Random(SEED)
    experiments = [generate(rng, number) for number in range(COUNT)]
    with Kubelet(kube, ends=FAILING):
        with Chaos(rng, operator, proxy) as chaos:
            submit(kube, random.Random(SEED), experiments)
            eventually(lambda: chaos.kills >= KILLS, "the operator was killed often enough")
        kept = {each.name for each in experiments if each.wish is not Wish.DELETE}
        eventually(
            lambda: all_over(kube, kept),
            "all experiments have ended, and what was deleted is gone",
            timeout=600,
            interval=1.0,
            explain=lambda: kube.run("get", f"{EXPERIMENT},{UNIT}") + operator.tail(),
        )
    print(f"{chaos.kills} kills, {proxy.cuts} connections cut")
    assert proxy.cuts > KILLS
    check_audit(kube, cluster.audit_log, experiments)
    check_left(kube, kept)
    check_ends(kube, [each for each in experiments if each.wish is Wish.NOTHING])


def all_over(kube: Kubectl, kept: set[str]) -> bool:
    """Whether those that were kept are terminal, with all their units, and the others are gone."""
    found = kube.list(f"{EXPERIMENT},{UNIT}")
    names = {each["metadata"]["name"] for each in found if each["kind"] == "Experiment"}
    return names == kept and all(
        phase(each) in TERMINAL and not each["metadata"].get("finalizers") for each in found
    )


def check_audit(kube: Kubectl, log: Path, experiments: list[Random]) -> None:
    """By the API server's own log: one unit for each task and one Job for each attempt.

    A Job whose creation was cut off amid its answer can be stored and yet not be in the log as
    created: those that are there count, too.
    """
    made = audit.created(log, kube.namespace, "jobs", "executionunits")
    assert {what: times for what, times in made.items() if times != 1} == {}
    jobs = {name for resource, name in made if resource == "jobs"}
    jobs |= {each["metadata"]["name"] for each in kube.list("jobs")}
    for each in experiments:
        own = {name for name in jobs if name.startswith(f"{each.name}-")}
        if each.wish in (Wish.NOTHING, Wish.SUSPEND):
            assert own == each.jobs(), (each, kube.get(EXPERIMENT, each.name))
        else:
            assert own <= each.jobs(), each


def check_left(kube: Kubectl, kept: set[str]) -> None:
    """No Job without a unit, no unit without an experiment, and no Job that goes on."""
    units = {each["metadata"]["uid"]: each for each in kube.list(UNIT)}
    experiments = {each["metadata"]["uid"]: each for each in kube.list(EXPERIMENT)}
    assert {each["metadata"]["name"] for each in experiments.values()} == kept
    for each in units.values():
        assert each["metadata"]["ownerReferences"][0]["uid"] in experiments
    for each in kube.list("jobs"):
        assert each["metadata"]["ownerReferences"][0]["uid"] in units, each
        assert not each["status"].get("active"), each


def check_ends(kube: Kubectl, alone: list[Random]) -> None:
    """What no user touched ended as its graph says."""
    found = {each["metadata"]["name"]: phase(each) for each in kube.list(UNIT)}
    for each in alone:
        ends = each.ends()
        assert {task: found[f"{each.name}-{task}"] for task in ends} == ends
