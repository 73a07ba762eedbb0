"""Builds the objects that the API server would return."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def stamp(seconds_ago: float) -> str:
    """The moment that long before NOW, as the API writes it."""
    return (NOW - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def experiment(
    tasks: dict[str, list[str]],
    /,
    *,
    name: str = "sft",
    executor: dict[str, Any] | None = None,
    **status: Any,
) -> dict[str, Any]:
    """An Experiment whose tasks run after those they list."""
    return {
        "apiVersion": "runyard.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {
            "name": name,
            "namespace": "team-a",
            "uid": "uid-1",
            "creationTimestamp": stamp(600),
        },
        "spec": {
            "tasks": [
                {
                    "name": task,
                    "after": [{"task": each} for each in after],
                    "executor": executor or {"job": {}},
                }
                for task, after in tasks.items()
            ]
        },
        "status": status,
    }


def unit(
    task: str,
    *,
    owner: str = "uid-1",
    executor: dict[str, Any] | None = None,
    age: float = 600,
    **status: Any,
) -> dict[str, Any]:
    """The ExecutionUnit of a task."""
    return {
        "apiVersion": "runyard.dev/v1alpha1",
        "kind": "ExecutionUnit",
        "metadata": {
            "name": f"sft-{task}",
            "namespace": "team-a",
            "uid": f"unit-{task}",
            "creationTimestamp": stamp(age),
            "ownerReferences": [{"kind": "Experiment", "uid": owner}],
        },
        "spec": {"task": task, "experiment": "sft", "executor": executor or {"job": {}}},
        "status": status,
    }


def member(task: str, index: int, values: dict[str, str], **status: Any) -> dict[str, Any]:
    """The ExecutionUnit of a member of a matrix."""
    made = unit(f"{task}-{index}", **status)
    made["spec"] |= {"task": task, "member": {"index": index, "values": values}}
    return made
