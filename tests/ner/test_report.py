"""What ner-eval leaves: files that agree, words of any direction shown whole, nothing of a file as markup."""

import csv
import itertools
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ner.compare import compare, score_files
from ner.report import write_results
from ner.report.page import direction, shown
from ner.report.tables import json_text
from ner.results import Outcome, TestSet
from ner.screen import screen_text
from ner.tags import TaggedSentence
from tests.ner.made_outcomes import made_outcomes, made_results, made_tests

BIDI = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def write(
    folder: Path, outcomes: list[Outcome] | None = None, tests: dict[str, TestSet] | None = None
) -> Any:
    outcomes, tests = outcomes or made_outcomes(), tests or made_tests()
    results = made_results(outcomes, tests, groups={"new": ["ug"], "in the base": ["en"]})
    folder.mkdir(parents=True, exist_ok=True)
    write_results(folder, results, outcomes, tests)
    return results


class Outline(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_folder_is_whole_and_the_same_every_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name)
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names == {
        "results.json", "report.md", "matrix.csv", "confusion.csv", "tokens.json", "errors.jsonl",
        "errors.html", "heatmap.svg", "intervals.svg", "predictions",
    }  # fmt: skip
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_files_agree_with_the_results(tmp_path: Path) -> None:
    results = write(tmp_path)
    assert json.loads((tmp_path / "results.json").read_text("utf-8")) == results
    assert json.loads((tmp_path / "tokens.json").read_text("utf-8")) == results["tokens"]
    rows = list(csv.DictReader((tmp_path / "matrix.csv").read_text("utf-8").splitlines()))
    for row in rows:
        cell = results["encoders"][row["encoder"]][row["language"]]
        assert float(row["f1_median"]) == cell["f1_median"]
        assert float(row["overlap_f1_mean"]) == cell["lenient"]["overlap_f1_mean"]
        assert (row["verdict"] == "") == (row["encoder"] == "base")
    confusion = list(csv.DictReader((tmp_path / "confusion.csv").read_text("utf-8").splitlines()))
    assert sum(int(row["count"]) for row in confusion) == sum(
        row["count"]
        for cells in results["encoders"].values()
        for cell in cells.values()
        for row in cell["confusion"]
    )


def test_lists_of_numbers_stand_on_one_line() -> None:
    value = {"a": [1, 2.5, -3e-7], "b": ["x\n[1,\n 2]"], "c": [], "d": [[1, 2], [3]], "e": [None, True]}
    text = json_text(value)
    assert json.loads(text) == value
    assert '"a": [1, 2.5, -3e-07]' in text
    assert "[1, 2]" in text


def test_predictions_have_confidences_and_can_be_scored_again(tmp_path: Path) -> None:
    results = write(tmp_path)
    file = tmp_path / "predictions" / "extended-en-ug-seed2.conll"
    assert file.read_text("utf-8").splitlines()[0] == "ئەخمەت\tB-PER\tB-PER\t0.5000"
    gold = tmp_path / "gold.conll"
    gold.write_text(re.sub(r"\t[^\t\n]*\t[^\t\n]*$", "", file.read_text("utf-8"), flags=re.M), "utf-8")
    cell = results["encoders"]["extended"]["ug"]
    assert score_files(gold, file)["repaired"]["f1"] == pytest.approx(cell["f1"][1], abs=1e-3)
    found = compare(
        tmp_path / "predictions" / "base-en-ug", tmp_path / "predictions" / "extended-en-ug", seed=5
    )
    (gap,) = found["comparisons"].values()
    assert gap["ci95"] == pytest.approx(results["differences"]["ug"]["extended"]["ci95"], abs=1e-3)


def test_another_selection_has_files_of_its_own(tmp_path: Path) -> None:
    last = [replace(one, selection="target-dev oracle") for one in made_outcomes()]
    write(tmp_path, [*made_outcomes(), *last])
    names = {path.name for path in (tmp_path / "predictions").iterdir()}
    assert "base-en-ug-seed1.conll" in names
    assert "base-en-ug-target-dev-oracle-seed1.conll" in names
    assert len(names) == 24
    assert "target-dev oracle" in (tmp_path / "report.md").read_text("utf-8")


def test_error_records_say_all_that_is_known(tmp_path: Path) -> None:
    write(tmp_path)
    records = [json.loads(line) for line in (tmp_path / "errors.jsonl").read_text("utf-8").splitlines()]
    (one,) = [record for record in records if record["encoder"] == "extended"]
    assert one == {
        "encoder": "extended", "train": "en", "test": "ug", "seed": 1, "sentence": 0, "kind": "type",
        "gold": {"start": 1, "end": 2, "label": "LOC", "text": "ئۈرۈمچىگە"},
        "predicted": {"start": 1, "end": 2, "label": "ORG", "text": "ئۈرۈمچىگە"},
        "confidence": 0.6, "unk": False, "pieces": [["ئۈ", "##رۈمچىگە"]],
        "words": ["ئۈرۈمچىگە"], "before": ["ئەخمەت"], "after": ["باردى"],
    }  # fmt: skip
    assert all(record["unk"] and record["pieces"][0] == ["[UNK]"] for record in records if record is not one)
    missed = next(record for record in records if record["kind"] == "missed")
    assert missed["predicted"] is missed["confidence"] is None


