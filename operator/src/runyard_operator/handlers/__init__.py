"""From the API server's watches to keys on the queue. kopf watches and does nothing else."""
