"""The documentation builds without a warning and a network, its links lead somewhere, and it is not stale."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from extend.cli.reference import options_of, reference, setting_of
from extend.config import RunSettings
from tests.extend.documentation_runs import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


def without_code(text: str) -> str:
    """A page without its code, where brackets are no links and `#` no headings."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for title in re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE):
        bare = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").replace("*", "")
        slug = re.sub(r"[^\w\- ]", "", bare.strip().lower()).replace(" ", "-")
        number = next(number for number in range(99) if (f"{slug}-{number}" if number else slug) not in found)
        found.add(f"{slug}-{number}" if number else slug)
    return found


def links(page: Path) -> Iterator[str]:
    yield from LINK.findall(without_code(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_a_page_and_a_heading(page: Path) -> None:
    broken = []
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme in ("https", "http"), link
            assert re.fullmatch(r"[\w.-]+\.[a-z]+(?::\d+)?", parts.netloc), link
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not target.exists() or (parts.fragment and unquote(parts.fragment) not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_the_pages_of_the_site_ask_nothing_of_a_network(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) >= len(list((ROOT / "docs").glob("*.md")))
    loading = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
    for page in pages:
        for tag, attributes in Tags(page.read_text(encoding="utf-8")).found:
            address = attributes.get(loading.get(tag, ""), "")
            if tag == "link" and attributes.get("rel") == "canonical":
                continue
            assert not urlsplit(address).netloc, f"{page.name}: {tag} {address}"
            if address and not address.startswith("data:") and page.name != "404.html":
                assert (page.parent / unquote(urlsplit(address).path)).exists(), f"{page.name}: {address}"
    for style in site.rglob("*.css"):
        assert "//fonts." not in style.read_text(encoding="utf-8")


def test_search_has_every_page_and_every_script(site: Path) -> None:
    inline = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    index = json.loads(inline.removeprefix("var __index = "))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert found == {f"{page.stem}.html" for page in (ROOT / "docs").glob("*.md")}
    assert any("نۇرغۇن" in entry["text"] for entry in index["docs"])


def test_right_to_left_words_stand_in_isolation(site: Path) -> None:
    tags = Tags((site / "index.html").read_text(encoding="utf-8")).found
    isolated = [attributes for tag, attributes in tags if tag == "bdi"]
    assert isolated
    assert all(attributes.get("lang") for attributes in isolated)


def test_the_reference_of_commands_is_that_of_the_commands() -> None:
    page = ROOT / "docs" / "commands.md"
    assert page.read_text(encoding="utf-8") == reference(), (
        "stale; write it anew: python -m extend.cli.reference > docs/commands.md"
    )


def test_every_option_of_every_command_is_in_the_reference() -> None:
    text = reference()
    for name, one in COMMANDS.items():
        assert f"\n### extend {name}\n" in text
        for option in options_of(name, one):
            assert option.does, f"extend {name} {option.typed} has no help"


def test_the_setting_beside_an_option_is_a_setting() -> None:
    known = {
        f"{table}.{name}"
        for table, field in RunSettings.model_fields.items()
        if hasattr(field.annotation, "model_fields")
        for name in field.annotation.model_fields
    } | set(RunSettings.model_fields)
    told = {option.setting for name, one in COMMANDS.items() for option in options_of(name, one)}
    assert told - {""} <= known
    assert setting_of("pretrain", "max_forgetting") == "pretrain.max_forgetting"
    assert setting_of("vocab", "strict") == "reading.strict"
    assert setting_of("ner-tag", "encoder") == ""
