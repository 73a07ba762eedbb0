"""Which keys the news about an object puts on the queue."""

from __future__ import annotations

from typing import Any

from runyard_operator.handlers.kinds import group, keys
from runyard_operator.kube.api import Object
from runyard_operator.queue import Key
from runyard_operator.store import Store
from tests.unit.operator_runtime.scripted import obj

IN_SFT = {"runyard.dev/experiment": "sft"}


def told(kind: str, name: str, **more: object) -> list[Key]:
    """The keys for news about an object, with no other object known."""
    return list(keys(obj(kind, name, 1, **more), Store(), "runyard-system"))  # type: ignore[arg-type]


def test_an_experiment_concerns_itself() -> None:
    """An experiment's own event wakes its reconciler only."""
    assert told("Experiment", "sft") == [Key("Experiment", "team", "sft")]


def test_a_unit_concerns_its_experiment_too() -> None:
    """A unit of an experiment wakes both; one that stands alone only itself."""
    unit = Key("ExecutionUnit", "team", "sft-prep")
    assert told("ExecutionUnit", "sft-prep") == [unit]
    assert told("ExecutionUnit", "sft-prep", labels=IN_SFT) == [
        unit,
        Key("Experiment", "team", "sft"),
    ]


def test_an_experiment_hears_only_what_it_looks_at() -> None:
    """A unit's own progress within a phase does not wake its experiment; the phase does."""

    def wakes(before: Object, after: Object) -> bool:
        told = keys(after, Store(), "runyard-system", before=before)
        return Key("Experiment", "team", "sft") in set(told)

    def unit(version: int, phase: str, **more: Any) -> Object:
        status = {"phase": phase, "attempts": [{"number": version}]}
        spec = {"task": "prep"}
        return obj(
            "ExecutionUnit", "sft-prep", version, labels=IN_SFT, status=status, spec=spec, **more
        )

    assert not wakes(unit(1, "Running"), unit(2, "Running"))
    assert wakes(unit(1, "Running"), unit(2, "Succeeded"))
    # Read in passing before the watch brought it: nobody has told the experiment.
    assert wakes(unit(2, "Succeeded"), unit(2, "Succeeded"))
    assert wakes(unit(1, "Running", uid="old"), unit(2, "Running", uid="new"))


def test_children_concern_their_unit() -> None:
    """Jobs, TrainJobs and Pods wake the unit that they are labelled with, others nobody."""
    for kind in ("Job", "TrainJob", "Pod"):
        labels = {"runyard.dev/unit": "sft-prep", "runyard.dev/unit-uid": "x"}
        assert told(kind, "child", labels=labels) == [Key("ExecutionUnit", "team", "sft-prep")]
        assert told(kind, "child") == []


def test_a_profile_concerns_experiments_that_have_not_ended() -> None:
    """A profile wakes its namespace, a shared one all namespaces."""
    store = Store()
    store.put(obj("Experiment", "here", 1))
    store.put(obj("Experiment", "ended", 2, status={"phase": "Succeeded"}))
    store.put(obj("Experiment", "there", 3, namespace="other"))
    local = list(keys(obj("ExecutionProfile", "h100", 4), store, "runyard-system"))
    assert [key.name for key in local] == ["here"]
    shared = obj("ExecutionProfile", "h100", 4, namespace="runyard-system")
    assert {key.name for key in keys(shared, store, "runyard-system")} == {"here", "there"}


def test_units_stand_in_the_line_of_their_experiment() -> None:
    """An experiment and its units share a line in the queue; a lone unit has its own."""
    store = Store()
    store.put(obj("ExecutionUnit", "sft-prep", 1, labels=IN_SFT))
    assert group(Key("ExecutionUnit", "team", "sft-prep"), store) == "team/sft"
    assert group(Key("Experiment", "team", "sft"), store) == "team/sft"
    assert group(Key("ExecutionUnit", "team", "lone"), store) == "team/lone"
