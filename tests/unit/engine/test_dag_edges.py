"""What an edge means, alone and together with others: who starts, who waits, who is skipped."""

from __future__ import annotations

import pytest

from runyard.api import FailurePolicy, Task, UnitPhase
from runyard_operator.engine.effects import CreateUnit
from runyard_operator.engine.experiment import plan
from tests.unit.engine.builders import NOW, experiment, made, task, told
from tests.unit.engine.rounds import Rounds

RUNNING, SUCCEEDED, FAILED = UnitPhase.RUNNING, UnitPhase.SUCCEEDED, UnitPhase.FAILED
CANCELLED, SKIPPED = UnitPhase.CANCELLED, UnitPhase.SKIPPED
NOT_MET = "skip:DependencyNotMet"

EDGES = [
    # when, how the parent ended, what becomes of the child
    ("Succeeded", SUCCEEDED, "create"),
    ("Succeeded", FAILED, NOT_MET),
    ("Succeeded", CANCELLED, NOT_MET),
    ("Succeeded", SKIPPED, NOT_MET),
    ("Failed", SUCCEEDED, NOT_MET),
    ("Failed", FAILED, "create"),
    ("Failed", CANCELLED, NOT_MET),
    ("Failed", SKIPPED, NOT_MET),
    ("Finished", SUCCEEDED, "create"),
    ("Finished", FAILED, "create"),
    ("Finished", CANCELLED, "create"),
    ("Finished", SKIPPED, "create"),
]


@pytest.mark.parametrize(("when", "ended", "expected"), EDGES)
@pytest.mark.parametrize("policy", FailurePolicy)
def test_an_edge_is_met_or_never_will_be(
    when: str, ended: UnitPhase, expected: str, policy: FailurePolicy
) -> None:
    """Once the parent has ended, its child starts or is skipped, under both policies."""
    view = made(experiment(task("a"), task("b", f"a:{when}"), failurePolicy=policy), a=ended)
    assert told(plan(view, NOW)) == {"b": expected}


@pytest.mark.parametrize("when", ["Succeeded", "Failed", "Finished"])
@pytest.mark.parametrize("phase", [phase for phase in UnitPhase if not phase.terminal])
def test_an_edge_waits_while_its_parent_goes_on(when: str, phase: UnitPhase) -> None:
    """Before the parent is terminal nothing becomes of the child."""
    view = made(experiment(task("a"), task("b", f"a:{when}")), a=phase)
    assert told(plan(view, NOW)) == {}


def test_a_task_that_says_nothing_waits_for_success() -> None:
    """`Succeeded` is the default of an edge."""
    assert task("b", "a").after[0].when == "Succeeded"


THREE = (task("a"), task("b"))
ALL = (*THREE, task("c", "a", "b:Failed"))
ANY = (*THREE, task("c", "a", "b:Failed", afterPolicy="Any"))
SEVERAL: list[tuple[str, tuple[Task, ...], UnitPhase, UnitPhase, dict[str, str]]] = [
    ("all: one is met, one waits", ALL, SUCCEEDED, RUNNING, {}),
    ("all: both are met", ALL, SUCCEEDED, FAILED, {"c": "create"}),
    ("all: one can never be met, one waits", ALL, FAILED, RUNNING, {"c": NOT_MET}),
    ("all: one is met, one can never be", ALL, SUCCEEDED, SUCCEEDED, {"c": NOT_MET}),
    ("any: one is met, one waits", ANY, SUCCEEDED, RUNNING, {"c": "create"}),
    ("any: the second is met, the first waits", ANY, RUNNING, FAILED, {"c": "create"}),
    ("any: one is met, one can never be", ANY, FAILED, FAILED, {"c": "create"}),
    ("any: one can never be met, one waits", ANY, CANCELLED, RUNNING, {}),
    ("any: none can be met any more", ANY, CANCELLED, SUCCEEDED, {"c": NOT_MET}),
    ("any: both wait", ANY, RUNNING, RUNNING, {}),
]


@pytest.mark.parametrize(
    ("tasks", "first", "second", "expected"),
    [row[1:] for row in SEVERAL],
    ids=[row[0] for row in SEVERAL],
)
def test_several_edges(
    tasks: tuple[Task, ...], first: UnitPhase, second: UnitPhase, expected: dict[str, str]
) -> None:
    """All must be met, or with `afterPolicy: Any` one."""
    view = made(experiment(*tasks, failurePolicy="Continue"), a=first, b=second)
    assert told(plan(view, NOW)) == expected


def test_a_skip_names_the_parent_and_how_it_ended() -> None:
    """The message of DependencyNotMet tells what was needed and what came."""
    view = made(experiment(task("a"), task("b", "a")), a=FAILED)
    (effect,) = plan(view, NOW).effects
    assert isinstance(effect, CreateUnit)
    assert effect.spec.skip is not None
    assert effect.spec.skip.message == "needs 'a' to end as Succeeded; it ended as Failed"


def test_a_skip_reaches_all_descendants_in_the_same_pass() -> None:
    """A chain behind a failure is skipped at once, each task naming its own parent."""
    chain = (task("a"), task("b", "a"), task("c", "b"), task("d", "c"))
    view = made(experiment(*chain, failurePolicy="Continue"), a=FAILED)
    assert told(plan(view, NOW)) == {"b": NOT_MET, "c": NOT_MET, "d": NOT_MET}


def test_a_skip_on_its_way_starts_nobody() -> None:
    """The task that waits for the end of a skipped one starts when that end is written."""
    tasks = (task("a"), task("b", "a"), task("c", "b:Finished"))
    rounds = Rounds(made(experiment(*tasks, failurePolicy="Continue"), a=FAILED))
    rounds.once()
    assert rounds.said[-1] == {"b": NOT_MET}
    rounds.once()
    assert rounds.said[-1] == {"c": "create"}


def test_tasks_start_as_their_parents_end() -> None:
    """A diamond from its begin to its end: two at once in the middle, one at the end."""
    diamond = (task("a"), task("b", "a"), task("c", "a"), task("d", "b", "c"))
    rounds = Rounds(experiment(*diamond))
    assert rounds.settle() == {"a": "create"}
    rounds.end()
    assert rounds.settle() == {"b": "create", "c": "create"}
    rounds.end(SUCCEEDED, "b")
    assert rounds.settle() == {}
    rounds.end()
    assert rounds.settle() == {"d": "create"}
    rounds.end()
    rounds.settle()
    assert (rounds.phase, rounds.view.status.progress) == ("Succeeded", "4/4")


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_max_parallel_bounds_what_is_on_its_way(limit: int) -> None:
    """As one ends the next one starts, until all have run."""
    rounds = Rounds(experiment(*(task(f"t{n}") for n in range(5)), maxParallel=limit))
    ran = 0
    while rounds.phase != "Succeeded":
        rounds.settle()
        assert len(rounds.running()) <= limit
        if running := sorted(rounds.running()):
            assert len(running) == min(limit, 5 - ran), "room is used"
            rounds.end(SUCCEEDED, running[0])
            ran += 1
    assert ran == 5


def test_max_parallel_may_change_while_it_runs() -> None:
    """More room is used at once; less room cancels nothing."""
    rounds = Rounds(experiment(*(task(f"t{n}") for n in range(5)), maxParallel=1))
    rounds.settle()
    rounds.edit(maxParallel=3)
    assert rounds.settle() == {"t1": "create", "t2": "create"}
    rounds.edit(maxParallel=1)
    assert rounds.settle() == {}
    rounds.end(SUCCEEDED, "t0")
    assert rounds.settle() == {}
