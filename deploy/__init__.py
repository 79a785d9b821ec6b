"""How Reelmesh is deployed: the laptop runner, the image and the Kubernetes manifests."""
