"""The `ray` executor: a KubeRay RayJob on a cluster of its own or a shared one, or that cluster."""
