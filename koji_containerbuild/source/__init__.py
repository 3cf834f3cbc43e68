"""The source: a git commit, its Dockerfile and its settings."""
