"""Imports point one way: the table of docs/architecture.md, held."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "koji_containerbuild"
LONGEST = 350  # lines of a module

MAY_IMPORT = {
    "errors": set(),
    "rules": {"errors"},
    "contract": {"rules", "errors"},
    "config": {"rules", "errors"},
    "console": {"contract", "rules", "errors"},
    "source": {"contract", "rules", "errors"},
    "registry": {"config", "rules", "errors"},
    "koji_api": {"config", "contract", "rules", "errors"},
    "engines": {"config", "contract", "rules", "errors"},
    "buildroot": {"config", "source", "registry", "contract", "rules", "errors"},
    "tasks": {"config", "engines", "source", "registry", "koji_api", "contract", "rules", "errors"},
    "check": {"config", "engines", "registry", "koji_api", "contract", "rules", "errors"},
    "devstack": {"config", "koji_api", "contract", "rules", "errors"},
}
# Files that wire parts together. The package's own __main__ builds a commit without Koji.
ENTRY_FILES = {
    "hub": {"errors", "rules", "contract"},
    "cli": {"errors", "rules", "contract", "console", "koji_api", ""},  # container-diff asks Koji
    "builder": set(MAY_IMPORT) - {"buildroot", "devstack", "console"},
    "__main__": set(MAY_IMPORT) - {"devstack"} | {"__main__"},
}
STDLIB_ONLY = {"errors", "rules", "contract"}
KOJI_FREE = {"buildroot", "source", "registry", "engines", "config"} | STDLIB_ONLY
# A stage is a file of its own; this one is used by `host`, which is none.
WHO_USES_STAGES = {"recipe.py", "host.py"}


def part_of(path: Path) -> str:
    return path.relative_to(ROOT / PACKAGE).parts[0].removesuffix(".py")


def parts() -> list[str]:
    names = {part_of(path) for path in (ROOT / PACKAGE).rglob("*.py")} - {"__init__", "__main__"}
    return sorted(names)


def files_of(part: str) -> list[Path]:
    folder = ROOT / PACKAGE / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def imports(path: Path) -> Iterator[str]:
    """Full names of all that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import hides what is imported"
            if node.module == PACKAGE:
                yield from (f"{PACKAGE}.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)


def own_parts(path: Path) -> set[str]:
    """Parts of our package that a file imports; the version number belongs to none."""
    ours = [name.split(".") for name in imports(path) if name.split(".")[0] == PACKAGE]
    return {name[1] if len(name) > 1 else "" for name in ours} - {"__version__"}


def test_every_part_has_a_row_in_the_table():
    assert set(parts()) <= set(MAY_IMPORT)


@pytest.mark.parametrize("part", parts())
def test_a_part_imports_only_what_the_table_allows(part: str):
    for path in files_of(part):
        wrong = own_parts(path) - MAY_IMPORT[part] - {part}
        assert not wrong, f"{path} imports {sorted(wrong)}"


@pytest.mark.parametrize("part", sorted(ENTRY_FILES))
def test_an_entry_file_imports_only_what_the_table_allows(part: str):
    own = ROOT / PACKAGE / "__main__.py"
    paths = [own] * own.exists() if part == "__main__" else sorted((ROOT / part).glob("*.py"))
    for path in paths:
        wrong = own_parts(path) - ENTRY_FILES[part]
        assert not wrong, f"{path} imports {sorted(wrong)}"


@pytest.mark.parametrize("part", sorted(STDLIB_ONLY))
def test_what_the_hub_loads_needs_the_standard_library_only(part: str):
    """A hub plugin that fails to import takes the whole hub offline."""
    for path in files_of(part):
        foreign = {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names
        assert foreign <= {PACKAGE}, f"{path} imports {sorted(foreign - {PACKAGE})}"


@pytest.mark.parametrize("part", sorted(KOJI_FREE))
def test_a_part_that_knows_nothing_of_koji_does_not_import_it(part: str):
    for path in files_of(part):
        assert "koji" not in {name.split(".")[0] for name in imports(path)}, path


def test_stages_never_import_each_other():
    for path in (ROOT / PACKAGE / "buildroot" / "stages").glob("*.py"):
        wrong = [name for name in imports(path) if ".stages" in name]
        assert not wrong, f"{path} imports {wrong}"


def test_only_the_recipe_puts_stages_together():
    users = {
        path.name
        for path in (ROOT / PACKAGE).rglob("*.py")
        if path.parent.name != "stages" and any(".stages" in name for name in imports(path))
    }
    assert users <= WHO_USES_STAGES


def test_nothing_imports_the_devstack():
    for part in parts():
        for path in files_of(part) if part != "devstack" else []:
            assert "devstack" not in own_parts(path), path


def test_configuration_is_loaded_by_entry_files_only():
    """The others are handed it."""
    loaders = {
        str(path.relative_to(ROOT / PACKAGE))
        for path in (ROOT / PACKAGE).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == f"{PACKAGE}.config"
        if any(alias.name == "load" for alias in node.names)
    }
    assert loaders <= {"buildroot/program.py", "check/command.py", "__main__.py"}


def test_no_module_is_too_long_to_read():
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in (PACKAGE, "hub", "cli", "builder")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > LONGEST
    }
    assert not long
