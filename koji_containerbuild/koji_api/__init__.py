"""Koji: what we ask the hub, and what we tell it."""
