"""Keeps the logs of attempts that are over: `plan` decides what, `archiver` does it."""