def test_the_page_shows_words_in_their_direction(tmp_path: Path) -> None:
    write(tmp_path)
    page = (tmp_path / "errors.html").read_text("utf-8")
    outline = Outline(page)
    sentences = [one for one in outline.attributes if one.get("class") == "sentence"]
    assert sentences
    assert all(one.get("dir") == "auto" for one in sentences)
    assert {one.get("dir") for one in outline.attributes if one.get("class") == "pieces"} == {"rtl"}
    assert [direction(text) for text in ("12 ئا", "1a", "12", "שלום")] == ["rtl", "ltr", "ltr", "rtl"]
    assert '<mark class="both">ئۈرۈمچىگە</mark>' in page
    assert '<mark class="gold">شىنجاڭ</mark> <mark class="both">ئۇنىۋېرسىتېتى</mark>' in page
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(outline.tags)
    assert not re.search(r"url\(|@import|https?:", page)
    assert "default-src 'none'" in page
    assert not BIDI.search(page)


def test_text_of_files_is_never_markup(tmp_path: Path) -> None:
    evil = ("<img/src=x/onerror=1>", "\u202eevil\u2066", "</style><script>x</script>", "a\u0000b", "{{7*7}}")
    gold = TaggedSentence(evil, ("B-PER", "O", "B-LOC", "O", "B-ORG"))
    test = replace(made_tests()["en"], sentences=(gold,), pieces={"base": {evil[0]: evil}})
    outcomes = [Outcome("base", "en", "en", 1, (("O",) * 5,), 0.0, 1)]
    write(tmp_path, outcomes, {"en": test})
    page = (tmp_path / "errors.html").read_text("utf-8")
    outline = Outline(page)
    assert not {"script", "img"} & set(outline.tags)
    assert "\\u202eevil\\u2066" in outline.text
    assert "{{7*7}}" in outline.text
    assert "49" not in outline.text
    assert not BIDI.search(page)


def test_joiners_stay_and_marks_get_their_circle() -> None:
    assert shown("ශ්\u200dරී") == "ශ්\u200dරී"
    assert shown("\u200d") == "\\u200d"
    assert shown("##\u0dca") == "##\u25cc\u0dca"
    assert shown("\u0dca") == "\u25cc\u0dca"
    assert len(shown("x" * 500)) == 81


def test_pictures_are_drawings_with_labels_as_text(tmp_path: Path) -> None:
    write(tmp_path)
    for name in ("heatmap.svg", "intervals.svg"):
        text = (tmp_path / name).read_text("utf-8")
        words = [node.text for node in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]
        assert {"ug", "en (source)", "base"} <= set(words), name
        assert "<image" not in text
    assert "66.7" in (tmp_path / "heatmap.svg").read_text("utf-8")


def test_names_in_other_letters_can_be_drawn(tmp_path: Path) -> None:
    outcomes = [replace(one, encoder="ئۇيغۇر") for one in made_outcomes() if one.encoder == "base"]
    tests = {
        language: replace(
            test, unk_rate={"ئۇيغۇر": 1.0}, fertility={"ئۇيغۇر": 1.0}, unknown_words={}, pieces={}
        )
        for language, test in made_tests().items()
    }
    write(tmp_path, outcomes, tests)
    assert "ئۇيغۇر" in (tmp_path / "heatmap.svg").read_text("utf-8")


def test_one_screen_tells_everything_once() -> None:
    text = screen_text(made_results(made_outcomes(), made_tests(), groups={"new": ["ug"], "old": ["en"]}))
    blocks = text.split("\n\n")
    assert blocks[0].startswith("en -> ug   test 3 sentences / 8 words / 3 entities   sha256 abababababab")
    assert blocks[1].startswith("en -> en (source: the forgetting check)")
    assert "words with [UNK] 100.0 % -> 0.0 %" in blocks[0]
    assert "words never seen in training 88 %" in blocks[0]
    assert re.search(r"^base +22\.2 ± 19\.2 +33\.3 +0\.0\.\.33\.3 +\[", blocks[0], re.M)
    assert "1/3 (seed 3)" in blocks[0]
    assert re.search(r"extended - base: \+44\.4, paired 95 % CI \[.*Holm over 2 languages: ", blocks[0])
    assert "noise" in blocks[1]
    assert "seen / unseen 100.0 / 50.0 (n 1 / 2)" in blocks[0]
    assert "errors  type 100 %" in blocks[0]
    assert blocks[-1].startswith("mean of new: ug   base ")
    assert "mean of old: en" in blocks[-1]
    assert all(line == line.rstrip() for line in text.splitlines())


def test_the_report_names_policies_groups_and_warnings(tmp_path: Path) -> None:
    write(tmp_path)
    text = (tmp_path / "report.md").read_text("utf-8")
    for told in (
        "repaired as conlleval",
        "Holm",
        "mean of new: ug",
        "W-COLLAPSED",
        "W-SAME-PREDICTIONS",
        "heatmap.svg",
    ):
        assert told in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    for before, after in itertools.pairwise(tables):
        if set(after) <= set("|- "):
            assert before.count("|") == after.count("|")


def test_nothing_to_find_and_nothing_found_is_told_without_an_error(tmp_path: Path) -> None:
    test = replace(made_tests()["en"], sentences=(TaggedSentence(("a", "b"), ("O", "O")),))
    results = write(tmp_path, [Outcome("base", "en", "en", 1, (("O", "O"),), 0.0, 1)], {"en": test})
    cell = results["encoders"]["base"]["en"]
    assert (cell["f1_mean"], cell["ci95"], cell["collapsed_seeds"]) == (0, [0, 0], [1])
    assert cell["per_type"] == {}
    assert "per type P/R/F1/n  none" in screen_text(results)
