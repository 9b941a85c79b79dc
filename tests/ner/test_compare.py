"""Scores of files: right numbers, and a told place where two files part."""

import json
import random
from pathlib import Path

import pytest
from seqeval.metrics.v1 import precision_recall_fscore_support as strict_scores
from seqeval.scheme import IOB2

from extend.errors import DataError, PathError, UsageError
from ner.compare import compare, score_files, score_tags
from ner.compare.paired import UNSCORED
from ner.evaluate.method import SELECTIONS
from ner.report.tables import prediction_name
from ner.results import Outcome
from tests.oracles import conlleval

GOLD = "Ada\tB-PER\nLove\tI-PER\nsang\tO\n\nOslo\tB-LOC\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    return write(tmp_path / "gold.conll", GOLD)


def test_by_hand(tmp_path: Path, gold: Path) -> None:
    predicted = write(tmp_path / "p.conll", "Ada\tI-PER\nLove\tI-PER\nsang\tO\n\nOslo\tB-ORG\n")
    found = score_files(gold, predicted)
    whole = {"precision": 100, "recall": 100, "f1": 100}
    assert found["strict"] == {"precision": 0, "recall": 0, "f1": 0}
    assert found["repaired"] == {"precision": 50, "recall": 50, "f1": 50}
    assert found["lenient"] == {"span": whole, "overlap": found["repaired"], "partial": whole}
    assert found["errors"] == {"type": 1, "boundary": 0, "missed": 0, "spurious": 0}
    assert found["error_shares"]["type"] == 1
    assert {"gold": "LOC", "predicted": "ORG", "same_words": True, "count": 1} in found["confusion"]
    assert found["ci95"][0] <= 50 <= found["ci95"][1]
    assert found["illegal"] == 1
    assert found["per_type"]["PER"] == {**whole, "matched": 1, "predicted": 1, "support": 1}
    assert found["per_type"]["ORG"]["support"] == 0
    assert (found["sentences"], found["words"], found["entities"], found["predicted_entities"]) == (
        2,
        4,
        2,
        2,
    )


def test_prediction_files_have_the_prediction_last(tmp_path: Path, gold: Path) -> None:
    predicted = write(
        tmp_path / "p.conll", "Ada\tB-PER\tB-PER\nLove\tI-PER\tO\nsang\tO\tO\n\nOslo\tB-LOC\tB-LOC\n"
    )
    assert score_files(gold, predicted)["repaired"]["f1"] == 50
    assert score_files(gold, gold)["strict"]["f1"] == 100


@pytest.mark.parametrize(
    ("gold_tags", "predicted_tags", "f1"),
    [
        ("B-LOC L-LOC B-LOC L-LOC", "B-LOC L-LOC B-LOC L-LOC", 100),
        ("U-PER U-PER O U-LOC", "U-PER U-PER O O", 80),  # seqeval's default mode says less
        ("S-PER O B-LOC E-LOC", "S-PER O B-LOC E-LOC", 100),
        ("B-PER I-PER O O", "B-PER E-PER O O", 100),  # marks of BIOES in the predictions alone
        ("I-PER B-PER O I-LOC", "I-PER B-PER O O", 80),
    ],
)
def test_other_schemes(tmp_path: Path, gold_tags: str, predicted_tags: str, f1: float) -> None:
    files = [
        write(tmp_path / name, "".join(f"w {tag}\n" for tag in tags.split()))
        for name, tags in (("g.conll", gold_tags), ("p.conll", predicted_tags))
    ]
    assert score_files(*files)["repaired"]["f1"] == pytest.approx(f1)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("Ada\tO\nLive\tO\nsang\tO\n\nOslo\tO\n", ":2 and"),
        ("Ada\tO\nLove\tO\n\nOslo\tO\n", ":3 and"),
        ("Ada\tO\nLove\tO\nsang\tO\nloud\tO\n\nOslo\tO\n", ":4 and"),
        ("Ada\tO\nLove\tO\nsang\tO\n", "gold.conll:5"),
        (GOLD + "\nmore\tO\n", "p.conll:7"),
    ],
)
def test_files_that_differ_are_told_at_the_first_line(
    tmp_path: Path, gold: Path, text: str, place: str
) -> None:
    with pytest.raises(DataError) as caught:
        score_files(gold, write(tmp_path / "p.conll", text))
    assert caught.value.name == "E-MISMATCH"
    assert place in caught.value.what


