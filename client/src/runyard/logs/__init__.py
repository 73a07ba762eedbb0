"""Logs of experiments: what their containers wrote, from the pods and, after those, the archive.

`find` says which sources there are, `pods` and `archive` read one of them, `tail` follows one
through interruptions, and `position` is the place in a log from which another program goes on.
"""
