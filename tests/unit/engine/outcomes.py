"""How an experiment must end, as the documentation has it; written apart from the code."""

from __future__ import annotations

from dataclasses import dataclass

from tests.unit.engine.places import members, together
from tests.unit.engine.server import Object

MET = {
    "Succeeded": {"Succeeded"},
    "Failed": {"Failed"},
    "Finished": {"Succeeded", "Failed", "Cancelled", "Skipped"},
}


@dataclass(frozen=True)
class Outcome:
    """An experiment that has ended, and the phases of its units by their names."""

    end: Object
    ends: dict[str, str]

    def task(self, name: str) -> str:
        """How a task of the graph ended."""
        (found,) = [each for each in self.end["spec"]["tasks"] if each["name"] == name]
        return together([self.ends[unit] for unit in members(self.end, found)])

    @property
    def exceeded(self) -> bool:
        """Whether the deadline of the whole experiment has passed."""
        return any(each["type"] == "DeadlineExceeded" for each in self.end["status"]["conditions"])

    def check_tasks(self) -> None:
        """Whoever had its edges met ran, and whoever had not did not."""
        spec = self.end["spec"]
        fast = spec["failurePolicy"] == "FailFast" and "Failed" in self.ends.values()
        stopped = spec["cancel"] or fast or self.exceeded
        verdicts = {each["task"]: each["verdict"] for each in spec["approvals"]}
        for each in spec["tasks"]:
            verdict = [self.task(edge["task"]) in MET[edge["when"]] for edge in each["after"]]
            met = any(verdict) if each["afterPolicy"] == "Any" and verdict else all(verdict)
            rejected = "approval" in each and verdicts.get(each["name"]) == "Reject"
            phases = {self.ends[unit] for unit in members(self.end, each)}
            if not met or rejected:
                assert phases <= {"Skipped", "Cancelled"}, (each["name"], self.ends)
            elif not stopped:
                assert "Skipped" not in phases, (each["name"], self.ends)
        for each in spec.get("finally", []):
            assert {self.ends[unit] for unit in members(self.end, each)} != {"Skipped"}, self.ends

    def expected(self) -> str:
        """The result."""
        spec = self.end["spec"]
        handled = {
            edge["task"]
            for each in spec["tasks"]
            for edge in each["after"]
            if edge["when"] == "Failed" and self.task(each["name"]) == "Succeeded"
        }
        handled |= {each["name"] for each in spec["tasks"] if each["allowFailure"]}
        cancelled = "Cancelled" in self.ends.values()
        if spec["cancel"] and cancelled:
            return "Cancelled"
        failed = any(
            "Failed" in {self.ends[unit] for unit in members(self.end, each)}
            for each in [*spec["tasks"], *spec.get("finally", [])]
            if each["name"] not in handled
        )
        if failed or self.exceeded:
            return "Failed"
        return "Cancelled" if cancelled else "Succeeded"
