"""Decisions, pure: no input, no output, standard library only."""