@pytest.mark.parametrize(
    ("gold_tags", "predicted_tags", "schemes"),
    [
        ("B-PER I-PER O B-LOC", "B-PER E-PER O S-LOC", ("IOB2", "BIOES")),
        ("B-PER E-PER O S-LOC", "B-PER I-PER O B-LOC", ("BIOES", "IOB2")),
        ("B-PER L-PER O U-LOC", "B-PER E-PER O S-LOC", ("BILOU", "BIOES")),
        ("I-PER I-PER O I-LOC", "B-PER I-PER O B-LOC", ("IOB1", "IOB2")),
        ("B-PER I-PER O B-LOC", "I-PER I-PER O I-LOC", ("IOB2", "IOB2")),  # illegal, not IOB1
        ("B-PER E-PER O S-LOC", "O O O O", ("BIOES", "BIOES")),
    ],
)
def test_each_side_may_have_a_scheme_of_its_own(
    gold_tags: str, predicted_tags: str, schemes: tuple[str, str]
) -> None:
    found = score_tags([gold_tags.split()], [predicted_tags.split()])
    assert (found["scheme"], found["predicted_scheme"]) == schemes
    illegal = predicted_tags.startswith("I-")
    assert found["illegal"] == 2 * illegal
    if predicted_tags[0] != "O":
        assert found["repaired"]["f1"] == 100
        assert found["strict"]["f1"] == 100 * (not illegal)


def test_two_schemes_on_one_side_are_refused() -> None:
    with pytest.raises(DataError, match="mixed"):
        score_tags([["B-PER", "E-PER", "U-LOC"]], [["O", "O", "O"]])


