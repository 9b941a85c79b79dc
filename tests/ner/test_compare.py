"""Scores of files: right numbers, and a told place where two files part."""

from pathlib import Path

import pytest

from extend.errors import DataError, PathError, UsageError
from ner.compare import compare, score_files

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
    assert found["strict"] == {"precision": 0, "recall": 0, "f1": 0}
    assert found["repaired"] == {"precision": 50, "recall": 50, "f1": 50}
    assert found["illegal"] == 1
    assert found["per_type"]["PER"] == {"precision": 100, "recall": 100, "f1": 100, "support": 1}
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


def test_compare_folders_by_name(tmp_path: Path) -> None:
    for folder, hits in (("one", 40), ("two", 90)):
        (tmp_path / folder / "predictions").mkdir(parents=True)
        for seed in (1, 2):
            text = rows([number < hits + seed for number in range(100)])
            write(tmp_path / folder / "predictions" / f"base-en-si-seed{seed}.conll", text)
            write(tmp_path / folder / "predictions" / f"ext-en-si-seed{seed}.conll", text)
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
