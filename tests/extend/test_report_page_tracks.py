"""Charts of rows: every mark stands where the axis says; what is compared and published is shown as text."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend.errors import CheckpointError
from extend.report import gather_run, render_html
from extend.report.growth_part import compared
from extend.report.ner_part import heat_map, mistakes_of
from extend.report.nouns import Comparison
from extend.report.plots import WIDTH
from extend.report.tracks import Change, Start, TrackChart, change_chart, share_bar, stack, start_chart
from extend.store import read_json, write_json
from tests.extend.test_report_page import BIDI, Outline, path_points
from tests.runs import make_run

NUMBERS = st.floats(-100, 100).map(lambda value: round(value, 3))
COMPARED = {
    "mean": {"mlm_loss": 11.274, "seconds": 0.18, "probe_loss": 11.006},
    "focus": {"mlm_loss": 8.456, "seconds": 1.005, "probe_loss": 8.03},
    "ofa": {"mlm_loss": 8.4, "seconds": 6.786, "probe_loss": 8.068},
}


def place_of(chart: TrackChart, value: float) -> float:
    """Where `value` belongs by the labels of the first and the last tick."""
    low, high = (float(chart.ticks[end].label.replace("−", "-").replace(",", "")) for end in (0, -1))
    return WIDTH * (value - low) / (high - low)


@given(
    changes=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS).map(sorted), min_size=1, max_size=8),
    kind=st.sampled_from(["gain", "loss", "noise"]),
)
def test_every_change_stands_where_the_axis_says(changes: list[list[float]], kind: str) -> None:
    told = [Change("x", value, (low, high), kind, "", "") for low, value, high in changes]
    chart = change_chart(told, unit="F1 points")
    assert chart is not None
    for row, (low, value, high) in zip(chart.rows, changes, strict=True):
        (x, _), _ = path_points(row.drawing, f"dot {kind}")
        assert x == pytest.approx(place_of(chart, value), abs=0.1)
        ends = path_points(row.drawing, f"reach {kind}")
        assert [x for x, _ in ends] == pytest.approx([place_of(chart, low), place_of(chart, high)], abs=0.1)
        (zero, _), _ = path_points(row.drawing, "zero")
        assert zero == pytest.approx(place_of(chart, 0.0), abs=0.1)


def test_no_change_is_in_the_middle_and_nothing_is_no_chart() -> None:
    chart = change_chart([Change("x", 0.0, (0.0, 0.0), "kept", "0.0", "")], unit="F1 points")
    assert chart is not None
    assert [tick.label for tick in chart.ticks] == ["−1", "0", "1"]
    assert path_points(chart.rows[0].drawing, "dot noise")[0][0] == WIDTH / 2
    assert change_chart([], unit="nats") is None
    assert start_chart([], unit="nats") is None


@given(starts=st.lists(st.tuples(st.floats(0.5, 20), st.floats(0.5, 20)), min_size=1, max_size=8))
def test_every_start_has_a_hollow_dot_before_and_a_full_one_after(starts: list[tuple[float, float]]) -> None:
    chart = start_chart([Start("x", first, second, "", "", False) for first, second in starts], unit="nats")
    assert chart is not None
    for row, (first, second) in zip(chart.rows, starts, strict=True):
        (hollow, _), _ = path_points(row.drawing, "dot hollow")
        assert hollow == pytest.approx(place_of(chart, first), abs=0.5)
        full = re.findall(r'class="dot noise" d="M([\d.-]+) ', row.drawing)
        assert float(full[-1]) == pytest.approx(place_of(chart, second), abs=0.5)


@given(counts=st.lists(st.integers(0, 10_000), min_size=1, max_size=9))
def test_the_parts_of_a_stack_have_their_shares(counts: list[int]) -> None:
    bar = stack([(str(index), count) for index, count in enumerate(counts)], label="x")
    if not sum(counts):
        assert bar is None
        return
    assert bar is not None
    drawn = [
        (float(x), float(w)) for x, w in re.findall(r'x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', bar.drawing)
    ]
    wanted = [count for count in counts if count]
    assert len(drawn) == len(wanted)
    for (_, width), count in zip(drawn, wanted, strict=True):
        assert width == pytest.approx(WIDTH * count / sum(counts), abs=3.2)  # less the gap between parts
    assert drawn[-1][0] + drawn[-1][1] == pytest.approx(WIDTH, abs=1.2)
    assert len(bar.parts) == len(counts)


def test_a_share_is_as_long_as_it_is() -> None:
    assert 'width="250.0"' in share_bar(0.25, "x")
    assert 'width="1000.0"' in share_bar(7.0, "x")


def comparison_of(run: Path) -> Comparison:
    found = gather_run(run).comparison
    assert found is not None
    return found


def test_initialisers_are_told_with_the_lowest_loss_first(tmp_path: Path) -> None:
    run = make_run(tmp_path / "si")
    write_json(run / "compare.json", {"compare": COMPARED, "probe_steps": 20, "added": 8000})
    chart = compared(comparison_of(run))
    assert chart is not None
    assert [(row.label, row.value, row.aside, row.word) for row in chart.rows] == [
        ("focus", "8.46 → 8.03", "1.0 s", "lowest"),
        ("ofa", "8.40 → 8.07", "6.8 s", ""),
        ("mean", "11.27 → 11.01", "0.2 s", ""),
    ]
    text = Outline(render_html(gather_run(run))).text
    assert "Initialisers compared" in text
    assert "after 20 steps in which the new rows alone were trained" in text
    for start in COMPARED.values():
        del start["probe_loss"]
    write_json(run / "compare.json", {"compare": COMPARED, "probe_steps": 0})
    chart = compared(comparison_of(run))
    assert chart is not None
    assert [row.value for row in chart.rows] == ["8.40", "8.46", "11.27"]
    assert "Measured before any training" in Outline(render_html(gather_run(run))).text


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("compare.json", {"compare": {"mean": {"mlm_loss": "low"}}}, "compare: mean: mlm_loss"),
        ("pushed.json", {"repo": 3}, "repo"),
        ("grown/report.json", {"distilled": {"batches": "many"}}, "distilled: batches"),
        ("vocab/report.json", {"certificate": {"held": [1]}}, r"certificate: held\[0\]"),
        ("pretrain/report.json", {"warnings": [{"text": 1}]}, r"warnings\[0\]: text"),
    ],
)
def test_a_broken_file_is_told_with_its_place(
    tmp_path: Path, name: str, content: dict[str, Any], place: str
) -> None:
    run = make_run(tmp_path / "si")
    write_json(run / name, content)
    with pytest.raises(CheckpointError, match=rf"{Path(name).name}: {place}: expected"):
        gather_run(run)


def test_what_the_stages_told_and_where_it_was_published_are_shown_as_text(tmp_path: Path) -> None:
    run, evil = make_run(tmp_path / "ug", "ug"), "\u202e<img src=x onerror=alert(1)>"
    for name, more in (
        ("vocab", {"warnings": [{"name": "W", "text": evil}] * 2, "certificate": {"held": [evil]}}),
        (
            "grown",
            {
                "warnings": [{"text": "much fell back, ..."}],
                "distilled": {"batches": 9, "first_loss": 2.0, "last_loss": 1.5},
            },
        ),
        ("pretrain", {"warnings": [{"what": "an old warning."}]}),
    ):
        path = run / name / "report.json"
        write_json(path, read_json(path) | more)
    path = run / "vocab" / "report.json"
    write_json(path, read_json(path) | {"lost_characters": {"share": 0.01, "most": {"\u064e": 12}}})
    write_json(run / "pushed.json", {"repo": evil, "commit": "c0" * 20, "time": evil, "size": 39_695_935})
    write_json(run / "compare.json", {"compare": {evil: {"mlm_loss": 3.0}}})
    page = render_html(gather_run(run), passport=[(evil, evil)])
    outline = Outline(page)
    assert "img" not in outline.tags
    assert not BIDI.search(page)
    for told in (
        "Growth: much fell back.",
        "Training: an old warning.",
        "distilled over 9 batches, mean loss 2.000 to 1.500",
        "takes away or changes U+064E ARABIC FATHA 12 times in held-out text",
        "37.9 MiB",
        "c0" * 20,
    ):
        assert told in outline.text
    assert outline.text.count("Vocabulary: \\u202e") == 1  # told twice in the file


def test_the_matrix_marks_gains_losses_and_noise(tmp_path: Path) -> None:
    stage = gather_run(make_run(tmp_path / "si")).ner[0]
    heat = heat_map(stage)
    assert heat is not None
    cells = {encoder: [(cell.change, cell.kind) for cell in row] for encoder, row in heat.rows}
    assert cells["base"] == [("", ""), ("", "")]
    assert cells["extended"] == [("▲ +39.4", "gain"), ("≈ −0.2", "noise")]


def test_mistakes_are_counted_by_kind(tmp_path: Path) -> None:
    run = make_run(tmp_path / "si")
    path = run / "ner" / "zero-shot" / "results.json"
    results = read_json(path)
    results["encoders"]["base"]["si"]["errors"] = {"missed": 500, "odd kind": 30}
    write_json(path, results)
    stage = gather_run(run).ner[0]
    found = mistakes_of(stage, "si")
    assert found is not None
    kinds = [name for _, name in found.legend]
    assert kinds == ["missed", "other bounds", "another type", "found where none is", "odd kind"]
    assert found.counts[0] == ("base", "500", "0", "0", "0", "30", "530")
    assert found.counts[1] == ("extended", "120", "73", "41", "31", "0", "265")
    longest = re.findall(r'width="([\d.]+)"', found.chart.rows[0].drawing)
    assert sum(map(float, longest)) == pytest.approx(WIDTH, abs=4)
    assert mistakes_of(stage, "fr") is None
