"""Access to a Kubernetes API server: kubeconfig, credentials, requests and watches.

Standard library and PyYAML only: the official client takes longer to import than the command line
may take to answer (docs/decisions has the numbers).
"""
