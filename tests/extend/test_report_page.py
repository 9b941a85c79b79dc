"""The page: well formed, self-contained, safe, readable in every script, and really drawn by a browser."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread

from extend.report import gather_run, plots, render_html
from extend.report.nouns import LoggedStep
from extend.report.page import as_piece
from extend.store import write_json
from tests.browser import browse, find_browser
from tests.runs import make_run, ner_results

VOID = {"meta", "br", "link", "img", "input", "hr", "path", "rect"}
BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Outline(HTMLParser):
    """Open and closed tags, attributes and text of a page; a tag closed out of turn fails."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.cells: list[dict[str, str | None]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag in ("td", "th"):
            self.cells.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(directory: Path, language: str = "si") -> str:
    return render_html(gather_run(make_run(directory / language, language)))


def drawings(language: str) -> int:
    """How many figures the page of a made run has."""
    curves = 1 + 3 + 2  # the loss, held-out losses, learning rate and speed
    bars = 6 + 3  # zero-shot and supervised
    changes = 4 + 2 + 2  # of F1 by protocol, and of the loss of old languages
    mistakes, costs = 3 + 3, 5
    return curves + bars + changes + mistakes + costs + (language == "ug")  # rows made in two ways


@pytest.mark.parametrize("language", ["si", "ug", "ka"])
def test_the_page_is_well_formed_and_asks_no_network(tmp_path: Path, language: str) -> None:
    page = page_of(tmp_path, language)
    outline = Outline(page)
    assert not {"script", "link", "img", "iframe", "object", "embed", "form"} & set(outline.tags)
    assert not {name for _, name, _ in outline.attributes} & {"src", "action", "data", "srcset"}
    links = {value for _, name, value in outline.attributes if name == "href"}
    ids = [value for _, name, value in outline.attributes if name == "id"]
    assert links <= {f"#{anchor}" for anchor in ids}  # every link stays on the page and leads somewhere
    assert len(ids) == len(set(ids))
    assert not re.search(r"url\(|@import|https?:", page)
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page
    assert outline.tags.count("svg") == drawings(language)
    labels = [value for tag, name, value in outline.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(labels) == drawings(language)
    assert all(labels)


def test_the_page_shows_the_runs_numbers(tmp_path: Path) -> None:
    text = Outline(page_of(tmp_path)).text
    for told in ("61.3 %", "0.4 %", "43.0 [40.3, 45.7]", "8,000", "119,547", "21,300", "6 min 20 s", "3.921"):
        assert told in text
    assert "සිංහල" in text
    assert "Sinhala" in text
    assert "/home/somebody" not in text.split("Settings (")[0]


def test_words_keep_their_direction(tmp_path: Path) -> None:
    outline = Outline(page_of(tmp_path, "ug"))
    assert ("span", "dir", "rtl") in outline.attributes
    loose = [cell for cell in outline.cells if "dir" not in cell and cell.get("class") not in ("n", "wide")]
    assert [cell for cell in loose if cell.get("scope") is None] == []


def test_sinhala_keeps_its_joiner_and_bidi_controls_are_spelled_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "si")
    word = "\u202eevil\u2066"
    write_json(
        run / "vocab" / "examples.json", [{"word": word, "count": 1, "before": [word], "after": ["ශ්\u200dරී"]}]
    )
    page = render_html(gather_run(run))
    assert "ශ්\u200dරී" in page
    assert "\\u202eevil\\u2066" in page
    assert not BIDI.search(page)


