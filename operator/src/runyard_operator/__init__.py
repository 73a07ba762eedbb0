"""The operator of Runyard: it reconciles Experiments and ExecutionUnits.

Layers, each importing only what stands below it: `engine` (pure decisions), `backends` and
`bundles` (renderers and observers), `reconcile` (snapshot, decide, apply), `handlers` (kopf).
"""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]
