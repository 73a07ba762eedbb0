"""The one error that people see from a build."""

from __future__ import annotations


class BuildError(Exception):
    """A part could not be built; the message says what is wrong and what to do."""


class BuildCancelledError(BuildError):
    """The build was stopped on request; what was finished is kept."""