@settings(max_examples=15, deadline=None)
@given(
    text=st.text(min_size=1, max_size=30)
    | st.sampled_from(["</style><script>", "\"'><svg onload=x>", "{{ 7*7 }}"])
)
def test_text_of_files_is_never_markup(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    run = make_run(tmp_path_factory.mktemp("odd") / "si")
    plain = Outline(render_html(gather_run(run)))
    results = ner_results("zero-shot", "si")
    results["labels"] = [text, "LOC", "ORG"]
    write_json(run / "ner" / "zero-shot" / "results.json", results)
    manifest = {
        "language": "si",
        "language_name": text,
        "autonym": text,
        "versions": {"python": text, "b": "1", "c": "2"},
    }
    write_json(run / "manifest.json", manifest | {"base": "x", "base_revision": "0" * 40})
    odd = Outline(render_html(gather_run(run)))
    assert "script" not in odd.tags
    assert "onload" not in {name for _, name, _ in odd.attributes}
    assert abs(len(odd.tags) - len(plain.tags)) < 16  # only rows that the manifest no longer has


def test_pieces_show_their_mark_apart() -> None:
    assert (as_piece("##වේ").text, as_piece("##වේ").continues) == ("වේ", True)
    assert as_piece("##\u0dca").text == "\u25cc\u0dca"
    assert as_piece("##").text == "##"
    assert not as_piece("##").continues
    assert as_piece("[UNK]").unknown
    assert not as_piece("UNK").unknown


def logged(losses: list[float], stages: list[str] | None = None) -> list[LoggedStep]:
    names = stages or ["all"] * len(losses)
    return [
        LoggedStep(10 * (i + 1), name, loss, None, None, None, None, None)
        for i, (loss, name) in enumerate(zip(losses, names, strict=True))
    ]


def path_points(drawing: str, name: str) -> list[tuple[float, float]]:
    found = re.search(f'class="{name}" d="M([^"]*)"', drawing)
    assert found is not None
    return [(float(x), float(y)) for x, y in (pair.split() for pair in found[1].split("L"))]


@settings(max_examples=100, deadline=None)
@given(losses=st.lists(st.floats(0.0, 1e4), min_size=2, max_size=60))
def test_the_curve_puts_every_loss_where_its_ticks_say(losses: list[float]) -> None:
    curve = plots.loss_curve(logged(losses))
    assert curve is not None
    ticks = plots.nice_ticks(min(losses), max(losses))
    points = path_points(curve.drawing, "raw")
    assert len(points) == len(losses)
    for (x, y), (index, loss) in zip(points, enumerate(losses), strict=True):
        assert x == pytest.approx(plots.WIDTH * index / (len(losses) - 1), abs=0.06)
        height = 1 - y / plots.HEIGHT
        assert ticks[0] + height * (ticks[-1] - ticks[0]) == pytest.approx(
            loss, abs=(ticks[-1] - ticks[0]) / 2000
        )


def test_the_bold_curve_is_the_running_mean() -> None:
    curve = plots.loss_curve(logged([float(i % 2) for i in range(80)]))
    assert curve is not None
    assert curve.window == 4
    assert curve.last == 0.5


def test_stages_are_bands_that_fill_the_axis() -> None:
    curve = plots.loss_curve(logged([3.0, 2.0, 1.5, 1.0], ["new-rows", "new-rows", "all", "all"]))
    assert curve is not None
    assert [band.name for band in curve.bands] == ["new-rows", "all"]
    assert curve.bands[1].start == pytest.approx(200 / 3)
    assert sum(band.width for band in curve.bands) == pytest.approx(100)


def test_no_curve_without_two_losses() -> None:
    assert plots.loss_curve([]) is None
    assert plots.loss_curve(logged([1.0])) is None


@settings(max_examples=200)
@given(low=st.floats(-1e3, 1e3), width=st.floats(1e-3, 1e6))
def test_ticks_reach_over_the_data_and_are_few(low: float, width: float) -> None:
    ticks = plots.nice_ticks(low, low + width)
    slack = (ticks[1] - ticks[0]) * 1e-6
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + width - slack
    assert 2 <= len(ticks) <= 9


def test_bars_are_as_long_as_the_score_and_stay_inside() -> None:
    drawing = plots.score_bar("extended", 43.0, (40.3, 145.0), [41.0, 45.0])
    assert 'class="bar extended"' in drawing
    assert 'width="430.0"' in drawing
    assert path_points(drawing, "whisker") == [(403.0, 150.0), (1000.0, 150.0)]
    assert drawing.count('class="seed"') == 2
    empty = plots.score_bar('"><b>', None, None, [])
    assert "<rect" not in empty
    assert "<b>" not in empty


def test_a_browser_draws_the_page(tmp_path: Path) -> None:
    """With a browser on the machine, its picture has ink of both encoders' colours; without one the page's
    structure alone is checked, as above."""
    run = make_run(tmp_path / "ug", "ug")
    page = tmp_path / "report.html"
    page.write_bytes(render_html(gather_run(run)).encode())
    Outline(page.read_text(encoding="utf-8"))
    if find_browser() is None:
        print("no browser on this machine: the page was checked as text only")
        return
    picture = tmp_path / "report.png"
    with browse(tmp_path / "browser") as tab:
        tab.look(width=1000, height=1600)
        tab.open(page.as_uri())
        picture.write_bytes(tab.picture())
        assert {url.split(":")[0] for url in tab.requests} == {"file"}
    pixels = np.round(imread(picture)[..., :3] * 255).astype(int)
    assert pixels.shape == (1600, 1000, 3)
    accent = np.abs(pixels - np.array([0x0B, 0x6B, 0x63])).sum(axis=2) < 30
    assert accent.sum() > 200  # the headline figures are drawn
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
