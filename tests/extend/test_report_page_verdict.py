"""The verdict and the story at the head of the report: what they say, and that the files say it too."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from extend.report import gather_run, render_html
from extend.report.nouns import Difference
from extend.report.story import steps
from extend.report.tables import findings
from extend.report.verdict import HEADLINES, verdict
from extend.store import read_json, write_json
from tests.extend.test_report_page import Outline
from tests.runs import make_run

GAIN = {"against": "base", "f1": 9.0, "ci95": [6.5, 11.0], "p_holm": 0.001, "identical": False}
LOSS = GAIN | {"f1": -9.0, "ci95": [-11.0, -6.5]}
NOISE = GAIN | {"f1": 1.0, "ci95": [-1.5, 3.0], "p_holm": 0.4}
CHANCE = GAIN | {"p_holm": 0.05}  # the interval is clear of zero, the corrected p is not small enough
SAME = NOISE | {"f1": 0.0, "ci95": [0.0, 0.0], "p_holm": 1.0, "identical": True}
UNKNOWN = {"against": "base", "f1": 9.0}
FORGOTTEN = {"before": 3.0, "now": 3.5, "change": 0.5, "standard_error": 0.01}
UNSURE = FORGOTTEN | {"change": 0.01}


def judged_run(
    directory: Path,
    *,
    zero_shot: dict[str, Any],
    supervised: dict[str, Any],
    source: dict[str, Any] = NOISE,
    forgetting: dict[str, Any] | None = None,
) -> Path:
    run = make_run(directory / "ug", "ug")
    for name, gaps in (("zero-shot", {"ug": zero_shot, "en": source}), ("supervised", {"ug": supervised})):
        path = run / "ner" / name / "results.json"
        told = {language: {"extended": gap} for language, gap in gaps.items()}
        write_json(path, read_json(path) | {"differences": told})
    path = run / "pretrain" / "report.json"
    write_json(path, read_json(path) | {"forgetting": forgetting or {}})
    return run


@pytest.mark.parametrize(
    ("kind", "gaps"),
    [
        ("helped", {"zero_shot": GAIN, "supervised": NOISE}),
        ("helped", {"zero_shot": GAIN, "supervised": GAIN, "source": GAIN, "forgetting": {"ar": UNSURE}}),
        ("price", {"zero_shot": GAIN, "supervised": GAIN, "source": LOSS}),
        ("price", {"zero_shot": GAIN, "supervised": GAIN, "forgetting": {"ar": FORGOTTEN}}),
        ("mixed", {"zero_shot": GAIN, "supervised": LOSS}),
        ("noise", {"zero_shot": NOISE, "supervised": NOISE, "source": LOSS}),
        ("noise", {"zero_shot": CHANCE, "supervised": SAME}),
        ("harmed", {"zero_shot": LOSS, "supervised": NOISE}),
        ("spelled", {"zero_shot": UNKNOWN, "supervised": UNKNOWN}),
    ],
)
def test_the_verdict_follows_from_the_differences(tmp_path: Path, kind: str, gaps: dict[str, Any]) -> None:
    run = judged_run(tmp_path, **gaps)
    told = verdict(gather_run(run))
    assert (told.kind, told.headline) == (kind, HEADLINES[kind].format(language="Uyghur"))
    outline = Outline(render_html(gather_run(run)))
    assert told.headline in outline.text
    assert ("section", "class", f"verdict {kind}") in outline.attributes


def test_without_ner_the_verdict_rests_on_the_tokenizer_and_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "ug", "ug")
    shutil.rmtree(run / "ner")
    told = verdict(gather_run(run))
    assert told.headline == "Uyghur can be read now. Whether that helps a task was not measured."
    assert told.reasons[0] == "Words that the tokenizer cannot spell: 61.3 % before, 0.4 % now."
    (run / "encoders.json").unlink()
    shutil.rmtree(run / "vocab")
    assert verdict(gather_run(run)).kind == "open"


def test_the_reasons_tell_the_noise_the_price_and_a_single_seed(tmp_path: Path) -> None:
    run = judged_run(
        tmp_path, zero_shot=GAIN, supervised=SAME, source=LOSS, forgetting={"ar": FORGOTTEN, "en": UNSURE}
    )
    path = run / "ner" / "zero-shot" / "results.json"
    results = read_json(path)
    for languages in results["encoders"].values():
        for score in languages.values():
            score["f1"] = score["f1"][:1]
    write_json(path, results)
    told = verdict(gather_run(run))
    assert told.reasons == (
        "Zero-shot NER, heads trained on en alone: from 3.6 to 43.0 F1 (+9.0, 95 % interval [6.5, 11.0]); "
        "one seed, so the spread between seeds is unknown.",
        "Supervised NER: the very same tags as the base's.",
        "The bilingual encoder, trained from scratch, reaches 31.2 F1 zero-shot and 57.0 F1 supervised.",
        "Words that the tokenizer cannot spell: 61.3 % before, 0.4 % now.",
        "Zero-shot NER on en: −9.0 F1 points, 95 % interval [−11.0, −6.5].",
        "Old language ar: partly forgotten, held-out loss +0.500 ± 0.010 nats.",
    )


def test_a_p_that_is_not_small_enough_makes_a_clear_interval_noise(tmp_path: Path) -> None:
    """ner-eval calls it noise; the report may not call the same difference a gain."""
    chance = Difference("ug", "extended", "base", 9.0, (6.5, 11.0), p=0.05)
    assert (chance.noise, chance.kind) == (True, "noise")
    assert Difference("ug", "extended", "base", 9.0, (6.5, 11.0), p=0.049).kind == "gain"
    assert Difference("ug", "extended", "base", -9.0, (-11.0, -6.5)).kind == "loss"
    run = judged_run(tmp_path, zero_shot=CHANCE, supervised=CHANCE)
    told = [finding for finding in findings(gather_run(run)) if "NER on ug" in finding.text]
    assert {finding.kind for finding in told} == {"noise"}


def numbers_of(value: Any) -> Iterator[float]:
    """Every number of a file, the length of every list, and how many there are in every table."""
    if isinstance(value, dict | list):
        yield float(len(value))
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers_of(item)
    elif isinstance(value, int | float):
        yield float(value)


def test_every_number_of_the_verdict_and_the_story_is_a_files(tmp_path: Path) -> None:
    run = make_run(tmp_path / "ug", "ug")
    write_json(run / "pushed.json", {"repo": "me/extend-ug", "commit": "cd" * 20, "time": "yesterday"})
    path = run / "vocab" / "report.json"
    write_json(path, read_json(path) | {"certificate": {"held": ["ids", "reload", "drift"], "probes": 70}})
    report = gather_run(run)
    found = {95.0}  # of the interval's name
    for file in (*run.rglob("*.json"), *run.rglob("*.jsonl")):
        text = file.read_text("utf-8")
        for line in text.splitlines() if file.suffix == ".jsonl" else [text]:
            found |= set(numbers_of(json.loads(line)))
    story = steps(report)
    assert [step.anchor for step in story] == [
        "vocabulary",
        "rows",
        "pretraining",
        "ner-1",
        "ner-2",
        "provenance",
    ]
    texts = [*verdict(report).reasons, *(step.text for step in story if step.title != "Published")]
    told = [token for text in texts for token in re.findall(r"\d[\d,]*(?:\.\d+)?", text)]
    assert len(told) > 25
    rows = (run / "grown" / "rows.jsonl").read_text("utf-8").splitlines()
    found |= {float(len(rows)), float(sum('"fallback": "mean"' in row for row in rows))}
    for token in told:
        digits = len(token.partition(".")[2])
        value = float(token.replace(",", ""))
        assert any(
            round(abs(known) * scale, digits) == pytest.approx(value, abs=10**-digits * 1e-6)
            for known in found
            for scale in (1, 100)
        ), token


def test_the_story_leaves_out_what_did_not_happen(tmp_path: Path) -> None:
    run = make_run(tmp_path / "ug", "ug")
    shutil.rmtree(run / "ner")
    shutil.rmtree(run / "pretrain")
    assert [step.title for step in steps(gather_run(run))] == ["Pieces learned", "Rows grown"]
    text = Outline(render_html(gather_run(run))).text
    assert "Continued pretraining" not in text
    assert "Training went on" not in text


def test_the_contents_name_the_sections_that_there_are(tmp_path: Path) -> None:
    run = make_run(tmp_path / "ug", "ug")
    page = render_html(gather_run(run), passport=[("BCP 47", "ug-Arab")])
    ids = re.findall(r'<section id="([^"]+)"', page)
    links = re.findall(r'<li><a href="#([^"]+)">[^<]*</a></li>', page)
    assert links == ids
    assert {"forgetting", "language", "ner-1", "ner-2"} < set(ids)
    for name in ("ner", "pretrain", "grown"):
        shutil.rmtree(run / name)
    smaller = render_html(gather_run(run))
    assert re.findall(r'<li><a href="#([^"]+)">[^<]*</a></li>', smaller) == [
        "verdict", "done", "findings", "summary", "vocabulary", "costs", "provenance",
    ]  # fmt: skip