def test_random_files_score_as_conlleval_and_seqeval_say(tmp_path: Path) -> None:
    """200 files of garbage tags, to nine digits."""
    draw = random.Random(11)
    tags = ["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]
    for trial in range(200):
        lengths = [draw.randint(1, 12) for _ in range(draw.randint(8, 20))]
        gold, predicted = ([draw.choices(tags, k=length) for length in lengths] for _ in range(2))
        found = score_files(
            write(tmp_path / "g.conll", columns(gold)), write(tmp_path / "p.conll", columns(predicted))
        )
        assert found["scheme"] == found["predicted_scheme"] == "IOB2", trial
        counted = conlleval.count(gold, predicted)
        for name in ("precision", "recall", "f1"):
            assert found["repaired"][name] == pytest.approx(getattr(counted, name), abs=1e-9), trial
        strict = strict_scores(gold, predicted, average="micro", scheme=IOB2, zero_division=0)
        expected = {"precision": 100 * strict[0], "recall": 100 * strict[1], "f1": 100 * strict[2]}
        assert found["strict"] == pytest.approx(expected, abs=1e-9), trial


def columns(sentences: list[list[str]]) -> str:
    return "".join("".join(f"w\t{tag}\n" for tag in tags) + "\n" for tags in sentences)


def test_a_column_of_confidences_may_follow(tmp_path: Path, gold: Path) -> None:
    predicted = write(
        tmp_path / "p.conll",
        "Ada\tB-PER\tB-PER\t0.91\nLove\tI-PER\tI-PER\t0.9\nsang\tO\tO\t1\n\nOslo\tB-LOC\tO\t0.4\n",
    )
    assert score_files(gold, predicted)["repaired"]["recall"] == 50


def test_json_lines_against_columns(tmp_path: Path, gold: Path) -> None:
    lines = [
        {"words": ["Ada", "Love", "sang"], "tags": ["B-PER", "I-PER", "O"]},
        {"tokens": ["Oslo"], "ner_tags": ["B-ORG"]},
    ]
    predicted = write(tmp_path / "p.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert score_files(gold, predicted)["lenient"]["span"]["f1"] == 100
    assert score_files(gold, predicted)["repaired"]["f1"] == 50


def rows(hits: list[bool]) -> str:
    return "".join(f"w{number}\tB-PER\t{'B-PER' if hit else 'O'}\n\n" for number, hit in enumerate(hits))


def test_compare_two_files(tmp_path: Path) -> None:
    weak = write(tmp_path / "weak.conll", rows([number % 2 == 0 for number in range(100)]))
    strong = write(tmp_path / "strong.conll", rows([number % 10 != 0 for number in range(100)]))
    ((name, found),) = compare(weak, strong)["comparisons"].items()
    assert name == "strong - weak"
    assert found["f1"] > 20
    assert found["ci95"][0] > 0
    assert not found["noise"]
    assert found["first"]["seeds"] == 1
    assert compare(weak, strong) == compare(weak, strong)


def test_files_without_gold_are_compared_over_a_gold_file(tmp_path: Path) -> None:
    full = [rows([number % step == 0 for number in range(60)]) for step in (2, 3)]
    paths = [write(tmp_path / f"full{turn}.conll", text) for turn, text in enumerate(full)]
    gold = write(tmp_path / "gold.conll", "".join(f"w{number}\tB-PER\n\n" for number in range(60)))
    bare = [
        write(tmp_path / f"bare{turn}.conll", text.replace("\tB-PER\t", "\t"))
        for turn, text in enumerate(full)
    ]
    (expected,) = compare(*paths)["comparisons"].values()
    (found,) = compare(*bare, gold=gold)["comparisons"].values()
    assert found == expected
    with pytest.raises(DataError, match="differ"):
        compare(*bare, gold=write(tmp_path / "other.conll", "x\tO\n"))


def test_the_same_predictions_of_two_systems_raise_an_alarm(tmp_path: Path) -> None:
    text = rows([True, False] * 20)
    first, second = (write(tmp_path / f"{name}.conll", text) for name in ("first", "second"))
    found = compare(first, second)
    (entry,) = found["comparisons"].values()
    assert entry["identical"]
    assert entry["verdict"] == "the same tags"
    (warning,) = found["warnings"]
    assert warning["name"] == "W-SAME-PREDICTIONS"
    assert "first.conll" in warning["text"]
    assert compare(first, first)["warnings"] == []


def test_several_comparisons_are_corrected_together(tmp_path: Path) -> None:
    for folder, step in (("one", 5), ("two", 4)):
        (tmp_path / folder).mkdir()
        for name in ("a", "b", "c"):
            hits = [number % step == 0 for number in range(120)]
            write(tmp_path / folder / f"{name}-seed1.conll", rows(hits))
    found = compare(tmp_path / "one", tmp_path / "two")["comparisons"]
    assert len(found) == 3
    for entry in found.values():
        assert entry["p_holm"] == pytest.approx(min(1.0, 3 * entry["p"]))


def test_compare_folders_by_name(tmp_path: Path) -> None:
    for folder, hits in (("one", 40), ("two", 90)):
        (tmp_path / folder / "predictions").mkdir(parents=True)
        for seed in (1, 2):
            text = rows([number < hits + seed for number in range(100)])
            write(tmp_path / folder / "predictions" / f"base-en-si-seed{seed}.conll", text)
            write(tmp_path / folder / "predictions" / f"ext-en-si-seed{seed}.conll", text)
            write(tmp_path / folder / "predictions" / f"ext-en-si-last-seed{seed}.conll", text)
    found = compare(tmp_path / "one", tmp_path / "two")["comparisons"]
    assert found.keys() == {"base-en-si", "ext-en-si"}
    assert all(one["first"]["seeds"] == 2 and one["f1"] > 0 for one in found.values())


def test_compare_refuses_what_is_no_pair(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.conll", rows([True, False]))
    with pytest.raises(PathError, match="no predictions at"):
        compare(plain, tmp_path / "none")
    other = write(tmp_path / "other.conll", rows([True, False]).replace("w1", "x1"))
    with pytest.raises(DataError, match="differ: w1 against x1"):
        compare(plain, other)
    gold = write(tmp_path / "gold.conll", rows([True, False]).replace("w1\tB-PER", "w1\tO"))
    with pytest.raises(DataError, match="differ in gold: B-PER against O"):
        compare(plain, gold)
    for folder, names in (("a", ("x", "y")), ("b", ("u", "v"))):
        (tmp_path / folder).mkdir()
        for name in names:
            write(tmp_path / folder / f"{name}-seed1.conll", rows([True]))
    with pytest.raises(UsageError, match="no set in common"):
        compare(tmp_path / "a", tmp_path / "b")
    two_columns = write(tmp_path / "two.conll", "a\tO\n")
    with pytest.raises(DataError, match="not a line of a CoNLL file"):
        compare(two_columns, two_columns)


def test_the_names_of_other_selections_are_those_that_are_written() -> None:
    written = {
        prediction_name(Outcome("e", "en", "si", 1, (), 0.0, 1, selection=name), scored=False)
        for name in SELECTIONS
    }
    assert written == {f"e-en-si-{name}-seed1.conll" for name in UNSCORED}
