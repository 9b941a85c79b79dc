"""The card's proofs: every number from a file, metadata and results that hubs take, sources and licences."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from extend.errors import DataError
from extend.hub import check_card, check_results
from extend.hub.publication import ALLOWED, OWN_RESULTS
from extend.report import card as card_room
from extend.report import gather_run, render_card
from extend.report.card_metadata import hub_language
from extend.report.card_results import result_files
from extend.report.text import duration
from extend.store import read_json, write_json
from tests.runs import make_run, ner_results

TEMPLATE = Path(card_room.__file__).with_name("card.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?!\w)")
RECORD: dict[str, Any] = {
    "schema": 1,
    "language": "si",
    "card_language": "si",
    "corpus": {"sources": ["hf:wikimedia/wikipedia:20231101.si", "/somebody/books.txt.gz"]},
    "ner": {
        "zero-shot": {
            "data": {
                "en": {"test": {"sha256": "ef" * 32, "source": "hf:unimelb-nlp/wikiann:en:test"}},
                "si": {"test": {"sha256": "ef" * 32, "source": "hf:unimelb-nlp/wikiann:si:test"}},
            }
        },
        "supervised": {"data": {"si": {"train": {"sha256": "ab" * 32, "file": "train.conll"}}}},
    },
    "licenses": {},
}
CERTIFICATE = {
    "assertions": [
        {"number": 1, "name": "ids", "holds": True, "detail": ""},
        {"number": 4, "name": "reload", "holds": True, "detail": ""},
        {"number": 5, "name": "old rows", "holds": False, "detail": "row 3 differs"},
        {"number": 8, "name": "drift", "holds": None, "detail": "no base"},
    ],
    "versions": {"transformers": "5.23.0"},
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose evaluation has a record, and whose model a certificate."""
    folder = make_run(tmp_path / "si")
    write_json(folder / "reproduce.json", RECORD)
    write_json(folder / "certificate.json", CERTIFICATE)
    results = ner_results("zero-shot", "si")
    for languages in results["encoders"].values():
        for cell in languages.values():
            cell["seeds"] = [1, 2, 3, 4, 5]
    write_json(folder / "ner" / "zero-shot" / "results.json", results)
    return folder


def card_of(folder: Path) -> str:
    return render_card(gather_run(folder))


def strangers(card: str, folder: Path) -> set[str]:
    """The numbers of a card that no file of the run holds, in any rounding, and the template neither."""
    files = [path for path in folder.rglob("*") if path.suffix in (".json", ".jsonl", ".toml")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    known = {*NUMBER.findall(TEMPLATE), "95", "0.001"}
    for told in set(re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", text)):
        value = abs(float(told))
        known |= {told, *NUMBER.findall(duration(value))}
        known |= {f"{value * scale:.{digits}f}" for scale in (1, 100) for digits in (0, 1, 2, 3)}
    return {told for told in NUMBER.findall(card) if told.replace(",", "").rstrip(",") not in known}


def test_every_number_of_the_card_stands_in_a_file(run: Path) -> None:
    card = card_of(run)
    assert strangers(card, run) == set()
    assert len(NUMBER.findall(card)) > 100
    assert strangers(f"{card}\nIt is 77.77 times better and 31,337 words wiser.\n", run) == {
        "77.77",
        "31,337",
    }


def test_a_number_that_leaves_its_file_leaves_the_card(run: Path) -> None:
    assert "43.0" in card_of(run)
    for path in run.glob("ner/*/results.json"):
        path.unlink()
    card = card_of(run)
    assert "43.0" not in card
    assert strangers(card, run) == set()


def test_scores_on_sets_of_a_hub_become_results_that_the_client_reads(run: Path) -> None:
    files = result_files(gather_run(run))
    assert set(files) == {
        ".eval_results/extend-zero-shot-en.yaml",
        ".eval_results/extend-zero-shot-si.yaml",
        ".eval_results/extend-supervised-si.yaml",
    }
    for name, text in files.items():
        assert OWN_RESULTS.fullmatch(name)
        assert ALLOWED.fullmatch(name)
        check_results(text)
        assert not strangers(text, run)
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[".eval_results/extend-zero-shot-si.yaml"]))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("unimelb-nlp/wikiann", "si", 43.0)
    assert entry.notes is not None
    for told in ("zero-shot from en", "mean of 5 seeds", "40.3 to 45.7", "before extension: 3.6"):
        assert told in entry.notes


def test_sets_from_files_have_no_results_but_stand_in_the_card(run: Path) -> None:
    (run / "reproduce.json").unlink()
    assert result_files(gather_run(run)) == {}
    data = ModelCard(card_of(run)).data
    assert {result.dataset_type for result in data.eval_results or ()} == {"ner-en", "ner-si"}


def test_metadata_name_datasets_and_base_and_pass_the_check(run: Path) -> None:
    card = card_of(run)
    check_card(card)
    data = ModelCard(card).data
    assert data.datasets == ["wikimedia/wikipedia", "unimelb-nlp/wikiann"]
    assert data.base_model == "example/base-multilingual"
    told = {(result.dataset_type, result.dataset_config) for result in data.eval_results or ()}
    assert told == {("unimelb-nlp/wikiann", "en"), ("unimelb-nlp/wikiann", "si")}


