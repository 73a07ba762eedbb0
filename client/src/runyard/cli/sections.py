"""What stands below the table: who must act, what failed, what was skipped, what came out."""

from __future__ import annotations

from typing import Final

from runyard.cli.cells import Line, clean, cut, cut_middle, wrap
from runyard.cli.problems import Problem
from runyard.cli.view import View

_GAP: Final = 2
_MAX_PROBLEMS: Final = 10
_MAX_OUTPUTS: Final = 12
_MAX_SKIPPED: Final = 5


def below(view: View, width: int | None) -> list[Line]:
    """All sections that have something to say, each after an empty line."""
    return (
        _approvals(view, width)
        + _problems(view, width)
        + _skipped(view, width)
        + _outputs(view, width)
    )


def _approvals(view: View, width: int | None) -> list[Line]:
    """The tasks that wait for a person, and the command that lets them go on."""
    if not view.approvals:
        return []
    lines: list[Line] = [[]]
    for task, message in view.approvals[:_MAX_PROBLEMS]:
        head = f"waits for approval: runyard approve {view.name} {task}"
        lines += [[(text, "Waiting")] for text in wrap(head, width, "")]
        lines += [[(text, "")] for text in wrap(message, width, "  ")]
    if len(view.approvals) > _MAX_PROBLEMS:
        lines.append([(f"and {len(view.approvals) - _MAX_PROBLEMS} more", "dim")])
    return lines


def _skipped(view: View, width: int | None) -> list[Line]:
    """Why tasks were skipped, where that was said in words."""
    told = [(task, reason, message) for task, reason, message in view.skipped if message]
    if not told:
        return []
    lines: list[Line] = [[]]
    for task, reason, message in told[:_MAX_SKIPPED]:
        head = f"{task}: Skipped ({reason})" if reason else f"{task}: Skipped"
        lines.append([(cut(head, width) if width else head, "Skipped")])
        lines += [[(text, "")] for text in wrap(message, width, "  ")]
    if len(told) > _MAX_SKIPPED:
        lines.append([(f"and {len(told) - _MAX_SKIPPED} more", "dim")])
    return lines


def _problems(view: View, width: int | None) -> list[Line]:
    if not view.problems:
        return []
    lines: list[Line] = [[]]
    for each in view.problems[:_MAX_PROBLEMS]:
        head = f"{each.task}: {described(each)}"
        lines.append([(cut(head, width) if width else head, each.phase)])
        lines += [[(text, "")] for text in wrap(each.message, width, "  ")]
    if len(view.problems) > _MAX_PROBLEMS:
        lines.append([(f"and {len(view.problems) - _MAX_PROBLEMS} more", "dim")])
    return lines


def described(problem: Problem) -> str:
    """How a task failed, in a few words: Failed (Error, exit code 3, on node1)."""
    facts = [problem.reason] if problem.reason else []
    if problem.exit_code is not None:
        facts.append(f"exit code {problem.exit_code}")
    if problem.node:
        facts.append(f"on {problem.node}")
    return f"{problem.phase} ({', '.join(facts)})" if facts else problem.phase


def _outputs(view: View, width: int | None) -> list[Line]:
    if not view.outputs:
        return []
    shown = list(view.outputs[:_MAX_OUTPUTS])
    if width is not None:
        shown = [(cut_middle(name, width // 2), value) for name, value in shown]
    longest = max(len("OUTPUT"), *(len(name) for name, _ in shown))
    lines: list[Line] = [[], [("OUTPUT".ljust(longest + _GAP) + "VALUE", "bold")]]
    for name, value in shown:
        flat = " ".join(clean(value).split())
        short = flat if width is None else cut(flat, width - longest - _GAP)
        lines.append([(f"{name:{longest + _GAP}}", "dim"), (short, "")])
    if len(view.outputs) > _MAX_OUTPUTS:
        lines.append([(f"and {len(view.outputs) - _MAX_OUTPUTS} more", "dim")])
    return lines
