"""The card: metadata a hub reads back, prose no Markdown reader misreads, the files' numbers only."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from extend.report import gather_run, render_card
from extend.report.text import direction, duration, markdown, number, percent, shown, size, yaml_text
from extend.store import read_json, write_json
from tests.runs import make_run, ner_results

PARSER = MarkdownIt("gfm-like", {"linkify": False}).enable("table")
BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
ODD = [
    "<script>alert(1)</script>",
    "a | b",
    "[x](http://evil.example)",
    "![x](y)",
    "`code`",
    "**bold** _it_ ~~s~~",
    "# head",
    "- item",
    "+ item",
    "---",
    "a\nb: c",
    "no",
    "1e-5",
    "\u202egnp.exe",
    "\\",
    "&amp;",
    "@someone",
    "http://evil.example www.evil.example",
    "\x00\x85\u2028",
    "\U000e0001tag",
    "'\"",
    "{{ 7 * 7 }}",
    "{% raw %}",
]
TEXT = st.sampled_from(ODD) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def card_of(directory: Path, language: str = "si") -> str:
    return render_card(gather_run(make_run(directory / language, language)))


def metadata(card: str) -> dict[str, Any]:
    loaded = yaml.safe_load(card.split("---\n")[1])
    assert isinstance(loaded, dict)
    return loaded


def body(card: str) -> str:
    return card.split("---\n", 2)[2]


def test_the_hub_client_reads_the_metadata(tmp_path: Path) -> None:
    card = ModelCard(card_of(tmp_path))
    assert card.data.language == ["si", "multilingual"]
    assert card.data.base_model == "example/base-multilingual"
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "fill-mask")
    assert card.data.eval_results is not None
    told = {(result.dataset_name, result.task_name): result.metric_value for result in card.data.eval_results}
    assert told == {
        ("NER test set, en", "NER on the frozen encoder, zero-shot from en"): 81.9,
        ("NER test set, si", "NER on the frozen encoder, zero-shot from en"): 43.0,
        ("NER test set, si", "NER on the frozen encoder, supervised"): 61.8,
    }


def test_every_decimal_in_the_results_stands_in_a_file(tmp_path: Path) -> None:
    run = make_run(tmp_path / "si")
    card = render_card(gather_run(run))
    told = set(re.findall(r"\d+\.\d+", body(card).split("## Results")[1].split("## Vocabulary")[0]))
    files = [read_json(path) for path in sorted(run.rglob("*.json"))]
    files += [json.loads(line) for path in run.rglob("*.jsonl") for line in path.read_text().splitlines()]
    values = [value for file in files for value in numbers_of(file)]
    spelled = {
        f"{abs(value) * scale:.{digits}f}" for value in values for scale in (1, 100) for digits in (1, 2, 3)
    }
    assert told - spelled - {"0.001"} == set()
    assert len(told) > 20


def numbers_of(value: object) -> list[float]:
    if isinstance(value, dict):
        return [number for inner in value.values() for number in numbers_of(inner)]
    if isinstance(value, list):
        return [number for inner in value for number in numbers_of(inner)]
    return [float(value)] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


def test_no_folder_of_the_machine_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path / "si")
    manifest = read_json(run / "manifest.json")
    write_json(
        run / "manifest.json", manifest | {"base": "/home/somebody/secret/base", "base_revision": None}
    )
    card = render_card(gather_run(run))
    assert "somebody" not in card
    assert "secret" not in card
    assert str(tmp_path) not in card
    assert "base_model" not in metadata(card)
    assert "a base of the user's own" in body(card)


@pytest.mark.parametrize(
    ("code", "languages", "bcp47"),
    [
        ("si", ["si", "multilingual"], None),
        ("ug-Arab", ["ug", "multilingual"], ["ug-Arab"]),
        ("no", ["no", "multilingual"], None),
        ("qad", ["multilingual"], ["qad"]),
        ("x-made", ["multilingual"], ["x-made"]),
    ],
)
def test_language_codes_a_hub_accepts(tmp_path: Path, code: str, languages: list[str], bcp47: object) -> None:
    run = make_run(tmp_path / "run")
    write_json(run / "manifest.json", {"language": code})
    data = metadata(render_card(gather_run(run)))
    assert data["language"] == languages
    assert data.get("language_bcp47") == bcp47


def test_the_licence_is_given_known_or_said_to_be_unknown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert metadata(render_card(gather_run(run)))["license"] == "unknown"
    assert "Settle them before sharing" in render_card(gather_run(run))
    assert metadata(render_card(gather_run(run), license="mit"))["license"] == "mit"
    mbert = {"language": "si", "base": "google-bert/bert-base-multilingual-cased", "base_revision": "0" * 40}
    write_json(run / "manifest.json", mbert)
    assert metadata(render_card(gather_run(run)))["license"] == "apache-2.0"


def test_a_weak_score_is_called_weak_and_an_unevaluated_run_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    results = ner_results("zero-shot", "si")
    results["encoders"]["extended"]["si"]["f1_mean"] = 12.8
    write_json(run / "ner" / "zero-shot" / "results.json", results)
    assert "Zero-shot F1 on si is 12.8: too low" in render_card(gather_run(run))
    for path in run.glob("ner/*/results.json"):
        path.unlink()
    assert "No task was evaluated" in render_card(gather_run(run))


@settings(max_examples=150, deadline=None)
@given(text=TEXT)
@example(text="\ufeff\u0378\U0010ffff\x7f")
def test_yaml_gives_any_text_back(text: str) -> None:
    assert yaml.safe_load(f"key:\n- {yaml_text(text)}\n") == {"key": [text]}
    assert not BIDI.search(yaml_text(text))
    assert "\n" not in yaml_text(text)


@settings(max_examples=200, deadline=None)
@given(text=TEXT)
@example(text="+ item")
@example(text="1e-5")
@example(text="\\<")
def test_markdown_shows_any_text_as_it_is(text: str) -> None:
    tokens = PARSER.parse(f"| {markdown(text)} |\n| --- |\n\n- say: {markdown(text)}\n")
    kinds = [token.type for token in tokens]
    assert kinds.count("table_open") == 1
    assert kinds.count("th_open") == 1
    assert kinds.count("inline") == 2
    for token in (token for token in tokens if token.type == "inline"):
        inner = {child.type for child in token.children or []}
        assert inner <= {"text", "text_special", "softbreak"}
        plain = "".join(child.content for child in token.children or [])
        assert plain.removeprefix("say:").strip(" ") == shown(text).strip(" ")


@settings(max_examples=40, deadline=None)
@given(text=TEXT)
def test_a_card_of_odd_names_keeps_its_form(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    run = make_run(tmp_path_factory.mktemp("odd") / "si")
    kinds = [token.type for token in PARSER.parse(body(render_card(gather_run(run))))]
    manifest = read_json(run / "manifest.json")
    manifest |= {"language_name": text, "versions": {"python": text}}
    write_json(run / "manifest.json", manifest)
    results = read_json(run / "ner" / "zero-shot" / "results.json")
    results["encoders"] = json.loads(json.dumps(results["encoders"]).replace('"PER"', json.dumps(text)))
    write_json(run / "ner" / "zero-shot" / "results.json", results)
    write_json(
        run / "vocab" / "examples.json", [{"word": text, "count": 1, "before": [text], "after": [text]}]
    )
    card = render_card(gather_run(run))
    odd = [token.type for token in PARSER.parse(body(card))]
    blocks = ("heading_open", "table_open", "list_item_open", "fence", "html_block", "hr")
    assert {kind: odd.count(kind) for kind in blocks} == {kind: kinds.count(kind) for kind in blocks}
    assert not BIDI.search(card)
    assert metadata(card)["language"] == ["si", "multilingual"]


def test_small_words() -> None:
    assert number(None) == "—"
    assert number(-0.04) == "0.0"
    assert number(-3.25, 2) == "−3.25"
    assert number(12345.6) == "12,345.6"
    assert [percent(f) for f in (0.613, 0.0, 0.0004, 0.0005)] == ["61.3 %", "0.0 %", "under 0.1 %", "0.1 %"]
    assert percent(None) == "—"
    assert [duration(s) for s in (None, 3.14159, 42, 200, 7500)] == [
        "—",
        "3.1 s",
        "42 s",
        "3 min 20 s",
        "2 h 05 min",
    ]
    assert [size(n) for n in (None, 1023, 1536, 3 * 1024**3)] == ["—", "1023 B", "1.5 KiB", "3.0 GiB"]
    assert direction("##ئۇ") == "rtl"
    assert direction("##a ئ") == "ltr"
    assert direction("123") == "ltr"
    assert shown("a\u200d") == "a\\u200d"
    assert shown("ක්\u200dර") == "ක්\u200dර"
