"""The container registry: manifests, blobs, tags, artifacts."""
