"""The real operator process dies at every named point, on a real API server, and comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard_operator.points import Point
from tests.support import audit, crds
from tests.support.experiments import EXPERIMENT, UNIT, experiment, finished, job, phase
from tests.support.kubectl import Kubectl
from tests.support.kubelet import Kubelet
from tests.support.mortal_operator import EXIT_CODE
from tests.support.operator import OperatorProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

CODE = {"inline": [{"path": "pkg/a.py", "content": "print('a')\n"}]}
TASK = "only"

# Points that are not reached by an experiment that is left to itself.
CANCEL = (
    Point.UNIT_CANCEL_BEFORE,
    Point.UNIT_CANCEL_AFTER,
    Point.EXPERIMENT_UPDATE_BEFORE,
    Point.EXPERIMENT_UPDATE_AFTER,
)
DELETE = (Point.EXPERIMENT_DELETE_BEFORE, Point.EXPERIMENT_DELETE_AFTER)
SUSPEND = (Point.UNIT_SUSPEND_BEFORE, Point.UNIT_SUSPEND_AFTER)
RESUME = (Point.UNIT_RESUME_BEFORE, Point.UNIT_RESUME_AFTER)
ELSEWHERE = (
    Point.BACKEND_SUBMIT_SENT,
    Point.BACKEND_CANCEL_SENT,
    # They need a Ray cluster: the story "share" of the table dies there.
    Point.EXPERIMENT_RELEASE_BEFORE,
    Point.EXPERIMENT_RELEASE_AFTER,
)
"""In the reference backend only: see tests/unit/crash."""
BY_ITSELF = tuple(
    each for each in Point if each not in (*CANCEL, *DELETE, *SUSPEND, *RESUME, *ELSEWHERE)
)


class Mortal:
    """The operator, what it is to die of, and the experiment that it works on."""

    def __init__(self, kube: Kubectl, process: OperatorProcess, file: Path) -> None:
        self.kube = kube
        self.process = process
        self.name = ""
        self.kubelet = Kubelet(kube)
        self._file = file

    def begin(self, point: Point, *, hold: bool = False) -> None:
        """A new experiment; with `hold` its task runs until somebody does something."""
        self.name = str(point).replace(".", "-")
        self.kubelet.held = {TASK} if hold else set()
        self.kube.apply(experiment(self.name, job(TASK, "true"), code=CODE))

    def running(self) -> None:
        """Returns once the task runs, and is written to do so."""
        eventually(
            lambda: phase(self.kube.get(UNIT, self.unit)) == "Running",
            f"{self.unit} runs",
            explain=self.process.tail,
        )

    @property
    def unit(self) -> str:
        """The name of the experiment's unit."""
        return f"{self.name}-{TASK}"

    def edit(self, patch: str) -> None:
        """The user changes the experiment's spec."""
        self.kube.run("patch", EXPERIMENT, self.name, "--type=merge", "-p", patch)

    def dies_at(self, point: Point, act: Callable[[], object]) -> None:
        """Does something, waits until the operator has died of it, and starts it again."""
        self._file.write_text(point, encoding="utf-8")
        act()
        assert self.process.ended() == EXIT_CODE, self.process.tail()
        self.process.start(wait_ready=False)


@pytest.fixture(scope="module")
def place(cluster: Any) -> Iterator[Kubectl]:
    """A namespace for all points, with our CRDs."""
    with crds.installed(cluster) as kube:
        yield kube


@pytest.fixture(scope="module")
def mortal(
    cluster: Any, place: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mortal]:
    """One operator for all points: after each death it is started again."""
    folder = tmp_path_factory.mktemp("mortal")
    file = folder / "point"
    file.write_text("", encoding="utf-8")
    process = OperatorProcess(
        cluster.kubeconfig, folder / "operator.log", namespaces=(place.namespace,)
    )
    process.module = "tests.support.mortal_operator"
    process.more = ("--die-at", str(file))
    process.start()
    each = Mortal(place, process, file)
    with each.kubelet:
        yield each
    file.write_text("", encoding="utf-8")
    process.ensure()
    place.run("delete", f"{EXPERIMENT},{UNIT}", "--all", "--timeout=120s")
    process.stop()


