"""Generates `docs/states.md` and its picture from the engine itself."""
