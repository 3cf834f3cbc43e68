"""Container images, built the Koji way."""

__version__ = "0.1.0"
