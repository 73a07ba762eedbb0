"""What makes the cluster fit for training: JobSet, Kubeflow Trainer, KubeRay and Kueue."""
