"""A real Kubernetes on this machine, built from package registries: for tests and first steps.

``python3 -m testbed up`` brings it up, ``python3 -m testbed down`` leaves nothing behind.
"""
