"""The `trainJob` executor: a Kubeflow TrainJob (trainer.kubeflow.org/v1alpha1)."""