def test_sources_and_licences_are_told_and_no_folder_is(run: Path) -> None:
    card = card_of(run)
    assert "| text | hf:wikimedia/wikipedia:20231101.si | CC BY-SA 3.0 and GFDL |" in card
    assert "| text | books.txt.gz | not stated |" in card
    assert "| NER si train | train.conll | not stated | abababababababab |" in card
    assert "/somebody" not in card
    licenses = {"model": "cc-by-sa-4.0", "corpus": "CC0", "ner": "CC BY 4.0"}
    write_json(run / "reproduce.json", {**RECORD, "licenses": licenses})
    card = card_of(run)
    assert ModelCard(card).data.license == "cc-by-sa-4.0"
    assert "books.txt.gz | CC0 |" in card
    assert "train.conll | CC BY 4.0 |" in card
    assert "not stated" not in card


def test_seeds_the_certificate_and_what_failed_are_told(run: Path) -> None:
    card = card_of(run)
    assert "Heads with the seeds 1, 2, 3, 4, 5." in card
    assert "Held: ids, reload." in card
    assert "**Did not hold:** old rows." in card
    assert "Not looked at: drift." in card
    against = card.split("What speaks against it:")[1].split("###")[0]
    assert "Old language ar" in against
    (run / "certificate.json").unlink()
    assert "read again in a new process" not in card_of(run)


@pytest.mark.parametrize(
    ("code", "told", "language", "tag"),
    [("si", "si", ["si", "multilingual"], False), ("qad", "", ["multilingual"], True)],
)
def test_the_recorded_language_wins(run: Path, code: str, told: str, language: list[str], tag: bool) -> None:
    manifest = read_json(run / "manifest.json")
    write_json(run / "manifest.json", {**manifest, "language": code})
    write_json(run / "reproduce.json", {**RECORD, "card_language": told})
    card = card_of(run)
    check_card(card)
    data = ModelCard(card).data
    assert data.language == language
    assert (code in (data.tags or [])) is tag


def test_codes_that_hubs_take() -> None:
    codes = {"ug-Arab": "ug", "uig": "uig", "qaa": "", "qtz": "", "x-made": "", "sr_Latn": "sr", "quz": "quz"}
    assert {code: hub_language(code) for code in codes} == codes


GOOD = "---\nlanguage: si\nlicense: apache-2.0\n---\n# Name\n"
INDEX = """model-index:
- name: x
  results:
  - task: {type: a}
    dataset: {type: d, name: d}
    metrics:
"""


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        ("# No metadata\n", "does not begin with metadata"),
        ("---\n[\n---\nText\n", "not YAML"),
        ("---\n- a\n---\nText\n", "not a mapping"),
        ("---\nlicense: mit\n---\n\n", "no text"),
        (GOOD.replace("si", "no"), "language False"),
        (GOOD.replace("si", "qad"), "'qad'"),
        (GOOD.replace("si", "Sinhala"), "'Sinhala'"),
        (GOOD.replace("apache-2.0", "Apache 2.0"), "license"),
        (GOOD.replace("apache-2.0", "other"), "license_name"),
        (GOOD.replace("---\n#", "base_model: a/b/c\n---\n#"), "base_model"),
        (GOOD.replace("---\n#", "datasets: [a//b]\n---\n#"), "datasets"),
        (GOOD.replace("---\n#", "tags: [1.5]\n---\n#"), "tags"),
        (GOOD.replace("---\n#", "model-index: [{name: x}]\n---\n#"), "model_index"),
        (GOOD.replace("---\n#", INDEX + "    - {type: f1, value: .nan}\n---\n#"), "no number"),
    ],
)
def test_a_card_that_no_hub_would_take_is_refused_with_the_reason(card: str, reason: str) -> None:
    check_card(GOOD)
    check_card(GOOD.replace("---\n#", INDEX + "    - {type: f1, value: 1.5}\n---\n#"))
    with pytest.raises(DataError) as told:
        check_card(card)
    assert told.value.name == "E-CARD"
    assert told.value.exit_code == 3
    assert reason in told.value.why


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: b\n",
        "- [\n",
        "- value: 1\n",
        "- dataset: {id: a//b, task_id: t}\n  value: 1\n",
        "- dataset: {id: a/b, task_id: t}\n  value: high\n",
        "- dataset: {id: a/b, task_id: t}\n  value: .nan\n",
        "- dataset: {id: a/b, task_id: t}\n  value: true\n",
    ],
)
def test_results_that_hubs_do_not_read_are_refused(text: str, tmp_path: Path) -> None:
    check_results("- dataset: {id: a/b, task_id: t}\n  value: 1\n")
    (tmp_path / "results.yaml").write_text(text)
    with pytest.raises(DataError) as told:
        check_results(tmp_path / "results.yaml")
    assert told.value.name == "E-RESULTS"


def test_a_card_of_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(b"---\n\xff\n---\n")
    with pytest.raises(DataError, match=r"README\.md"):
        check_card(tmp_path / "README.md")
