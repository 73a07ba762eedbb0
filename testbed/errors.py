"""The one error that the run half of the testbed raises for people to read."""

from __future__ import annotations


class ClusterError(Exception):
    """Something about the cluster is wrong; the message says what it is and what to do."""
