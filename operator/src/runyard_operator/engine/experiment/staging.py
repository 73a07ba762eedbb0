"""The code of an experiment before its first task: found, fixed, and written down.

A branch moves and a bundle may not have been pushed yet. So the commit of `code.git` is looked up
once and kept in the status, and no task starts before its code is known to be there.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from runyard.api.code import Code
from runyard.api.experiment import ExperimentPhase, ExperimentStatus
from runyard_operator.engine import conditions, effects, pace, reasons
from runyard_operator.engine.conditions import Want
from runyard_operator.engine.experiment import status
from runyard_operator.engine.experiment.view import (
    ExperimentDecision,
    ExperimentView,
    NotStaged,
    Staged,
)

LOOK: Final = 1.0
"""Seconds between two looks at what finds out about the code."""


def pending(view: ExperimentView) -> bool:
    """Whether the code must be found out about before any unit is made."""
    return view.status.code is None and needs_look(view.spec.code)


def needs_look(code: Code | None) -> bool:
    """Whether the code is one that the spec alone does not say."""
    if code is None:
        return False
    return code.bundle is not None or (code.git is not None and code.git.commit is None)


def fixed(code: Code | None, written: ExperimentStatus) -> Code | None:
    """The code as the units name it: a branch has become its commit."""
    known = written.code
    if code is None or code.git is None or known is None or known.commit is None:
        return code
    git = code.git.model_copy(update={"commit": known.commit})
    return code.model_copy(update={"git": git})


def step(
    view: ExperimentView,
    fact: Staged | NotStaged | None,
    now: datetime,
    told: dict[str, Any],
) -> ExperimentDecision:
    """Decides on an experiment whose code is not known yet; `told` is how far its tasks are."""
    if isinstance(fact, Staged):
        want = Want(conditions.CODE_STAGED, "True", reasons.DONE, _said(fact))
        new = status.going_on(view, ExperimentPhase.RUNNING, (want,), now, **told, code=fact.code)
        return ExperimentDecision(new, requeue_after=pace.AT_ONCE)
    if isinstance(fact, NotStaged):
        want = Want(conditions.CODE_STAGED, "False", fact.reason, fact.message)
        stuck = status.stalled(view, fact.reason, fact.message, now, want, **told)
        return ExperimentDecision(stuck, requeue_after=pace.STALLED)
    if conditions.find(view.status.conditions, conditions.CODE_STAGED) is not None:
        return ExperimentDecision(view.status, (effects.StageCode(),), requeue_after=LOOK)
    want = Want(conditions.CODE_STAGED, "False", reasons.STAGING_CODE)
    new = status.going_on(
        view, ExperimentPhase.RUNNING, (want,), now, "looking for the code", **told
    )
    return ExperimentDecision(new, (effects.StageCode(),), requeue_after=LOOK)


def _said(fact: Staged) -> str:
    if fact.code.commit is not None:
        return f"commit {fact.code.commit}"
    return f"bundle {fact.code.digest}"
