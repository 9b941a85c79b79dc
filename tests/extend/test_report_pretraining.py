"""The report's part on training: what the files say, in curves, tables and words, and nothing else."""

import re
from pathlib import Path

import pytest

from extend.errors import CheckpointError
from extend.report import gather_run, render_card, render_html
from extend.report.nouns import Forgetting, HeldOutLoss, PretrainStage, TrainingEvent
from extend.report.pretraining_part import MOST_EVENTS, in_words, pretraining_part, told_change, told_event
from extend.report.tables import findings
from extend.store import read_json, write_json, write_text
from tests.extend.test_report_page import Outline
from tests.runs import json_line, loss_entry, make_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "ug", "ug")


def stage_of(run: Path) -> PretrainStage:
    stage = gather_run(run).pretraining
    assert stage is not None
    return stage


def test_held_out_losses_stand_with_error_and_perplexity_the_new_language_first(run: Path) -> None:
    part = pretraining_part(stage_of(run), "ug")
    assert [row[0] for row in part.losses] == ["ug", "en", "ar"]
    assert part.losses[0] == ("ug", "8.240", "3.921", "0.027", "3,791", "50.5")
    assert [curve.title for curve in part.held_out_curves] == ["ug", "en", "ar"]
    assert part.forgetting == (
        ("en", "3.405", "3.409", "3.412", "+0.003 ± 0.004", "no change beyond noise"),
        ("ar", "3.000", "3.021", "3.301", "+0.280 ± 0.011", "partly forgotten"),
    )
    assert part.how == "Trained on cpu, 1 process, bf16, 32 samples a forward pass, reproducible to the bit."
    assert part.ended == ""


@pytest.mark.parametrize(
    ("change", "error", "told", "words"),
    [
        (0.0, 0.0, "0.000 ± 0.000", "the very same"),
        (0.019, 0.01, "+0.019 ± 0.010", "no change beyond noise"),
        (-0.019, 0.01, "−0.019 ± 0.010", "no change beyond noise"),
        (0.02, 0.01, "+0.020 ± 0.010", "partly forgotten"),
        (-0.02, 0.01, "−0.020 ± 0.010", "better than before"),
        (0.3, None, "+0.300", "partly forgotten, as far as one block tells"),
    ],
)
def test_a_change_is_told_in_words_by_its_error(
    change: float, error: float | None, told: str, words: str
) -> None:
    measured = Forgetting(3.0, 3.0 + change, change, error)
    assert told_change(measured) == told
    assert in_words(measured) == words


def test_findings_have_every_old_language_by_what_became_of_it(run: Path) -> None:
    told = {finding.text: finding.kind for finding in findings(gather_run(run))}
    assert told["Old language en: +0.003 ± 0.004 nats of held-out loss, no change beyond noise."] == "noise"
    assert told["Old language ar: +0.280 ± 0.011 nats of held-out loss, partly forgotten."] == "loss"
    assert told["Training left out 1 step."] == "note"


def test_noise_is_not_drawn_as_a_slope(run: Path) -> None:
    """The range of the axis is at least 0.2 nats: 0.003 of them are a hundredth of its height."""
    curve = next(c for c in pretraining_part(stage_of(run), "ug").held_out_curves if c.title == "en")
    found = re.search('class="mean" d="M([^"]*)"', curve.drawing)
    assert found is not None
    heights = [float(pair.split()[1]) for pair in found[1].split("L")]
    assert max(heights) - min(heights) < 300 * 0.02


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (
            TrainingEvent(412, "spike", "", "rewind", 9.31, 4.02, 0.11, (64, 95)),
            "Step 412: the loss jumped to 9.31, where the steps before had 4.02 ± 0.11 (samples 64 to 95); "
            "the run went back to its last checkpoint and left these samples out.",
        ),
        (
            TrainingEvent(7, "left-out", "not finite", samples=(64, 95)),
            "Step 7 was left out (samples 64 to 95): not finite.",
        ),
        (TrainingEvent(9, "stopped", "no gain"), "Step 9: stopped, for no gain."),
        (TrainingEvent(9, "else"), "Step 9: else."),
    ],
)  # fmt: skip
def test_events_are_sentences(event: TrainingEvent, told: str) -> None:
    assert told_event(event) == told


