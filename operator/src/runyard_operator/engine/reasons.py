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
RERUN_NOT_FOUND: Final = "RerunNotFound"

# Before the backend
WAITING_FOR_TASKS: Final = "WaitingForTasks"
DEPENDENCY_NOT_MET: Final = "DependencyNotMet"
FAIL_FAST: Final = "FailFast"
APPROVAL_REJECTED: Final = "ApprovalRejected"
AWAITING_APPROVAL: Final = "AwaitingApproval"
INPUTS_TOO_LARGE: Final = "InputsTooLarge"
SUSPENDED: Final = "Suspended"
QUEUED: Final = "Queued"
RETRYING: Final = "Retrying"
"""An attempt failed, and the next one begins when its backoff is over."""

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
JOB_NOT_FOUND: Final = "JobNotFound"
"""The backend does not find the job, and is given the time in which that may be an error."""
LATE_JOB: Final = "LateJob"
"""The job of an attempt that was given up has come back, and is ended before anything else."""
SUSPENDING: Final = "Suspending"
RESUMING: Final = "Resuming"
RESUMED: Final = "Resumed"
SUSPEND_NOT_SUPPORTED: Final = "SuspendNotSupported"
"""The backend cannot suspend a job: it goes on."""
REFUSED: Final = "Refused"

# The end
SUCCEEDED: Final = "Succeeded"
FAILED: Final = "Failed"
ERROR: Final = "Error"
OUTPUTS_MISSING: Final = "OutputsMissing"
OUTPUTS_TOO_LARGE: Final = "OutputsTooLarge"
JOB_LOST: Final = "JobLost"
ADOPTED: Final = "Adopted"
"""The result of an earlier unit was taken over; nothing ran."""
QUEUE_DEADLINE_EXCEEDED: Final = "QueueDeadlineExceeded"
"""The attempt had not started `queuedSeconds` after its submission."""
TASKS_FAILED: Final = "TasksFailed"
CANCEL_REQUESTED: Final = "CancelRequested"
DELETED: Final = "Deleted"
UNIT_DELETED: Final = "UnitDeleted"
DEADLINE_EXCEEDED: Final = "DeadlineExceeded"
PLANNED: Final = "Planned"
PLAN_FAILED: Final = "PlanFailed"

# Progress
IN_PROGRESS: Final = "InProgress"
DONE: Final = "Done"
NONE: Final = "None"

CANCEL_REASONS: Final = frozenset({CANCEL_REQUESTED, DELETED, UNIT_DELETED})
"""An end for one of these is Cancelled, neither Failed nor Skipped."""
