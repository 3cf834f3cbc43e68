"""Figures of the real thing on the devstack, each beside a baseline that is run in between."""
