"""The life of a Koji task, top to bottom."""
