"""Snapshot, decide, apply: the only place where the engine's decisions meet the API server."""
