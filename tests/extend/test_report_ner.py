"""The NER part of the report page: heat map, averages and strata, from results as ner-eval writes them."""

import re
from pathlib import Path

import pytest

from extend.report.gather import gather_run
from extend.report.ner_part import group_rows, heat_map, strata_table
from extend.report.page import render_html
from extend.store import write_json
from tests.browser import browse, find_browser
from tests.ner.made_outcomes import made_outcomes, made_results, made_tests
from tests.runs import make_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = make_run(tmp_path / "ug", "ug")
    groups = {"new": ["ug"], "in the base": ["en"]}
    results = made_results(made_outcomes(), made_tests(), groups=groups)
    write_json(run / "ner" / "zero-shot" / "results.json", results)
    return run


def test_the_heat_map_has_the_source_last(run: Path) -> None:
    stage = gather_run(run).ner[0]
    found = heat_map(stage)
    assert found is not None
    assert found.languages == ("ug", "en")
    assert [encoder for encoder, _ in found.rows] == ["base", "extended"]
    cells = dict(found.rows)
    assert (cells["base"][0].value, cells["base"][0].shade) == ("22.2", 2)
    assert (cells["extended"][1].value, cells["extended"][1].shade) == ("100.0", 10)
    assert cells["extended"][0].interval.startswith("[")


def test_one_language_needs_no_heat_map(run: Path) -> None:
    supervised = gather_run(run).ner[1]
    assert heat_map(supervised) is None
    assert group_rows(supervised) == []
    assert strata_table(supervised) is None


def test_groups_and_strata_are_read_as_they_stand(run: Path) -> None:
    stage = gather_run(run).ner[0]
    rows = group_rows(stage)
    assert [row[:3] for row in rows[:2]] == [("new", "ug", "base"), ("new", "ug", "extended")]
    assert rows[0][3].startswith("22.2 [")
    strata = strata_table(stage)
    assert strata is not None
    assert strata.columns[:2] == ("seen in training", "not seen")
    values = {(encoder, language): cells for encoder, language, cells in strata.rows}
    assert values["extended", "ug"][:2] == ("100.0 of 1", "50.0 of 2")
    assert values["extended", "ug"][strata.columns.index("with [UNK]")] == "—"
    score = stage.score("base", "ug")
    assert score is not None
    assert (score.median, score.lenient.keys()) == (
        pytest.approx(33.33, abs=0.01),
        {"span", "overlap", "partial"},
    )


def test_the_page_shows_them(run: Path) -> None:
    page = render_html(gather_run(run))
    assert '<table class="heat">' in page
    assert "--shade:10" in page
    assert "in the base" in page
    assert "Which entities are found" in page
    assert "22.2" in page


@pytest.mark.skipif(find_browser() is None, reason="no Chromium here")
def test_the_heat_map_is_drawn_and_right_to_left_errors_stand_right(run: Path, tmp_path: Path) -> None:
    from ner.report import write_results

    (run / "report.html").write_text(render_html(gather_run(run)), "utf-8")
    folder = tmp_path / "errors"
    folder.mkdir()
    write_results(folder, made_results(made_outcomes(), made_tests()), made_outcomes(), made_tests())
    with browse(tmp_path / "browser") as page:
        page.look(width=1000, height=800)
        page.open((run / "report.html").as_uri())
        shades = page.value(
            "[...document.querySelectorAll('.heat .cell')].map(e => getComputedStyle(e).backgroundColor)"
        )
        assert len(set(shades)) == 3  # 22, 67 twice, 100
        page.open((folder / "errors.html").as_uri())
        page.value("document.querySelectorAll('details').forEach(e => { e.open = true; })")
        side = "getComputedStyle(document.querySelector('.sentence')).direction"
        assert page.value(side) == "rtl"
        first, last = (
            page.value(
                "(() => { const r = document.createRange(); const e = document.querySelector('.sentence');"
                f" const n = e.{node}; r.selectNodeContents(n); return r.getBoundingClientRect().x; }})()"
            )
            for node in ("firstChild", "lastChild")
        )
        assert first > last  # the first word of the sentence stands right of the last
        page.look(width=390, height=800, phone=True)
        assert page.value("document.documentElement.scrollWidth <= innerWidth")
        assert not [url for url in page.requests if re.match("https?:", url)]