def check_once(mortal: Mortal, log: Path) -> None:
    """By the API server's own log there was one unit, and one Job for its one attempt."""
    made = audit.created(log, mortal.kube.namespace, "jobs", "executionunits")
    own = {what: times for what, times in made.items() if what[1].startswith(f"{mortal.unit}")}
    assert own == {("executionunits", mortal.unit): 1, ("jobs", f"{mortal.unit}-1"): 1}


def check_released(mortal: Mortal) -> None:
    """Nothing holds what has ended."""
    kinds = f"{EXPERIMENT}/{mortal.name}", f"{UNIT}/{mortal.unit}"
    eventually(
        lambda: (
            mortal.kube.run("get", *kinds, "-o", "jsonpath={.items[*].metadata.finalizers}") == ""
        ),
        "the finalizers are released",
        explain=mortal.process.tail,
    )


def gone(mortal: Mortal, kind: str, name: str) -> None:
    """Returns once the object is not there any more."""
    eventually(
        lambda: mortal.kube.get(kind, name) is None,
        f"{kind} {name} is gone",
        explain=mortal.process.tail,
    )


@pytest.mark.parametrize("point", BY_ITSELF)
def test_a_death_on_the_way_changes_nothing(point: Point, mortal: Mortal, cluster: Any) -> None:
    """The experiment succeeds, with one Job, as if nobody had died."""
    mortal.dies_at(point, lambda: mortal.begin(point))
    assert phase(finished(mortal.kube, mortal.name, more=mortal.process.tail)) == "Succeeded"
    check_released(mortal)
    check_once(mortal, cluster.audit_log)


@pytest.mark.parametrize("point", CANCEL)
def test_a_death_during_a_cancel_still_ends_the_job(
    point: Point, mortal: Mortal, cluster: Any
) -> None:
    """The job is gone, and the experiment is Cancelled."""
    mortal.begin(point, hold=True)
    mortal.running()
    mortal.dies_at(point, lambda: mortal.edit('{"spec": {"cancel": true}}'))
    assert phase(finished(mortal.kube, mortal.name, more=mortal.process.tail)) == "Cancelled"
    assert mortal.kube.get("job", f"{mortal.unit}-1") is None
    check_released(mortal)
    check_once(mortal, cluster.audit_log)


@pytest.mark.parametrize("point", DELETE)
def test_a_death_during_a_deletion_leaves_nothing(
    point: Point, mortal: Mortal, cluster: Any
) -> None:
    """Experiment, unit and Job are gone."""
    mortal.begin(point, hold=True)
    mortal.running()
    delete = ("delete", EXPERIMENT, mortal.name, "--wait=false")
    mortal.dies_at(point, lambda: mortal.kube.run(*delete))
    for kind, name in (EXPERIMENT, mortal.name), (UNIT, mortal.unit), ("job", f"{mortal.unit}-1"):
        gone(mortal, kind, name)
    check_once(mortal, cluster.audit_log)


@pytest.mark.parametrize("point", [*SUSPEND, *RESUME])
def test_a_death_during_a_suspend_or_resume_keeps_the_job(
    point: Point, mortal: Mortal, cluster: Any
) -> None:
    """The same Job is suspended, goes on when it may, and succeeds."""

    def is_suspended() -> bool:
        found = mortal.kube.get("job", f"{mortal.unit}-1") or {}
        return found.get("spec", {}).get("suspend") is True

    def suspend() -> None:
        mortal.edit('{"spec": {"suspend": true}}')

    def resume() -> None:
        mortal.edit('{"spec": {"suspend": false}}')

    mortal.begin(point, hold=True)
    mortal.running()
    if point in SUSPEND:
        mortal.dies_at(point, suspend)
    else:
        suspend()
    eventually(is_suspended, "the Job is suspended", explain=mortal.process.tail)
    eventually(
        lambda: phase(mortal.kube.get(EXPERIMENT, mortal.name)) == "Suspended",
        "the experiment is suspended",
        explain=mortal.process.tail,
    )
    if point in RESUME:
        mortal.dies_at(point, resume)
    else:
        resume()
    mortal.kubelet.held.clear()
    assert phase(finished(mortal.kube, mortal.name, more=mortal.process.tail)) == "Succeeded"
    check_released(mortal)
    check_once(mortal, cluster.audit_log)
