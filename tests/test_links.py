"""Every link and anchor of the pages people read leads somewhere, by the rules of GitHub; the site has every page."""

import re
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"(?<!\\)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} +(.*?) *#*$", re.MULTILINE)


def text_of(page):
    """Without what stands in blocks of code."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchor(heading):
    """GitHub's of a heading: in lower case, without punctuation, each blank a hyphen; of `code` and links the words."""
    words = LINK.sub(lambda link: link[0][1 : link[0].index("](")], heading).replace("`", "").lower()
    kept = (char for char in words if char in " -_" or unicodedata.category(char)[0] in "LNM")
    return "".join(kept).replace(" ", "-")


def anchors(text):
    """Of all headings of a page: those of the same words are numbered from the second on."""
    found = []
    for heading in HEADING.findall(text):
        name = anchor(heading)
        found.append(f"{name}-{before}" if (before := sum(seen == name for seen in found)) else name)
    return found


def broken(page):
    """Links of a page that lead to no file, or to no heading of one."""
    for target in LINK.findall(re.sub(r"`[^`\n]*`(?!\])", "", text_of(page))):
        path, _, place = target.partition("#")
        if re.match(r"\w+:", target):
            continue
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (place and place not in anchors(text_of(there))):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    assert list(broken(page)) == []


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("`[train]`", "train"),
        ("Which rate: `xfer find-lr`", "which-rate-xfer-find-lr"),
        ("timm's networks", "timms-networks"),
        ("What is kept, and where", "what-is-kept-and-where"),
        ("A [page](data.md) of snake_case", "a-page-of-snake_case"),
        ("7. Serve it & more", "7-serve-it--more"),
    ],
)
def test_anchors_are_those_of_github(heading, expected):
    assert anchor(heading) == expected


def test_what_leads_nowhere_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# Other\n\n## Twice\n\n## Twice\n\n```\n## Code\n```\n")
    links = [
        "other.md#twice-1",
        "other.md#twice-2",
        "other.md#code",
        "gone.md",
        "#here",
        "#there",
        "https://a.example/#x",
    ]
    page = tmp_path / "page.md"
    page.write_text("# Here\n\n" + "\n".join(f"[`a[b]`]({link})" for link in links) + "\n\n`[no](link.md)`\n")
    assert list(broken(page)) == ["other.md#twice-2", "other.md#code", "gone.md", "#there"]


def test_the_site_and_its_first_page_have_every_page_once():
    site = (ROOT / "tools" / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.relative_to(DOCS).as_posix() for page in PAGES if page.is_relative_to(DOCS)]
    assert sorted(re.findall(r": ([\w/]+\.md)$", site, re.MULTILINE)) == sorted(pages)
    linked = LINK.findall((DOCS / "index.md").read_text(encoding="utf-8"))
    first = [name for name in pages if re.fullmatch(r"\w+\.md|\w+/index\.md", name)]
    notebooks = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.ipynb")]
    assert sorted(linked) == sorted([*(name for name in first if name != "index.md"), *notebooks])


@pytest.mark.parametrize("first", sorted(DOCS.glob("*/index.md")), ids=lambda page: page.parent.name)
def test_the_first_page_of_a_folder_leads_to_all_of_its_pages(first):
    linked = {(first.parent / link.partition("#")[0]).resolve() for link in LINK.findall(text_of(first))}
    assert set(first.parent.glob("*.md")) - {first} - linked == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_lists_and_tables_stand_alone(page):
    """GitHub takes a list right behind a paragraph for one; the site takes it for the paragraph's words."""
    item = re.compile(r"- |\d+\. |\|")
    joined = [
        below
        for above, below in pairwise(text_of(page).splitlines())
        if item.match(below) and above.strip() and not re.match(r"- |\d+\. |\||#| ", above)
    ]
    # A wrapped item's next lines are indented, so that what stands above a list is a paragraph or an item.
    assert joined == []
