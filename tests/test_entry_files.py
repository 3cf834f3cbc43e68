"""The files that Koji loads by name from a folder: hub and command line."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import koji.plugin

from tests.fakes.hub import FakeHub

ROOT = pathlib.Path(__file__).parents[1]


def test_the_hub_plugin_exports_one_call():
    plugin = FakeHub().plugin  # loaded by koji.plugin.PluginTracker
    exported = [name for name, it in vars(plugin).items() if getattr(it, "exported", False)]
    assert exported == ["buildContainer"]


def test_the_command_line_plugin_exports_two_commands_with_their_lines_of_help():
    tracker = koji.plugin.PluginTracker(path=str(ROOT / "cli"))
    plugin = tracker.load("cli_containerbuild", reload=True)
    exported = [name for name, it in vars(plugin).items() if getattr(it, "exported_cli", False)]
    assert exported == ["handle_container_build", "anon_handle_container_diff"]
    assert plugin.handle_container_build.__doc__ == "[build] Build a container image"
    assert plugin.anon_handle_container_diff.__doc__.startswith("[info] ")


def test_the_command_line_plugin_folder_holds_nothing_else():
    """Koji loads every .py file in the folder."""
    assert [path.name for path in (ROOT / "cli").glob("*.py")] == ["cli_containerbuild.py"]


def test_loading_the_command_line_plugin_imports_nothing():
    """Koji loads it for every command that anybody runs."""
    code = f"""
import sys, koji, koji.plugin, os, time, typing
before = set(sys.modules)
koji.plugin.PluginTracker(path={str(ROOT / "cli")!r}).load("cli_containerbuild")
print(sorted(set(sys.modules) - before - {{"__future__"}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['_koji_plugin__cli_containerbuild']"
