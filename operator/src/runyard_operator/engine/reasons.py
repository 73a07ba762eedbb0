"""The reasons that conditions, events and `status.reason` carry: documented constants.

A reason is CamelCase and stable; scripts may match on it. The message beside it is for people.
"""

from __future__ import annotations

from typing import Final

# Accepted
ACCEPTED: Final = "Accepted"
INVALID_SPEC: Final = "InvalidSpec"
INVALID_GRAPH: Final = "InvalidGraph"
INVALID_REFERENCE: Final = "InvalidReference"
PROFILE_NOT_FOUND: Final = "ProfileNotFound"
PROFILE_CYCLE: Final = "ProfileCycle"

# Before the backend
WAITING_FOR_TASKS: Final = "WaitingForTasks"
DEPENDENCY_NOT_MET: Final = "DependencyNotMet"
FAIL_FAST: Final = "FailFast"
QUEUED: Final = "Queued"

# At the backend
SUBMITTING: Final = "Submitting"
SUBMITTED: Final = "Submitted"
WAITING: Final = "Waiting"
RUNNING: Final = "Running"
REACHABLE: Final = "Reachable"
UNREACHABLE: Final = "Unreachable"
NAME_CONFLICT: Final = "NameConflict"
RUNTIME_NOT_FOUND: Final = "RuntimeNotFound"
TRAINER_NOT_INSTALLED: Final = "TrainerNotInstalled"
QUOTA_EXCEEDED: Final = "QuotaExceeded"
FORBIDDEN: Final = "Forbidden"
REFUSED: Final = "Refused"

# The end
SUCCEEDED: Final = "Succeeded"
FAILED: Final = "Failed"
ERROR: Final = "Error"
OUTPUTS_MISSING: Final = "OutputsMissing"
OUTPUTS_TOO_LARGE: Final = "OutputsTooLarge"
JOB_LOST: Final = "JobLost"
TASKS_FAILED: Final = "TasksFailed"
CANCEL_REQUESTED: Final = "CancelRequested"
DELETED: Final = "Deleted"
UNIT_DELETED: Final = "UnitDeleted"

# Progress
UNITS_CREATED: Final = "UnitsCreated"
IN_PROGRESS: Final = "InProgress"
DONE: Final = "Done"
NONE: Final = "None"

CANCEL_REASONS: Final = frozenset({CANCEL_REQUESTED, DELETED, UNIT_DELETED})
"""An end for one of these is Cancelled, neither Failed nor Skipped."""
