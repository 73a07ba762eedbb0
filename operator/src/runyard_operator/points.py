"""The named moments at which a test may end the operator: before and after each effect.

`Context.point` is called with one of these at each. In production it does nothing.
"""

from __future__ import annotations

from enum import StrEnum


class Point(StrEnum):
    """A moment of the operator's work, and what is done and not done by then."""

    meaning: str

    def __new__(cls, name: str, meaning: str) -> Point:
        point = str.__new__(cls, name)
        point._value_ = name
        point.meaning = meaning
        return point

    UNIT_STATUS_BEFORE = "unit.status.before", "the unit is decided on, its status is not written"
    UNIT_STATUS_AFTER = "unit.status.after", "the unit's status is written, nothing has acted on it"
    UNIT_SUBMIT_BEFORE = "unit.submit.before", "the intent is written, the backend is not called"
    UNIT_SUBMIT_AFTER = "unit.submit.after", "the job exists, its handle is not written"
    UNIT_CANCEL_BEFORE = "unit.cancel.before", "the cancel is written, the backend is not called"
    UNIT_CANCEL_AFTER = "unit.cancel.after", "the backend has been asked to end the job"
    UNIT_SUSPEND_BEFORE = "unit.suspend.before", "a suspend is wanted, the backend is not called"
    UNIT_SUSPEND_AFTER = "unit.suspend.after", "the backend has been asked to suspend the job"
    UNIT_RESUME_BEFORE = "unit.resume.before", "a resume is wanted, the backend is not called"
    UNIT_RESUME_AFTER = "unit.resume.after", "the backend has been asked to let the job go on"
    UNIT_FINALIZER_BEFORE = "unit.finalizer.before", "the unit's finalizer is about to change"
    UNIT_FINALIZER_AFTER = "unit.finalizer.after", "the unit's finalizer has been put on or off"
    EXPERIMENT_STATUS_BEFORE = (
        "experiment.status.before",
        "the experiment is decided on, its status is not written",
    )
    EXPERIMENT_STATUS_AFTER = (
        "experiment.status.after",
        "the experiment's status is written, nothing has acted on it",
    )
    EXPERIMENT_STAGE_BEFORE = "experiment.stage.before", "the experiment's code is not stored yet"
    EXPERIMENT_STAGE_AFTER = "experiment.stage.after", "the experiment's code is stored"
    EXPERIMENT_RELEASE_BEFORE = (
        "experiment.release.before",
        "a shared Ray cluster is about to be deleted",
    )
    EXPERIMENT_RELEASE_AFTER = (
        "experiment.release.after",
        "a shared Ray cluster's deletion has been asked for",
    )
    EXPERIMENT_CREATE_BEFORE = "experiment.create.before", "a unit is about to be created"
    EXPERIMENT_CREATE_AFTER = (
        "experiment.create.after",
        "a unit is created, the experiment's status does not say so",
    )
    EXPERIMENT_UPDATE_BEFORE = "experiment.update.before", "a unit is about to be changed"
    EXPERIMENT_UPDATE_AFTER = "experiment.update.after", "a unit has been changed"
    EXPERIMENT_DELETE_BEFORE = "experiment.delete.before", "a unit is about to be deleted"
    EXPERIMENT_DELETE_AFTER = "experiment.delete.after", "a unit's deletion has been asked for"
    EXPERIMENT_FINALIZER_BEFORE = (
        "experiment.finalizer.before",
        "the experiment's finalizer is about to change",
    )
    EXPERIMENT_FINALIZER_AFTER = (
        "experiment.finalizer.after",
        "the experiment's finalizer has been put on or off",
    )
    BACKEND_SUBMIT_SENT = "backend.submit.sent", "the place has the job, the answer is not read"
    BACKEND_CANCEL_SENT = "backend.cancel.sent", "the place has the cancel, the answer is not read"
