"""One experiment, and every moment at which it can be disturbed, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runyard.api import ExperimentSpec, FailurePolicy
from runyard_operator.queue import Key
from tests.unit.engine.builders import task
from tests.unit.engine.places import phases_of
from tests.unit.engine.server import NAMESPACE, Fault
from tests.unit.engine.simulation import EXP, MAX_PASSES, TERMINAL, Simulation

TASKS = [
    task("prep", outputs=[{"name": "rows"}]),
    task("bad", "prep", env=[{"name": "ROWS", "value": "${tasks.prep.outputs.rows}"}]),
    task("rescue", "bad:Failed"),
    task("never", "bad"),
]
SPEC = ExperimentSpec(tasks=TASKS, failure_policy=FailurePolicy.CONTINUE).to_dict()
END = {
    "prep": "Succeeded",
    "bad": "Failed",
    "rescue": "Succeeded",
    "never": "Skipped",
}


def begun() -> Simulation:
    """The experiment has just been created; its task `bad` will fail."""
    simulation = Simulation()
    simulation.places.doomed = frozenset({"exp-bad"})
    simulation.begin(SPEC)
    return simulation


def passes(simulation: Simulation, step: int = 1) -> Iterator[int]:
    """Lets the simulation go on by some passes at a time until all has ended."""
    for number in range(0, MAX_PASSES, step):
        if simulation.settle(passes=step):
            return
        yield number
    raise AssertionError("it does not end")


def phases(simulation: Simulation) -> dict[str, str]:
    """How each task of the experiment ended."""
    return {
        name: simulation.server.objects["ExecutionUnit", f"exp-{name}"]["status"]["phase"]
        for name in END
    }


def test_undisturbed_it_ends_as_the_dag_says() -> None:
    """The scenario itself: a failure that is handled, a skip, and an output that is handed on."""
    simulation = begun()
    simulation.finish()
    assert phases(simulation) == END
    assert simulation.server.objects[EXP]["status"]["phase"] == "Succeeded"


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_at_any_call_changes_nothing(fault: Fault) -> None:
    """Crash or time-out, before or after the effect: same end, one job for each task."""
    for call in range(MAX_PASSES):
        simulation = begun()
        simulation.faults.fault, simulation.faults.countdown = fault, call
        assert simulation.settle(), (call, simulation.operator.due)
        hit = simulation.faults.fault is None
        simulation.finish()
        assert phases(simulation) == END, call
        assert sum(simulation.places.created.values()) == len(END) - 1, call
        if not hit:
            return


def test_a_cancel_at_any_moment_ends_everything() -> None:
    """What has ended keeps its result, the rest is Cancelled, and no job goes on."""
    for moment in passes(begun(), step=2):
        simulation = begun()
        simulation.settle(passes=moment)
        ended = {name: phase for name, phase in terminal(simulation).items() if phase}
        simulation.server.patch(EXP, [{"op": "add", "path": "/spec/cancel", "value": True}])
        simulation.finish()
        assert ended.items() <= terminal(simulation).items()


def terminal(simulation: Simulation) -> dict[str, str]:
    """The units that have ended, and how."""
    return {
        name: obj["status"]["phase"]
        for (kind, name), obj in simulation.server.objects.items()
        if kind == "ExecutionUnit" and "completionTime" in obj["status"]
    }


def test_a_deletion_at_any_moment_leaves_nothing() -> None:
    """No unit and no job is left, whatever was going on."""
    for moment in passes(begun(), step=2):
        simulation = begun()
        simulation.settle(passes=moment)
        simulation.server.remove(EXP)
        simulation.finish()
        assert not simulation.server.objects
        assert not simulation.places.jobs


def test_old_news_at_any_moment_do_no_harm() -> None:
    """An operator that starts on old or missing objects does nothing twice and nothing early."""
    simulation = begun()
    for _ in passes(simulation, step=12):
        for name in list(simulation.server.objects):
            for age in range(1, len(simulation.server.history[name]) + 1):
                simulation.restart(stale=name, age=age)
                for kind, of in (name, EXP):
                    simulation.run(Key(kind, NAMESPACE, of))
                simulation.check()
        simulation.restart()
    simulation.finish()
    assert phases(simulation) == END


def test_old_news_bring_no_deleted_unit_back() -> None:
    """A task whose unit was deleted is not run again, though the cache knows of no unit yet."""
    simulation = Simulation()
    simulation.begin(ExperimentSpec(tasks=[task("a")]).to_dict())
    for _ in passes(simulation):
        if any(job.unit == "exp-a" for job in simulation.places.jobs.values()):
            break
    simulation.server.remove(("ExecutionUnit", "exp-a"))
    simulation.finish()
    for age in range(1, len(simulation.server.history[EXP]) + 1):
        simulation.restart(stale=EXP, age=age)
        simulation.run(Key(EXP[0], NAMESPACE, EXP[1]))
        simulation.check()
    simulation.finish()
    assert simulation.server.objects[EXP]["status"]["phase"] == "Cancelled"


def test_a_unit_that_is_deleted_at_any_moment_is_not_made_again() -> None:
    """Also right after it was made, and right after its end, before its experiment has noted it."""
    for moment in passes(begun()):
        for unit in [f"exp-{name}" for name in END]:
            simulation = begun()
            simulation.settle(passes=moment)
            name = ("ExecutionUnit", unit)
            if name not in simulation.server.objects:
                continue
            before = simulation.server.objects[name]["status"].get("phase")
            simulation.server.remove(name)
            gone = name not in simulation.server.objects
            simulation.finish()
            ends = phases_of(simulation.server, simulation.server.objects[EXP])
            if gone and before in TERMINAL:
                assert ends[unit] == before, (moment, unit)


def test_a_cancel_on_old_news_overlooks_no_unit() -> None:
    """What the cache does not know of yet may have been made: the experiment does not end on it."""
    for moment in passes(begun()):
        for unit in [f"exp-{name}" for name in END]:
            simulation = begun()
            simulation.settle(passes=moment)
            name = ("ExecutionUnit", unit)
            if name in simulation.server.objects:
                simulation.edit(cancel=True)
                simulation.restart(stale=name, age=MAX_PASSES)
                simulation.run(Key(EXP[0], NAMESPACE, EXP[1]))
                simulation.check()
                simulation.finish()
