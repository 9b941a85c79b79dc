"""The report in a real browser: nothing overflows, nothing is fetched, words run their way, all is legible.

The pictures that a run of these tests takes are kept in `test-output/screenshots/`.
"""

import base64
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from extend.report import gather_run, render_html
from extend.store import read_json, write_json
from tests.browser import Page, browse, find_browser
from tests.runs import make_run

KEPT = Path(__file__).parents[2] / "test-output" / "screenshots"
WIDE, PHONE = 1200, 390
LOOKS = [(width, dark) for width in (WIDE, PHONE) for dark in (False, True)]
TALLEST = 16_000  # pixels of one picture
LONG = "ئۇيغۇرچە" * 12
PASSPORT = [("BCP 47", "ug-Arab"), ("Wikipedia", "ug"), ("read by", "an encoder of many languages; " * 8)]


def full_run(directory: Path) -> Path:
    """A right-to-left run with every part that the page can show; one word is too long for a phone."""
    run = make_run(directory / "ug", "ug")
    examples = read_json(run / "vocab" / "examples.json")
    examples.append({"word": LONG, "count": 1, "before": [LONG], "after": [f"##{LONG}", LONG]})
    write_json(run / "vocab" / "examples.json", examples)
    report = read_json(run / "vocab" / "report.json")
    sizes = [
        {
            "size": size,
            "fertility": 3.0 - size / 8000,
            "unk_rate": 1 / size,
            "added_parameters": size * 768,
            "added_bytes": size * 3072,
        }
        for size in (1000, 4000, 8000)
    ]
    report |= {"sizes": sizes, "size": {"asked": "auto", "chosen": 4000, "why": "the knee of the curve"}}
    write_json(run / "vocab" / "report.json", report)
    starts = {
        "focus": {"mlm_loss": 8.4, "seconds": 1.0, "probe_loss": 8.1},
        "subword-of-a-very-long-name": {"mlm_loss": 10.1, "seconds": 0.2, "probe_loss": 10.2},
    }
    write_json(run / "compare.json", {"compare": starts, "probe_steps": 20, "added": 8})
    write_json(
        run / "pushed.json", {"repo": "me/extend-ug", "commit": "c0" * 20, "time": "2026-01-02T03:04:05Z"}
    )
    return run


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if find_browser() is None:
        pytest.skip("no Chromium on this machine: the report is not drawn")
    directory = tmp_path_factory.mktemp("report")
    page = directory / "report.html"
    page.write_bytes(render_html(gather_run(full_run(directory)), passport=PASSPORT).encode())
    with browse(directory / "browser") as opened:
        opened.open(page.as_uri())
        yield opened


def shown_as(tab: Page, width: int, *, dark: bool = False, unfolded: bool = False) -> None:
    tab.look(width=width, height=900, dark=dark, phone=width == PHONE)
    tab.value(f"document.querySelectorAll('details').forEach((e) => {{ e.open = {json.dumps(unfolded)} }})")
    tab.value("scrollTo(0, 0)")


def picture(tab: Page, name: str, width: int) -> bytes:
    height = min(tab.value("document.documentElement.scrollHeight"), TALLEST)
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    reply = tab.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
    data = base64.b64decode(reply["data"])
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{name}.png").write_bytes(data)
    return data


OVERFLOWING = """(() => {
  const inside = (e) => { for (let p = e.parentElement; p && p !== document.body; p = p.parentElement) {
    if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(p).overflowX)) return true;
  } return false; };
  const bad = [];
  for (const e of document.body.querySelectorAll('*')) {
    const {left, right, width} = e.getBoundingClientRect();
    if (!width || e.closest('svg') || inside(e)) continue;
    if (right > innerWidth + 0.5 || left < -0.5) bad.push([e.tagName, e.className, left, right]);
  }
  return bad;
})()"""


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_nothing_overflows_and_the_picture_is_kept(tab: Page, width: int, dark: bool) -> None:
    for unfolded in (True, False):
        shown_as(tab, width, dark=dark, unfolded=unfolded)
        assert tab.value("document.documentElement.scrollWidth") <= width
        assert tab.value(OVERFLOWING) == []
    data = picture(tab, f"report-{width}-{'dark' if dark else 'light'}", width)
    assert int.from_bytes(data[16:20], "big") == width * (
        2 if width == PHONE else 1
    )  # the width in the header
    assert len(data) > 50_000
    paper = "rgb(18, 21, 23)" if dark else "rgb(250, 249, 245)"
    assert tab.value("getComputedStyle(document.body).backgroundColor") == paper


def test_tables_scroll_in_their_own_box_on_a_phone(tab: Page) -> None:
    shown_as(tab, PHONE, unfolded=True)
    boxes = tab.value(
        "[...document.querySelectorAll('table')].map((e) => { const box = e.closest('.scroll');"
        " return [!!box, box && box.tabIndex === 0 && !!box.getAttribute('aria-label'),"
        " e.scrollWidth > box.clientWidth]; })"
    )
    assert all(boxed and reachable for boxed, reachable, _ in boxes)
    assert any(wider for _, _, wider in boxes)  # or this test would show nothing


