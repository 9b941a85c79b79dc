"""The sets of an evaluation: which are read, which labels count, what is warned of."""

from pathlib import Path

import pytest

from extend.errors import DataError, UsageError
from ner.files import NerFile
from ner.sets import Experiment, data_warnings, experiments, read_sets
from tests.ner.test_leaks import conll

PLAN = [Experiment("aa", ("aa", "bb"))]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, dict[str, Path]]:
    train = conll(
        tmp_path / "train",
        "Ada/B-PER sang", "Bo/B-PER ran", "Oslo/B-GPE rose", "Rome/B-GPE fell", "x/B-OTH y", "z/B-OTH",
    )  # fmt: skip
    test = conll(tmp_path / "test", "Cy/B-PER sat in Bonn/B-GPE", "Ural/B-LOC")
    return {"aa": {"train": train, "dev": train, "test": train}, "bb": {"test": test}}


def mapped(files: dict[str, dict[str, Path]], **names: str) -> dict[str, dict[str, NerFile]]:
    return {
        language: {split: NerFile(path, label_map=names) for split, path in splits.items()}
        for language, splits in files.items()
    }


def test_an_unknown_type_is_told_with_the_closest(files: dict[str, dict[str, Path]]) -> None:
    for asked, meant in {"per": "PER", "GPEE": "GPE", "PERSON": "PER"}.items():
        with pytest.raises(UsageError, match=f"no entity of type {asked}") as caught:
            read_sets(files, PLAN, labels=[asked], seed=1)
        assert caught.value.name == "E-NER-LABEL"
        assert caught.value.next == f"did you mean {meant}?"
        assert caught.value.why == "known: GPE, OTH, PER"
    with pytest.raises(UsageError) as caught:
        read_sets(files, PLAN, labels=["zzz"], seed=1)
    assert caught.value.next == "mend --labels (ner.labels)"


def test_a_type_that_was_mapped_away_is_told_with_what_became_of_it(
    files: dict[str, dict[str, Path]],
) -> None:
    with pytest.raises(UsageError) as caught:
        read_sets(mapped(files, GPE="LOC"), PLAN, labels=["PER", "GPE"], seed=1)
    assert caught.value.why.startswith("the label map makes LOC of it")
    assert caught.value.next == "did you mean LOC?"
    with pytest.raises(UsageError) as caught:
        read_sets(mapped(files, OTH="O"), PLAN, labels=["OTH"], seed=1)
    assert caught.value.why.startswith("the label map makes nothing of it")


def test_what_was_read_is_described(files: dict[str, dict[str, Path]]) -> None:
    sets = read_sets(mapped(files, GPE="LOC", OTH="O", XYZ="PER"), PLAN, labels=["LOC", "PER"], seed=1)
    told = sets["bb"].described()["test"]
    assert told["labels"] == ["LOC", "PER"]
    assert told["found"] == {"GPE": 1, "LOC": 1, "PER": 1}
    assert told["label_map"] == {"GPE": "LOC"}
    assert (told["format"], told["compression"], told["scheme"], told["repaired"]) == ("conll", "", "IOB2", 0)
    assert sets["aa"].described()["train"]["entities"] == 4
    assert {"name": "W-MAP", "text": "no entity of type XYZ to map"} in data_warnings(sets, PLAN)


def test_what_may_mislead_is_warned_of(files: dict[str, dict[str, Path]], tmp_path: Path) -> None:
    few = conll(tmp_path / "few", "Ada/B-PER sang", "Bo/B-PER ran", "Oslo/B-LOC rose", "he/I-LOC sat")
    empty = conll(tmp_path / "empty", "nothing here")
    plan = [Experiment("cc", ("bb", "dd"))]
    data = {**files, "cc": {"train": few, "dev": few}, "dd": {"test": empty}}
    sets = read_sets(data, plan, labels=(), seed=1)
    told = {(warning["name"], warning["text"]) for warning in data_warnings(sets, plan)}
    assert ("W-REPAIRED", "cc train (few): 1 illegal tags repaired") in told
    assert ("W-LABEL", "bb test (test): types never trained on: GPE") in told
    assert ("W-NO-ENTITY", "dd test (empty): no entity to find, F1 is 0 by rule") in told
    assert not any(name == "W-RARE" for name, _ in told)
    blind = read_sets({**data, "cc": {"train": few, "dev": empty}}, plan, labels=(), seed=1)
    assert {"name": "W-NO-ENTITY", "text": "empty: no entity to select by"} in data_warnings(blind, plan)
    rare = read_sets({**data, "cc": {"train": files["bb"]["test"], "dev": few}}, plan, labels=(), seed=1)
    warned = [warning["text"] for warning in data_warnings(rare, plan) if warning["name"] == "W-RARE"]
    assert warned == [f"cc train (test): one entity alone of type {label}" for label in ("GPE", "LOC", "PER")]


def test_a_missing_file_and_a_broken_one_are_told(files: dict[str, dict[str, Path]], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no train file for bb") as caught:
        read_sets(files, [Experiment("bb", ("bb",))], labels=(), seed=1)
    assert "ner.data.bb.train=FILE" in caught.value.next
    (tmp_path / "broken").write_text("Ada\tB-PER\nsang\n")
    with pytest.raises(DataError, match=r"broken:2: "):
        read_sets({**files, "bb": {"test": tmp_path / "broken"}}, PLAN, labels=(), seed=1)


def test_a_dev_set_is_held_out_of_training_where_there_is_none(tmp_path: Path) -> None:
    train = conll(tmp_path / "train", *(f"w{place} Ada/B-PER" for place in range(50)), "w1 Ada/B-PER")
    plan = experiments("supervised", "", ["aa"])
    data = {"aa": {"train": train, "test": train}}
    read = [read_sets(data, plan, labels=(), seed=seed)["aa"] for seed in (1, 1, 2)]
    for one in read:
        assert one.train is not None
        assert one.dev is not None
        assert one.dev_held_out
        kept = {sentence.words for sentence in one.train.sentences}
        assert kept.isdisjoint(sentence.words for sentence in one.dev.sentences)
        assert len(one.train.sentences) + len(one.dev.sentences) == 51
    assert read[0] == read[1]
    assert read[0].dev != read[2].dev
    assert read[0].described()["dev"]["held_out_of"] == "train"
