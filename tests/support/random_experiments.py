"""Random small experiments, what users do to them, and how those that are left alone must end."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.support.experiments import experiment, job

WHENS = ("Succeeded", "Failed", "Finished")
MET = {
    "Succeeded": {"Succeeded"},
    "Failed": {"Failed"},
    "Finished": {"Succeeded", "Failed", "Skipped"},
}


class Wish(StrEnum):
    """What a user does to an experiment while it is on its way."""

    NOTHING = "nothing"
    CANCEL = "cancel"
    DELETE = "delete"
    SUSPEND = "suspend"
    """And a little later resume."""


@dataclass(frozen=True)
class Random:
    """One experiment. Tasks whose name begins with `bad` fail, in each of their attempts."""

    name: str
    manifest: dict[str, Any]
    wish: Wish

    @property
    def tasks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.manifest["spec"]["tasks"]
        return found

    def ends(self) -> dict[str, str]:
        """The phase of each task in the end, where no user meddles."""
        ends: dict[str, str] = {}
        for task in self.tasks:
            met = all(ends[edge["task"]] in MET[edge["when"]] for edge in task.get("after", []))
            result = "Failed" if task["name"].startswith("bad") else "Succeeded"
            ends[task["name"]] = result if met else "Skipped"
        return ends

    def jobs(self) -> set[str]:
        """The names of all Jobs that its attempts need, where no user meddles."""
        found = set()
        for task in self.tasks:
            end = self.ends()[task["name"]]
            retries = task.get("retry", {}).get("limit", 0) if end == "Failed" else 0
            attempts = 0 if end == "Skipped" else 1 + retries
            found |= {f"{self.name}-{task['name']}-{each + 1}" for each in range(attempts)}
        return found


def generate(rng: random.Random, number: int) -> Random:
    """The experiment of this number."""
    name = f"x{number}"
    tasks: list[dict[str, Any]] = []
    for index in range(rng.randint(1, 4)):
        kind = rng.choice(["ok", "ok", "ok", "bad"])
        parents = rng.sample([each["name"] for each in tasks], k=min(len(tasks), rng.randint(0, 2)))
        after = [{"task": each, "when": rng.choice(WHENS)} for each in parents]
        more: dict[str, Any] = {"after": after} if after else {}
        if rng.random() < 0.4:
            more["retry"] = {"limit": 1, "backoff": {"seconds": 1}}
        tasks.append(job(f"{kind}{index}", "true", **more))
    wish = rng.choice([Wish.NOTHING, Wish.NOTHING, *Wish])
    return Random(name, experiment(name, *tasks, failurePolicy="Continue"), wish)
