"""Kills the operator at every named point of its work, in memory, and counts what came of it."""
