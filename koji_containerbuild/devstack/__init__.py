"""A real Koji on one machine: hub, web, kojid, registry, git, a small RPM distribution.

For the demo and for the tests that are marked `stack`. Nothing outside this package imports it.
Start it with `python -m koji_containerbuild.devstack up`, or from Python with `stack.Stack`.
"""
