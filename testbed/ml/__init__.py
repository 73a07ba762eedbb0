"""What makes the cluster fit for training: JobSet, Kubeflow Trainer and KubeRay."""
