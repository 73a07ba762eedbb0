"""The one node that runs pods: containerd, kubelet and kube-proxy in namespaces of their own."""
