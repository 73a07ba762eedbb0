"""The table as text, against goldens; `RUNYARD_UPDATE_GOLDENS=1` writes them anew."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.cli import cells, layout
from runyard.cli.paint import rich_text, text
from runyard.cli.view import View, build
from tests.unit.cli.objects import NOW, experiment, member, stamp, unit

GOLDENS = Path(__file__).parent / "goldens"


def quickstart() -> View:
    """Three tasks, one of each fate."""
    parents: dict[str, list[str]] = {"prepare": [], "train": ["prepare"], "evaluate": ["train"]}
    units = [
        unit(
            "prepare",
            phase="Succeeded",
            startTime=stamp(95),
            completionTime=stamp(80),
            outputs=[{"name": "characters", "value": "481516"}],
        ),
        unit(
            "train",
            executor={"trainJob": {"numNodes": 2}},
            phase="Running",
            reason="Running",
            startTime=stamp(70),
        ),
    ]
    return build(
        experiment(parents, phase="Running", progress="1/3", startTime=stamp(100)), units, NOW
    )


def failed() -> View:
    """A failure, what it caused, and an executor that is stuck."""
    long_message = "the script ended with exit code 3: " + "see the log for the reason " * 4
    units = [
        unit(
            "train",
            phase="Failed",
            reason="OutOfMemory",
            message=long_message,
            attempts=[{"number": 1, "key": "k", "exitCode": 137, "node": "node-7"}],
            startTime=stamp(4000),
            completionTime=stamp(100),
        ),
        unit("evaluate", phase="Skipped", reason="DependencyNotMet"),
        unit(
            "other",
            phase="Waiting",
            conditions=[
                {
                    "type": "BackendReachable",
                    "status": "False",
                    "reason": "Unreachable",
                    "message": "no answer",
                }
            ],
        ),
        unit("late", phase="Cancelled", reason="CancelRequested"),
    ]
    parents: dict[str, list[str]] = {"train": [], "evaluate": ["train"], "other": [], "late": []}
    status: dict[str, Any] = {
        "phase": "Failed",
        "reason": "TasksFailed",
        "message": "1 task failed: train",
    }
    return build(
        experiment(parents, startTime=stamp(4100), completionTime=stamp(60), **status), units, NOW
    )


def long_names() -> View:
    """Names, reasons and outputs as long as the API allows."""
    base = "a-very-long-task-name-that-goes-on-and-on-until-the-limit-is"
    parents: dict[str, list[str]] = {f"{base}-00": []}
    for number in range(1, 4):
        parents[f"{base}-{number:02}"] = [f"{base}-{number - 1:02}"]
    units = [
        unit(
            f"{base}-00",
            executor={"trainJob": {"numNodes": 1024}},
            phase="Submitting",
            reason="TrainerNotInstalledInThisCluster",
            startTime=stamp(1_000_000),
            outputs=[{"name": "o" * 63, "value": "v" * 4096}],
        )
    ]
    return build(experiment(parents, name="e" * 63, phase="Cancelling"), units, NOW)


def many() -> View:
    """128 tasks: a fan-out of chains, with a join."""
    parents: dict[str, list[str]] = {"root": []}
    for number in range(126):
        parents[f"shard-{number}"] = ["root"] if number % 3 == 0 else [f"shard-{number - 1}"]
    parents["join"] = [f"shard-{number}" for number in range(126)]
    units = [unit("root", phase="Succeeded", startTime=stamp(500), completionTime=stamp(400))]
    for number in range(126):
        if number % 3 < 2:
            phase = ("Succeeded", "Running")[number % 3]
            units.append(unit(f"shard-{number}", phase=phase, startTime=stamp(300)))
    return build(experiment(parents, phase="Running", startTime=stamp(500)), units, NOW)


def sweep(*, members: bool = False) -> View:
    """10,000 members, a gate, a retry, tasks of `finally`: the whole contract at once."""
    made = experiment(
        {"prep": [], "sweep": ["prep"], "flaky": [], "deploy": ["prep"], "late": ["sweep"]},
        phase="Running",
        progress="5003/10005",
        startTime=stamp(3600),
        tasks=[
            {"name": "prep", "states": "S"},
            {"name": "sweep", "states": "S" * 5000 + "FFF" + "+" * 100 + "." * 4897},
            {"name": "flaky", "states": "+"},
            {"name": "deploy", "states": "."},
            {"name": "late", "states": "."},
            {"name": "report", "states": "."},
        ],
        failedTasks=[{"name": "sweep[5000]", "reason": "Error", "message": "exit code 1"}],
    )
    tasks = {task["name"]: task for task in made["spec"]["tasks"]}
    tasks["sweep"]["matrix"] = {"parameters": {"lr": ["0.1"]}}
    tasks["deploy"]["approval"] = {"message": "Look at the loss of sweep."}
    made["spec"]["finally"] = [{"name": "report", "executor": {"job": {}}}]
    retried = {"number": 2, "key": "k", "failureClass": "NodeFailure"}
    units = [
        unit("prep", phase="Succeeded", startTime=stamp(3600), completionTime=stamp(3000)),
        unit("flaky", phase="Queued", attempts=[retried], nextAttemptTime=stamp(-40)),
    ]
    for index in range(5003, 5103):
        phase = "Running" if index < 5080 else "Waiting"
        values = {"lr": "0.1", "seed": str(index)}
        units.append(member("sweep", index, values, phase=phase, startTime=stamp(60)))
    return build(made, units, NOW, members=members)


def endings() -> View:
    """What was skipped, and why; an experiment that somebody has suspended."""
    made = experiment(
        {"train": [], "evaluate": ["train"], "next": []},
        phase="Suspended",
        startTime=stamp(60),
        tasks=[
            {"name": "train", "states": "F"},
            {"name": "evaluate", "states": "K"},
            {"name": "next", "states": "."},
        ],
        skippedTasks=[
            {
                "name": "evaluate",
                "reason": "DependencyNotMet",
                "message": "train ended Failed, and this task runs after its success",
            }
        ],
    )
    made["spec"]["suspend"] = True
    return build(made, [unit("train", phase="Failed", reason="Error")], NOW)


VIEWS = {
    "quickstart": quickstart,
    "failed": failed,
    "long-names": long_names,
    "many": many,
    "sweep": sweep,
    "sweep-members": lambda: sweep(members=True),
    "endings": endings,
}


def test_a_plan_says_where_it_is() -> None:
    """Of other successes the message is not worth a line."""
    said: dict[str, Any] = {
        "message": "1 task planned, see ConfigMap sft-plan",
        "phase": "Succeeded",
    }
    for reason, shown in (("Planned", True), ("Succeeded", False)):
        view = build(experiment({"a": []}, reason=reason, **said), [], NOW)
        assert (said["message"] in layout.plain(layout.experiment(view, 80))) == shown


@pytest.mark.parametrize("name", VIEWS)
def test_the_table_fits_80_columns_and_equals_its_golden(name: str) -> None:
    """The picture at 80 columns changes only on purpose."""
    drawn = layout.plain(layout.experiment(VIEWS[name](), 80))
    golden = GOLDENS / f"{name}.txt"
    if os.environ.get("RUNYARD_UPDATE_GOLDENS"):
        golden.write_text(drawn, encoding="utf-8")
    assert drawn == golden.read_text(encoding="utf-8")
    assert max(cells.cells(line) for line in drawn.splitlines()) <= 80


def test_nothing_is_cut_without_a_width() -> None:
    """Piped output holds whole names and values, for those who search it."""
    view = long_names()
    drawn = layout.plain(layout.experiment(view))
    assert all(row.task in drawn for row in view.rows)
    assert "v" * 4096 in drawn
    assert "…" not in drawn


@pytest.mark.parametrize("height", [10, 24, 60])
def test_a_low_terminal_shows_what_moves(height: int) -> None:
    """Rows that do not fit give way, the finished ones first, and are counted."""
    lines = layout.experiment(many(), 80, height)
    drawn = layout.plain(lines)
    assert len(lines) <= height
    assert "… not shown: " in drawn
    assert " ● Running" in drawn
    assert ("✓ Succeeded" in drawn) <= (drawn.count("● Running") >= 42)


def test_enough_room_hides_nothing() -> None:
    """All 128 tasks are listed when the terminal is tall."""
    drawn = layout.plain(layout.experiment(many(), 80, 200))
    assert "not shown" not in drawn
    assert len(drawn.splitlines()) == 3 + 128


def test_colours_add_nothing_but_colours() -> None:
    """Text with ANSI codes and the Rich renderable say the same as the plain text."""
    lines = layout.experiment(failed(), 80)
    bare = re.sub(r"\x1b\[[0-9;]*m", "", text(lines, colour=True))
    assert [line.rstrip() for line in bare.splitlines()] == layout.plain(lines).splitlines()
    rendered = rich_text(lines).plain.splitlines()
    assert [line.rstrip() for line in rendered] == layout.plain(lines).splitlines()
    assert text(lines, colour=False) == layout.plain(lines)


def test_what_a_job_printed_cannot_steer_the_terminal() -> None:
    """Control characters in messages and outputs are made visible."""
    units = [
        unit(
            "a",
            phase="Failed",
            message="\x1b]0;owned\x07\x1b[2Jgone",
            outputs=[{"name": "x", "value": "1\r\x1b[31m2"}],
        )
    ]
    drawn = layout.plain(layout.experiment(build(experiment({"a": []}), units, NOW), 80))
    assert "\x1b" not in drawn
    assert "\r" not in drawn
    assert "\x07" not in drawn


@given(st.text(max_size=60), st.integers(8, 40))
def test_cut_text_never_takes_more_cells_than_given(content: str, width: int) -> None:
    """Wide characters count twice, also where the cut falls between them."""
    assert cells.cells(cells.cut(content, width)) <= max(width, 0)


def test_names_are_cut_in_the_middle() -> None:
    """The ends of names, where those of one family differ, stay."""
    assert cells.cut_middle("evaluate-mmlu-shard-17", 12) == "evalua…rd-17"
