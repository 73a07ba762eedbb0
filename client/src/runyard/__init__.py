"""Runyard: machine-learning experiments as Kubernetes resources, on any executor.

This distribution holds the API models (`runyard.api`) and the command line (`runyard.cli`). It only
ever writes custom resources and reads their status; the work is done by `runyard-operator`.
"""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]
