"""A real Kubernetes on one machine: control plane and one node, for demo and tests."""