def test_nothing_is_fetched(tab: Page) -> None:
    assert {url.split(":")[0] for url in tab.requests} == {"file"}
    assert len(tab.requests) == 1
    assert tab.value("performance.getEntriesByType('resource').length") == 0


def test_right_to_left_words_run_right_to_left_and_the_rest_does_not(tab: Page) -> None:
    shown_as(tab, WIDE)
    words = tab.value(
        "[...document.querySelectorAll('.words tbody tr')].map((row) => [...row.cells].map((cell) =>"
        " [getComputedStyle(cell).direction, cell.querySelector('[lang]')?.lang || '']))"
    )
    assert words
    for word, _count, before, after in words:
        assert word == before == after == ["rtl", "ug"]
    assert tab.value("getComputedStyle(document.querySelector('h1 bdi')).direction") == "rtl"
    assert tab.value("document.querySelector('h1 bdi').lang") == "ug"
    assert tab.value("getComputedStyle(document.querySelector('#costs table')).direction") == "ltr"
    first, second = tab.value(
        "[...document.querySelectorAll('.words tbody tr:first-child td:last-child .chip')]"
        ".map((e) => e.getBoundingClientRect().left)"
    )
    assert first > second  # the first piece of the word stands right of the second
    numbers = tab.value(
        "[...document.querySelectorAll('td.n, .value')].map((e) => getComputedStyle(e).textAlign)"
    )
    assert set(numbers) == {"right"}


def test_the_contents_lead_to_their_sections(tab: Page) -> None:
    shown_as(tab, WIDE)
    links = tab.value("[...document.querySelectorAll('nav a')].map((e) => e.getAttribute('href'))")
    sections = tab.value("[...document.querySelectorAll('main > section')].map((e) => '#' + e.id)")
    assert links == sections
    assert tab.value("document.querySelector('main > section').id") == "verdict"
    tab.value("document.documentElement.style.scrollBehavior = 'auto'")
    tab.click("nav a[href='#costs']")
    tab.until("location.hash === '#costs'")
    place = tab.value("document.querySelector('#costs').getBoundingClientRect().top")
    bar = tab.value("document.querySelector('nav').getBoundingClientRect().bottom")
    assert bar - 1 <= place < 900  # in sight, and not under the bar of contents


CONTRASTS = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const colour = (text, under) => {
    canvas.fillStyle = `rgb(${under.join(',')})`; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const behind = (e) => {
    const all = []; for (let p = e; p; p = p.parentElement) all.unshift(getComputedStyle(p).backgroundColor);
    return all.reduce((under, text) => colour(text, under), [255, 255, 255]);
  };
  const light = (rgb) => { const [r, g, b] = rgb.map((v) => { v /= 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = {};
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const e = node.parentElement;
    if (!node.data.trim() || !e.getClientRects().length) continue;
    const under = behind(e), [a, b] = [light(colour(getComputedStyle(e).color, under)), light(under)];
    const name = `${e.tagName}.${e.className}`, ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found[name] = Math.min(found[name] ?? 99, ratio);
  }
  return found;
})()"""


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_has_the_contrast_of_wcag_aa(tab: Page, dark: bool) -> None:
    """At least 4.5 to 1 (WCAG 2.2, success criterion 1.4.3), the faintest of each kind of element."""
    shown_as(tab, WIDE, dark=dark, unfolded=True)
    ratios: dict[str, float] = tab.value(CONTRASTS)
    assert len(ratios) > 30
    assert {name: ratio for name, ratio in ratios.items() if ratio < 4.5} == {}


def test_every_drawing_has_a_name_and_headings_have_an_order(tab: Page) -> None:
    named = (
        "[...document.querySelectorAll('svg')].map((e) => e.getAttribute('role') === 'img' && !!e.ariaLabel)"
    )
    assert set(tab.value(named)) == {True}
    levels = tab.value("[...document.querySelectorAll('h1, h2, h3')].map((e) => +e.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_it_prints_whole_on_paper(tab: Page) -> None:
    shown_as(tab, 700)
    media: dict[str, Any] = {"media": "print", "features": []}
    tab.send("Emulation.setEmulatedMedia", **media)
    try:
        assert tab.value(OVERFLOWING) == []
        assert tab.value("getComputedStyle(document.querySelector('nav')).display") == "none"
        assert tab.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        folded = "[...document.querySelectorAll('details:not(.screen) > *:not(summary)')]"
        assert set(tab.value(f"{folded}.map((e) => e.checkVisibility({{contentVisibilityAuto: true}}))")) == {
            True
        }
        paper = tab.send("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        data = base64.b64decode(paper["data"])
        KEPT.mkdir(parents=True, exist_ok=True)
        (KEPT / "report.pdf").write_bytes(data)
        assert data.startswith(b"%PDF")
    finally:
        tab.send("Emulation.setEmulatedMedia", media="", features=[])
