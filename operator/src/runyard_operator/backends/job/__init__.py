"""The `job` executor: one pod, run by a Kubernetes Job."""
