"""The commands that change a running experiment; what one needs is imported when it runs."""

from __future__ import annotations

import click

from runyard.cli import options
from runyard.cli.session import Session


@options.runs
@options.experiment
@options.tasks
def suspend(session: Session, name: str, tasks: tuple[str, ...]) -> int:
    """Let nothing new start, of an experiment or of some of its tasks.

    What runs is suspended where the backend can do that, and goes on otherwise.
    """
    from runyard.cli import edits

    return edits.suspend(session, name, tasks)


@options.runs
@options.experiment
@options.tasks
def resume(session: Session, name: str, tasks: tuple[str, ...]) -> int:
    """Let an experiment, or some of its tasks, go on."""
    from runyard.cli import edits

    return edits.resume(session, name, tasks)


@options.runs
@options.experiment
@options.task
@options.message
def approve(session: Session, name: str, task: str, message: str) -> int:
    """Let a task start that waits for approval."""
    from runyard.cli import edits

    return edits.judge(session, name, task, "Approve", message)


@options.runs
@options.experiment
@options.task
@options.message
def reject(session: Session, name: str, task: str, message: str) -> int:
    """Skip a task that waits for approval."""
    from runyard.cli import edits

    return edits.judge(session, name, task, "Reject", message)


@options.runs
@options.experiment
@click.option("--wait", is_flag=True, help="Wait until everything has ended.")
@options.wait_timeout
def cancel(session: Session, name: str, wait: bool, timeout: float | None) -> int:
    """End what runs and skip what waits; the experiment stays."""
    from runyard.cli import actions

    return actions.cancel(session, name, wait=wait, timeout=timeout)


@options.runs
@options.experiment
@click.option("--wait", is_flag=True, help="Wait until it is gone.")
@options.wait_timeout
def delete(session: Session, name: str, wait: bool, timeout: float | None) -> int:
    """Delete an experiment and all that was made for it.

    Its running jobs are ended first.
    """
    from runyard.cli import actions

    return actions.delete(session, name, wait=wait, timeout=timeout)


ALL = (suspend, resume, approve, reject, cancel, delete)
