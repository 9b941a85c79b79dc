"""The page on how the vocabulary was chosen: every field optional, every point where its axes say."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend.errors import CheckpointError
from extend.report import gather_run, plots, render_html
from extend.report.curves import marked_curve
from extend.report.text import number
from extend.store import read_json, write_json
from tests.extend.test_report_page import BIDI, Outline, drawings, path_points
from tests.runs import make_run

SIZES = [(1000, 2.31, 0.12), (4000, 1.83, 0.021), (8000, 1.62, 0.004), (64_000, 1.49, 0.0027)]
CHOICES: dict[str, Any] = {
    "sizes": [
        {
            "size": size,
            "fertility": fertility,
            "unk_rate": unknown,
            "added_parameters": size * 769,
            "added_bytes": size * 3076,
        }
        for size, fertility, unknown in SIZES
    ],
    "size": {"asked": "auto", "chosen": 8000, "why": "the next 8,000 would save little."},
    "frontier": [
        {"share": share, "fertility": fertility, "unk_rate": 0.001, "drift": drift}
        for share, fertility, drift in ((1.0, 1.7, 0.08), (0.01, 2.41, 0.0011), (0.1, 1.93, 0.0123))
    ],
    "score_mix": 0.1,
    "protected": {
        "files": [
            {
                "name": "/home/somebody/en.txt",
                "words": 50_213,
                "words_changed": 0.0021,
                "words_newly_unk": 0.0,
            }
        ],
        "max_drift": 0.005,
        "left_out": 132,
    },
    "repairs": {"nul": 3, "invalid_utf8": 12, "bom": 0},
}


def page_with(run: Path, **fields: Any) -> str:
    """The page of a whole run whose vocab/report.json has `fields` too."""
    make_run(run)
    path = run / "vocab" / "report.json"
    write_json(path, read_json(path) | fields)
    return render_html(gather_run(run))


def vocabulary_of(page: str) -> str:
    return Outline(page[page.index('<section id="vocabulary">') : page.index('<section id="rows">')]).text


def test_the_vocabulary_part_tells_how_it_was_chosen(tmp_path: Path) -> None:
    page = page_with(tmp_path / "si", **CHOICES)
    text = vocabulary_of(page)
    for told in (
        "8,000 new pieces, chosen by the curve: the next 8,000 would save little.",
        "takes 1.62 pieces with them (6,152,000 parameters), 2.31 with 1,000 and 1.49 with 64,000",
        "knee",
        "8,000 chosen 1.62 0.4 % 6,152,000 23.5 MiB",
        "0.1 chosen 1.93 0.1 % 1.2 %",
        "share 0.1",
        "en.txt 50,213 0.2 % 0.0 %",
        "at most 0.5 % of them otherwise; 132 candidates were left out",
        "invalid utf8 12, nul 3.",
    ):
        assert told in text
    assert "somebody" not in text
    assert "bom" not in text
    assert Outline(page).tags.count("svg") == drawings("si") + 2 + 1  # and two size curves and the frontier
    assert page.count('class="held"') == 3 + page_with(tmp_path / "old").count('class="held"')
    assert text.index("0.01 2.41") < text.index("0.1 chosen") < text.index("1 1.70")


def test_a_run_without_choices_has_the_page_it_had(tmp_path: Path) -> None:
    page = page_with(tmp_path / "si")
    empty: dict[str, Any] = {
        "sizes": [],
        "size": None,
        "frontier": [],
        "score_mix": None,
        "protected": {},
        "repairs": {},
    }
    assert page_with(tmp_path / "again" / "si", **empty) == page
    for absent in ("How many pieces", "How strongly", "Protected", "Mended"):
        assert absent not in vocabulary_of(page)


@pytest.mark.parametrize(
    ("fields", "told", "absent"),
    [
        ({"size": {"asked": 8000, "chosen": 8000, "why": ""}}, "8,000 new pieces, asked for.", "knee"),
        ({"size": {"asked": "auto", "chosen": 8000}}, "chosen by the curve.", "knee"),
        ({"sizes": CHOICES["sizes"]}, "64,000 1.49", "chosen"),
        ({"sizes": CHOICES["sizes"][:1]}, "1,000 2.31", "by the number of"),
        ({"frontier": CHOICES["frontier"]}, "0.01 2.41", "chosen"),
        (
            {"frontier": CHOICES["frontier"], "score_mix": {"chosen": 0.01, "why": "x"}},
            "0.01 chosen",
            "0.1 chosen",
        ),
        ({"frontier": [{"share": 0.5, "drift": 0.1, "chosen": True}]}, "0.5 chosen — — 10.0 %", "share 0.5"),
        ({"protected": {"files": [], "left_out": 1}}, "1 candidate was left out", "at most"),
        ({"corpus": {"repairs": {"nul": 2}}}, "Mended while reading: nul 2.", "How many"),
    ],
)
def test_any_part_of_the_choices_may_be_missing(
    tmp_path: Path, fields: dict[str, Any], told: str, absent: str
) -> None:
    text = vocabulary_of(page_with(tmp_path / "si", **fields))
    assert told in text
    assert absent not in text


@pytest.mark.parametrize(
    "fields",
    [
        {"sizes": {"1000": 1}},
        {"sizes": [{"size": "many"}]},
        {"size": {"asked": [], "chosen": 1}},
        {"frontier": [3]},
        {"score_mix": "much"},
        {"protected": {"files": [{"name": 3}]}},
    ],
)
def test_a_choice_of_the_wrong_kind_is_told_with_its_place(tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=rf"report\.json: {next(iter(fields))}.*: expected"):
        page_with(tmp_path / "si", **fields)


def test_text_of_the_choices_is_never_markup(tmp_path: Path) -> None:
    evil = "\u202e<img src=x onerror=alert(1)>"
    page = page_with(
        tmp_path / "si",
        size={"asked": "auto", "chosen": 1, "why": evil},
        protected={"files": [{"name": evil}]},
        repairs={evil: 1},
    )
    assert "img" not in Outline(page).tags
    assert page.count("\\u202e&lt;img") == 3
    assert not BIDI.search(page)


@settings(max_examples=100, deadline=None)
@given(
    points=st.lists(
        st.tuples(st.integers(1, 100_000), st.floats(0, 50)),
        min_size=2,
        max_size=9,
        unique_by=lambda point: point[0],
    ),
    measured=st.booleans(),
    data=st.data(),
)
def test_a_marked_curve_puts_every_point_where_its_axes_say(
    points: list[tuple[int, float]], measured: bool, data: st.DataObject
) -> None:
    chosen = data.draw(st.integers(0, len(points) - 1))
    curve = marked_curve(
        points, title="t", chosen=chosen, mark="m", across=number, up=number, ticks_at_points=measured
    )
    assert curve is not None
    drawn = path_points(curve.drawing, "mean")
    heights = plots.nice_ticks(min(y for _, y in points), max(y for _, y in points))
    sides = [x for x, _ in points] if measured else plots.nice_ticks(0.0, max(x for x, _ in points))
    first, last = min(sides), max(sides)
    curved = measured and last >= 8 * first
    for (x, y), (across, down) in zip(points, drawn, strict=True):
        place = math.log(x / first) / math.log(last / first) if curved else (x - first) / (last - first)
        assert across == pytest.approx(plots.WIDTH * place, abs=0.06)
        up = (y - heights[0]) / (heights[-1] - heights[0])
        assert down == pytest.approx(plots.HEIGHT * (1 - up), abs=0.06)
    assert path_points(curve.drawing, "held") == [drawn[chosen], drawn[chosen]]
    assert curve.place == pytest.approx(drawn[chosen][0] / 10, abs=0.01)
    labels = [tick.place for tick in curve.horizontal]
    assert labels == sorted(labels)
    assert labels[-1] == pytest.approx(100)
    assert all(after - before >= 19.9 for before, after in itertools.pairwise(labels))


def test_no_marked_curve_without_two_places() -> None:
    for points in ([], [(1.0, 2.0)], [(1.0, 2.0), (1.0, 3.0)]):
        assert marked_curve(points, title="t", chosen=None, across=number, up=number) is None
