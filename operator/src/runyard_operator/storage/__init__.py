"""The code store: bundles that are too big for ConfigMaps, and archived logs, over HTTP.

A process of its own (`python -m runyard_operator.storage`), so that megabytes on their way disturb
no reconcile, and the operator needs no volume.
"""
