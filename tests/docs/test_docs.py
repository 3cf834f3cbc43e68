"""What the documents say of the code is so, as far as it can be compared."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from koji_containerbuild.config import Config, load
from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.contract.options import BuildOptions
from tests.test_architecture import MAY_IMPORT, STDLIB_ONLY

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "fedora-infra").glob("*.md")])


def rows(text: str) -> list[list[str]]:
    """The cells of all table rows, without backquotes."""
    lines = (line for line in text.splitlines() if line.startswith("|"))
    return [[cell.strip().replace("`", "") for cell in line[1:-1].split("|")] for line in lines]


def sections(text: str, mark: str) -> dict[str, str]:
    """The text below each heading of that level, up to the next heading."""
    parts = re.split(rf"^{mark} (.*)$", text, flags=re.MULTILINE)
    bodies = (re.split(r"^#", body, flags=re.MULTILINE)[0] for body in parts[2::2])
    return dict(zip(parts[1::2], bodies))


@pytest.mark.parametrize("option", dataclasses.fields(BuildOptions), ids=lambda f: f.name)
def test_the_page_of_options_has_each_option_as_the_table_has_it(option: Any):
    rules = option.metadata
    flag = f"{rules['flag']} {rules.get('metavar', '')}".strip()
    expected = [option.name, flag, rules["help"]]
    if rules.get("not_yet"):
        expected.append(rules["not_yet"])
    assert expected in rows((DOCS / "options.md").read_text())


def test_the_page_of_options_has_no_other_options():
    parts = re.split(r"^## ", (DOCS / "options.md").read_text(), flags=re.MULTILINE)
    listed = [row[0] for part in parts[:2] for row in rows(part)]
    names = [name for name in listed if name != "name in opts" and set(name) != {"-"}]
    assert sorted(names) == sorted(field.name for field in dataclasses.fields(BuildOptions))


def config_keys() -> list[tuple[str, str, Any]]:
    hints = get_type_hints(Config)
    kinds = {name: kind for name, kind in hints.items() if dataclasses.is_dataclass(kind)}
    kinds["cluster NAME"] = ClusterConfig
    return [
        (section, field.name, field.default)
        for section, kind in kinds.items()
        for field in dataclasses.fields(kind)
    ]


def as_written(value: Any) -> str:
    if value in ("", ()):
        return "empty"
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize(("section", "key", "default"), config_keys())
def test_the_page_on_operating_has_each_key_with_its_default(section: str, key: str, default: Any):
    table = rows(sections((DOCS / "operating.md").read_text(), "###")[f"[{section}]"])
    assert {row[0]: row[2] for row in table}[key] == as_written(default)


TYPES = {int: ("number", "seconds"), float: ("number",), bool: ("true, false",), Path: ("path",)}


def types_of(hint: Any) -> tuple[str, ...]:
    """What the column `type` may say of a key."""
    if get_origin(hint) is Literal:
        return (", ".join(get_args(hint)),)
    return ("list",) if get_origin(hint) is tuple else TYPES.get(hint, ("text", "path"))


@pytest.mark.parametrize(("section", "key", "default"), config_keys())
def test_the_page_on_operating_has_the_type_of_each_key(section: str, key: str, default: Any):
    kind = ClusterConfig if section == "cluster NAME" else get_type_hints(Config)[section]
    hint = get_type_hints(kind)[key]
    table = rows(sections((DOCS / "operating.md").read_text(), "###")[f"[{section}]"])
    assert {row[0]: row[1] for row in table}[key] in types_of(hint)


def test_the_page_on_operating_has_no_other_keys():
    found = sections((DOCS / "operating.md").read_text(), "###")
    listed = {
        (heading[1:-1], row[0])
        for heading, body in found.items()
        for row in rows(body)
        if heading.startswith("[") and row[0] != "key" and set(row[0]) != {"-"}
    }
    assert listed == {(section, key) for section, key, _ in config_keys()}


def test_the_example_of_builder_conf_can_be_read():
    assert load(ROOT / "fedora-infra" / "builder.conf.example").registry.url


def test_the_example_of_builder_conf_has_each_key_and_its_default(tmp_path: Path):
    """A key that is commented out shows its default, or an example if that is empty."""
    example = (ROOT / "fedora-infra" / "builder.conf.example").read_text()
    path = tmp_path / "builder.conf"
    path.write_text(re.sub(r"^#(?=[a-z_]+ =|\[)", "", example, flags=re.MULTILINE))
    whole = load(path)
    for section, key, default in config_keys():
        assert re.search(rf"^#?{key} =", example, re.MULTILINE), f"[{section}] {key}"
        if re.search(rf"^#{key} =", example, re.MULTILINE) and default:
            part = whole.clusters["one"] if section == "cluster NAME" else getattr(whole, section)
            assert getattr(part, key) == default, f"[{section}] {key}"


def test_the_import_table_is_the_one_that_is_tested():
    text = (DOCS / "architecture.md").read_text()
    code = next(b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "MAY_IMPORT" in b)
    tables: Mapping[str, Any] = {
        node.targets[0].id: eval(compile(ast.Expression(node.value), "architecture.md", "eval"))
        for node in ast.parse(code).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert tables == {"MAY_IMPORT": MAY_IMPORT, "STDLIB_ONLY": STDLIB_ONLY}


def test_the_page_on_architecture_names_each_part_and_module():
    text = (DOCS / "architecture.md").read_text()
    table = sections(text, "##")["Rooms"]
    for part in MAY_IMPORT:
        assert re.search(rf"`koji_containerbuild/{part}(/|\.py)`", table), part


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_relative_link_leads_somewhere(page: Path):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_leads_to_each_page():
    index = (DOCS / "index.md").read_text()
    for page in DOCS.rglob("*.md"):
        assert page.name == "index.md" or f"({page.relative_to(DOCS)})" in index, page


def test_the_spec_has_the_version_of_the_package():
    from koji_containerbuild import __version__

    spec = (ROOT / "koji-containerbuild.spec").read_text()
    assert re.search(rf"^Version:\s+{re.escape(__version__)}$", spec, re.MULTILINE)


def test_the_spec_puts_each_part_into_a_package():
    spec = (ROOT / "koji-containerbuild.spec").read_text().partition("%files common")[2]
    packaged = set(re.findall(r"^%\{ourpackage\}/(\w+)(?:\.py)?$", spec, re.MULTILINE))
    assert packaged >= set(MAY_IMPORT) - {"devstack"}
