"""A real Koji on one machine: for the demo and for the tests."""
