"""The page on labels has what the code has."""

from __future__ import annotations

from koji_containerbuild.rules import labels
from koji_containerbuild.rules.labels import Facts, SiteLabels, to_add
from tests.docs.test_docs import DOCS, rows, sections

PAGE = (DOCS / "labels.md").read_text()
FOUND = sections(PAGE, "##")


def cells(heading: str, count: int) -> list[tuple[str, ...]]:
    """The first cells of each row, without the head."""
    return [tuple(row[:count]) for row in rows(FOUND[heading])[2:]]


def test_the_page_has_every_older_spelling():
    assert dict(cells("Older spellings", 2)) == labels.OLD_SPELLINGS


def test_the_page_has_the_required_labels():
    required = dict(cells("Required", 2))
    assert required == {key: labels.OLD_SPELLINGS[key] for key in (*labels.REQUIRED, "release")}


def test_the_page_has_the_labels_of_other_kinds_of_images():
    listed = cells("Labels of other kinds of images", 1)
    assert [row[0] for row in listed] == list(labels.OTHER_KINDS)


def test_the_page_has_the_labels_that_are_set():
    site = SiteLabels(info_url="https://x", vcs_url=True)
    added = to_add(site, {}, {}, Facts("1", "c", "u", 0)).labels
    listed = [row[0] for row in cells("Set for you", 1)]
    assert listed == [*sorted({*added, "architecture"} - {"url"}), "url", listed[-1]]
    assert all(f"`{key}`" in FOUND["Set for you"] for key in labels.KEPT)


def test_the_page_has_the_scopes_in_their_order():
    text = FOUND["distribution-scope"].replace("\n", " ")
    assert ", ".join(f"`{scope}`" for scope in labels.SCOPES) in text
