"""The stories in which the operator is killed: all that a user does to an experiment."""

from __future__ import annotations

from typing import Any

from runyard.api import ExperimentSpec
from runyard_operator.conformance import words
from tests.support.crash.world import Step, Story, World
from tests.unit.engine.server import Object

CODE = {"inline": [{"path": "pkg/a.py", "content": "print('a')\n"}]}


def _task(name: str, **more: Any) -> Object:
    return {
        "name": name,
        "script": {"inline": "true"},
        "executor": {"job": {"image": "x"}},
        **more,
    }


def _spec(*tasks: Object, **more: Any) -> Object:
    """The spec as the API server stores it, with the defaults of its schema."""
    return ExperimentSpec.model_validate({"tasks": list(tasks), **more}).to_dict()


def _at_the_place(world: World) -> bool:
    """The place has a job; the operator need not know yet."""
    return bool(world.place.begun)


def _running(world: World) -> bool:
    return bool(world.jobs(words.RUNNING))


def _held(world: World) -> bool:
    return bool(world.jobs(words.SUSPENDED))


SUBMIT = Story(
    name="submit",
    about="a task with code starts, runs and succeeds",
    spec=_spec(_task("a"), code=CODE),
    end={"exp-a": "Succeeded"},
)
OBSERVE = Story(
    name="observe",
    about="a job runs for minutes and is looked at again and again",
    spec=_spec(_task("a")),
    seconds=300.0,
    end={"exp-a": "Succeeded"},
)
CANCEL = Story(
    name="cancel",
    about="the experiment is cancelled as soon as the place has a job",
    spec=_spec(_task("a"), _task("b", after=[{"task": "a"}])),
    steps=(Step(_at_the_place, lambda world: world.edit("cancel", True)),),
    endless=True,
    end={"exp-a": "Cancelled"},
)
FINISH = Story(
    name="finish",
    about="a task fails, one that waits for this failure runs, another is skipped",
    spec=_spec(
        _task("a"),
        _task("b", after=[{"task": "a", "when": "Failed"}]),
        _task("c", after=[{"task": "a"}]),
    ),
    failing=frozenset({"exp-a-1"}),
    end={"exp-a": "Failed", "exp-b": "Succeeded", "exp-c": "Skipped"},
)
DELETE = Story(
    name="delete",
    about="the experiment is deleted as soon as the place has a job",
    spec=_spec(_task("a"), _task("b")),
    steps=(Step(_at_the_place, World.delete),),
    endless=True,
)
RETRY = Story(
    name="retry",
    about="the first attempt fails, the second succeeds",
    spec=_spec(_task("a", retry={"limit": 2, "backoff": {"seconds": 1, "jitterPercent": 0}})),
    failing=frozenset({"exp-a-1"}),
    end={"exp-a": "Succeeded"},
)
SUSPEND = Story(
    name="suspend",
    about="the experiment is suspended while a job runs, and resumed",
    spec=_spec(_task("a")),
    steps=(
        Step(_running, lambda world: world.edit("suspend", True)),
        Step(_held, lambda world: world.edit("suspend", False)),
    ),
    end={"exp-a": "Succeeded"},
)

SHARE = Story(
    name="share",
    about="a task makes a Ray cluster, another uses it, and then it must go",
    spec=_spec(
        {"name": "a", "executor": {"ray": {"image": "x", "cluster": {}}}},
        _task("b", after=[{"task": "a"}], executor={"ray": {"clusterFrom": {"task": "a"}}}),
    ),
    end={"exp-a": "Succeeded", "exp-b": "Succeeded"},
)

STORIES = (SUBMIT, OBSERVE, CANCEL, FINISH, DELETE, RETRY, SUSPEND, SHARE)