def test_a_rewind_is_told_at_the_step_it_was_for(run: Path) -> None:
    write_text(run / "pretrain" / "events.jsonl", '{"step": 400, "event": "spike", "at": 412}\n')
    (event,) = stage_of(run).events
    assert event.step == 412


def test_many_events_are_counted(run: Path) -> None:
    events = [{"step": step, "event": "left-out", "why": "not finite"} for step in range(1, 51)]
    write_text(run / "pretrain" / "events.jsonl", "".join(map(json_line, events)))
    part = pretraining_part(stage_of(run), "ug")
    assert (len(part.events), part.more_events) == (MOST_EVENTS, 30)
    assert "50 events" in Outline(render_html(gather_run(run))).text


def test_a_run_that_ended_early_says_why_on_page_and_card(run: Path) -> None:
    report = read_json(run / "pretrain" / "report.json")
    write_json(run / "pretrain" / "report.json", report | {"ended": "held-out loss <b>no longer</b> falls"})
    page, card = render_html(gather_run(run)), render_card(gather_run(run))
    assert "It ended before its last step: held-out loss <b>no longer</b> falls." in Outline(page).text
    assert "&lt;b&gt;no longer&lt;/b&gt;" in page
    assert "It ended before its last step" in card
    assert "<b>" not in card


def test_the_card_has_the_tables(run: Path) -> None:
    card = render_card(gather_run(run))
    assert "| ug | 8.240 | 3.921 | 0.027 | 3,791 | 50.5 |" in card
    assert r"| ar | 3.000 | 3.021 | 3.301 | \+0.280 ± 0.011 | partly forgotten |" in card


def test_names_from_files_are_text_only(run: Path) -> None:
    name = '"><svg onload=x>\u202e'
    report = read_json(run / "pretrain" / "report.json")
    report["held_out"][name] = loss_entry(3.0)
    report["forgetting"][name] = {"before": 1, "now": 2, "change": 1, "standard_error": 0.1}
    write_json(run / "pretrain" / "report.json", report)
    lines = [{"step": step, "held_out": {name: loss_entry(3.0 + step)}} for step in (0, 1)]
    write_text(run / "pretrain" / "held_out.jsonl", "".join(map(json_line, lines)))
    page = render_html(gather_run(run))
    outline = Outline(page)
    assert "onload" not in {attribute for _, attribute, _ in outline.attributes}
    assert "\u202e" not in page
    assert '"><svg onload=x>\\u202e' in outline.text


def test_a_run_of_an_older_release_is_told_as_far_as_it_goes(run: Path) -> None:
    (run / "pretrain" / "events.jsonl").unlink()
    write_text(run / "pretrain" / "held_out.jsonl", '{"step": 1000, "held_out": {"ug": {"mlm_loss": 4.5}}}\n')
    write_json(run / "pretrain" / "report.json", {"steps": 2000, "held_out": {"ug": {"mlm_loss": 3.9}}})
    stage = stage_of(run)
    assert stage.evaluations == ((1000, {"ug": HeldOutLoss(4.5)}),)
    part = pretraining_part(stage, "ug")
    assert part.losses == (("ug", "—", "3.900", "—", "—", "—"),)
    assert (part.forgetting, part.events, part.held_out_curves, part.how) == ((), (), (), "")
    assert "Old languages" not in Outline(render_html(gather_run(run))).text


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("events.jsonl", '{"step": "x"}\n', r"events\.jsonl:1: step: expected a number"),
        ("held_out.jsonl", '{"step": 1, "held_out": {"ug": 3}}\n', r"held_out: ug: expected a table"),
        ("report.json", '{"forgetting": {"en": {"before": "low"}}}', r"en: before: expected a number"),
    ],
)
def test_a_broken_file_is_named(run: Path, name: str, content: str, told: str) -> None:
    write_text(run / "pretrain" / name, content)
    with pytest.raises(CheckpointError, match=told):
        gather_run(run)
