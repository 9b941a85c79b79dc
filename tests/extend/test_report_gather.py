"""A run folder's files to nouns: whole runs, half runs, broken files."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend.errors import CheckpointError, PathError
from extend.report import gather_run, render_card, render_html, summarise, summary_rows, write_report
from extend.report.gather_growth import ROW_EXAMPLES
from extend.report.tables import costs, findings
from extend.store import append_line, read_json, write_json, write_text
from tests.runs import json_line, make_run, ner_results


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "si")


def test_every_number_of_the_summary_is_the_files(run: Path) -> None:
    base, extended, bilingual = summarise(gather_run(run))
    assert [line.encoder for line in (base, extended, bilingual)] == ["base", "extended", "bilingual"]
    assert (base.unk_rate, base.fertility, base.mlm_loss) == (0.613, 1.31, 2.41)
    assert (extended.zero_shot_f1, extended.zero_shot_ci95) == (43.0, (40.3, 45.7))
    assert (extended.supervised_f1, extended.source_f1) == (61.8, 81.9)
    assert bilingual.mlm_loss_per_word == 6.6


def test_terminal_rows_have_one_title_a_column_and_their_intervals(run: Path) -> None:
    rows = summary_rows(gather_run(run))
    assert len({tuple(row) for row in rows}) == 1
    assert rows[1]["zero-shot F1"] == "43.0 [40.3, 45.7]"
    assert (rows[0]["UNK words"], rows[0]["fertility"], rows[0]["MLM loss"]) == ("61.3 %", "1.31", "2.41")
    assert rows[2]["source F1 (en)"] == "74.4 [71.7, 77.1]"


STAGE_FILES = ("run.toml", "manifest.json", "encoders.json", "vocab", "grown", "pretrain", "ner")


@settings(max_examples=40, deadline=None)
@given(missing=st.sets(st.sampled_from(STAGE_FILES), max_size=len(STAGE_FILES) - 1))
def test_any_part_of_a_run_is_told_and_invents_nothing(
    missing: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = make_run(tmp_path_factory.mktemp("part") / "ug", "ug")
    for name in missing:
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    report = gather_run(run)
    page, card = render_html(report), render_card(report)
    assert "None" not in page
    assert "None" not in card
    if "ner" in missing:
        assert "43.0" not in page
        assert "43.0" not in card
        assert all(row["zero-shot F1"] == "—" for row in summary_rows(report))
    if {"encoders.json", "vocab"} <= missing:
        assert "61.3" not in page
        assert "61.3" not in card


def test_missing_numbers_are_dashes_not_zeros(run: Path) -> None:
    write_json(run / "encoders.json", {"extended": {"unk_rate": 0.0}})
    shutil.rmtree(run / "vocab")
    shutil.rmtree(run / "ner")
    shutil.rmtree(run / "pretrain")
    (row,) = summary_rows(gather_run(run))
    assert row["UNK words"] == "0.0 %"
    assert {row[title] for title in row if title not in ("encoder", "UNK words")} == {"—"}


def test_a_number_that_is_not_finite_was_not_measured(run: Path) -> None:
    write_text(run / "encoders.json", '{"base": {"unk_rate": NaN, "mlm_loss": Infinity}}')
    base = summarise(gather_run(run))[0]
    assert base.mlm_loss == 2.407  # the other file that measured it
    assert base.unk_rate == 0.613


def test_summary_takes_the_runs_language_not_the_first(run: Path) -> None:
    results = ner_results("zero-shot", "si")
    for encoder in results["encoders"].values():
        encoder["aa"] = {"f1_mean": 99.0}
    results["encoders"] = {
        name: dict(sorted(languages.items())) for name, languages in results["encoders"].items()
    }
    write_json(run / "ner" / "zero-shot" / "results.json", results)
    assert summarise(gather_run(run))[1].zero_shot_f1 == 43.0


def test_a_line_cut_by_a_kill_is_passed_over_and_a_broken_one_is_told(run: Path) -> None:
    metrics = run / "pretrain" / "metrics.jsonl"
    whole = metrics.read_bytes()
    write_text(metrics, whole.decode() + '{"step": 2020, "mlm_lo')
    stage = gather_run(run).pretraining
    assert stage is not None
    assert stage.log[-1].step == 2000
    write_text(metrics, '{"step": 20, \n' + whole.decode())
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl:1 is not valid JSON"):
        gather_run(run)


def test_a_step_logged_twice_counts_once_as_logged_last(run: Path) -> None:
    append_line(
        run / "pretrain" / "metrics.jsonl", json.dumps({"step": 40, "mlm_loss": 1.25, "stage": "all"})
    )
    stage = gather_run(run).pretraining
    assert stage is not None
    assert len(stage.log) == 100
    assert stage.log[1].mlm_loss == 1.25


BROKEN = [
    ("encoders.json", '{"base": {"unk_rate": "low"}}', "encoders.json: base: unk_rate: expected a number"),
    ("encoders.json", '{"base": 3}', "encoders.json: base: expected a table"),
    ("encoders.json", "[1]", "expected a table"),
    ("encoders.json", "{", "not valid JSON"),
    ("encoders.json", "[" * 100_000, "not valid JSON"),
    ("encoders.json", '{"base": {"unk_rate": 1' + "0" * 400 + "}}", "expected a number that fits"),
    ("run.toml", "lang = ", "not valid TOML"),
    ("vocab/examples.json", '[{"word": 3}]', r"examples.json\[0\]: word: expected text"),
    ("grown/rows.jsonl", '{"sources": 3}\n', "rows.jsonl:1: sources: expected a list"),
    ("pretrain/metrics.jsonl", '{"loss": 3}\n', "metrics.jsonl:1: a logged step has no number"),
    ("ner/zero-shot/results.json", '{"encoders": []}', "results.json: encoders: expected a table"),
]


@pytest.mark.parametrize(("name", "content", "told"), BROKEN)
def test_a_broken_file_is_named_with_its_place_and_nothing_is_written(
    run: Path, name: str, content: str, told: str
) -> None:
    write_text(run / name, content)
    with pytest.raises(CheckpointError, match=told) as raised:
        write_report(run)
    assert raised.value.exit_code == 8
    assert not (run / "report.html").exists()
    assert not (run / "README.md").exists()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMED = ("manifest.json", "encoders.json", "vocab/report.json", "grown/report.json", "pretrain/report.json")


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(NAMED), value=JSON)
def test_any_json_is_shown_or_told_never_a_crash(
    name: str, value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = make_run(tmp_path_factory.mktemp("any") / "ka", "ka")
    write_text(run / name, json.dumps(value))
    try:
        written = write_report(run)
    except CheckpointError:
        written = []
    assert all(path.is_file() for path in written)


def test_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(PathError, match="is not a run folder"):
        gather_run(tmp_path / "nowhere")
    with pytest.raises(PathError, match="holds no file of a run"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_rows_are_counted_all_and_shown_a_few_of_every_kind(run: Path) -> None:
    rows = [{"piece": f"p{i}", "method": "subword", "sources": [[1, 1.0]]} for i in range(500)]
    rows[251] |= {"sources": [], "fallback": "mean", "why": "every piece is unknown"}
    write_text(run / "grown" / "rows.jsonl", "".join(map(json_line, rows)))
    growth = gather_run(run).growth
    assert growth is not None
    assert growth.methods == {"subword": 499, "mean": 1}
    assert growth.reasons == {"every piece is unknown": 1}
    shown = [row.piece for row in growth.examples]
    assert len(shown) <= ROW_EXAMPLES
    assert "p251" in shown
    assert shown[0] == "p0"
    assert shown[-1] == "p499"
    assert growth.examples[0].sources == (("[UNK]", 1.0),)  # base id 1 by the vocabulary beside it


def test_the_report_is_the_same_bytes_twice_and_stands_beside_the_model(run: Path) -> None:
    (run / "model").mkdir()
    first = {path: path.read_bytes() for path in write_report(run)}
    assert set(first) == {run / "report.html", run / "README.md", run / "model" / "README.md"}
    assert {path: path.read_bytes() for path in write_report(run)} == first
    assert first[run / "README.md"] == first[run / "model" / "README.md"]


def test_findings_say_noise_gain_and_identity(run: Path) -> None:
    results = ner_results("zero-shot", "si")
    results["differences"]["en"]["extended"]["identical"] = True
    results["differences"]["si"]["extended"] |= {"f1": -3.0, "ci95": [-5.0, -1.0]}
    write_json(run / "ner" / "zero-shot" / "results.json", results)
    told = {finding.text: finding.kind for finding in findings(gather_run(run))}
    assert told["Source language en: the very same tags as base."] == "kept"
    assert (
        told["Zero-shot NER on si: −3.0 F1 points over base, 95 % interval [−5.0, −1.0], p < 0.001."]
        == "loss"
    )
    results["differences"]["si"]["extended"]["ci95"] = [-7.0, 1.0]
    write_json(run / "ner" / "zero-shot" / "results.json", results)
    assert any(f.kind == "noise" and "inside the noise" in f.text for f in findings(gather_run(run)))


def test_cautions_single_seed_collapse_and_words_lost(run: Path) -> None:
    results = ner_results("supervised", "si")
    results["encoders"]["base"]["si"] |= {"f1": [38.5], "collapsed": 1}
    write_json(run / "ner" / "supervised" / "results.json", results)
    report = read_json(run / "vocab" / "report.json")
    report["drift"]["words_newly_unk"] = 0.03
    write_json(run / "vocab" / "report.json", report)
    told = " ".join(finding.text for finding in findings(gather_run(run)))
    assert "Supervised, one seed only, spread unknown: base on si." in told
    assert "Supervised, collapsed seeds: base on si, 1 of 1." in told
    assert "became unknown: 3.0 %" in told


def test_costs_name_every_stage_that_ran(run: Path) -> None:
    told = {cost.stage: cost.seconds for cost in costs(gather_run(run))}
    assert list(told) == ["vocabulary", "growth", "pretraining", "NER zero-shot", "NER supervised"]
    assert told["vocabulary"] == 21.4
    assert told["NER supervised"] == 312.5
