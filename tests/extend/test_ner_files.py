"""The NER files of a run: files, hub datasets spooled once, and the text that is searched for leaks."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from extend import recipe
from extend.config import dump_toml, load_settings
from extend.errors import DataError, PathError, UsageError
from extend.hub import stream_tagged
from extend.languages import resolve
from extend.recipe.corpora import corpus_patterns
from extend.recipe.evaluation import check_evaluation
from extend.recipe.ner_files import _identity, ner_files, ner_sources, pretraining_text
from extend.recipe.run import Run
from ner.data import read_data
from ner.files import NerFile, PretrainingText
from ner.sets import Experiment, leaks, read_sets
from tests.loopback_hub import LoopbackHub

NAMES = ["O", "B-PER", "I-PER", "B-LOC"]
FEATURES = {
    "tokens": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"},
    "ner_tags": {"feature": {"names": NAMES, "_type": "ClassLabel"}, "_type": "List"},
}


def table(words: list[list[str]], tags: list[list[int]], *, named: bool = True) -> bytes:
    metadata = {"huggingface": json.dumps({"info": {"features": FEATURES}})} if named else None
    found = pyarrow.table({"tokens": words, "ner_tags": tags}).replace_schema_metadata(metadata)
    sink = io.BytesIO()
    pyarrow.parquet.write_table(found, sink)
    return sink.getvalue()


def dataset(folder: Path, *, named: bool = True) -> str:
    folder.mkdir()
    for split, words in {"train": [["Ada", "sang"], ["Oslo"]], "test": [["Bo"]]}.items():
        tags = [[1, 0], [3]] if split == "train" else [[1]]
        (folder / f"{split}.parquet").write_bytes(table(words, tags, named=named))
    return f"hf:{folder}"


def opened(directory: Path, **overrides: Any) -> Run:
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    return recipe.open_run(load_settings(None, given), directory, resolve("ug"))


def test_a_missing_file_beside_sets_of_the_hub_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    data = {
        "en": {"train": "hf:none/such", "dev": "hf:none/such", "test": "hf:none/such"},
        "ug": {"test": str(tmp_path / "missing.conll")},
    }
    run = opened(tmp_path / "run", ner__data=data, ner__source="en", ner__targets=["ug"])
    for started in (check_evaluation, recipe.run_all):
        with pytest.raises(PathError, match=r"missing\.conll"):
            started(run)
    assert not (tmp_path / "run").exists()


def test_text_is_told_from_what_it_becomes_and_from_none(tmp_path: Path) -> None:
    file, run = tmp_path / "a.txt", opened(tmp_path / "run")
    file.write_text("one line\n")
    first = _identity([file], run)
    assert first == _identity([file], run) != ""
    file.write_text("another line\n")
    assert _identity([file], run) not in ("", first)
    file.unlink()
    assert _identity([file], run) == ""


def test_the_default_sets_go_by_the_codes_that_wikiann_has(tmp_path: Path) -> None:
    run = recipe.open_run(load_settings(None, {}), tmp_path, resolve("gsw"))
    assert ner_sources(run)["gsw"]["train"] == "hf:unimelb-nlp/wikiann:als:train"
    assert corpus_patterns(run) == ["hf:wikimedia/wikipedia:20231101.als"]


def test_numbers_of_a_dataset_become_names(tmp_path: Path) -> None:
    spec = dataset(tmp_path / "set")
    assert list(stream_tagged(spec)) == [
        {"words": ["Ada", "sang"], "tags": ["B-PER", "O"]},
        {"words": ["Oslo"], "tags": ["B-LOC"]},
    ]
    assert list(stream_tagged(f"{spec}::test")) == [{"words": ["Bo"], "tags": ["B-PER"]}]


def test_names_of_tags_pass_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train.jsonl").write_text('{"words": ["Ada"], "tags": ["S-PER"]}\n')
    assert list(stream_tagged(f"hf:{tmp_path / 'set'}")) == [{"words": ["Ada"], "tags": ["S-PER"]}]


def test_a_dataset_without_names_or_columns_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has the tag 1 and no names for tags"):
        list(stream_tagged(dataset(tmp_path / "set", named=False)))
    (tmp_path / "text").mkdir()
    (tmp_path / "text/train.jsonl").write_text('{"text": "Ada"}\n')
    with pytest.raises(DataError, match="no column of lists named words or tokens") as caught:
        list(stream_tagged(f"hf:{tmp_path / 'text'}"))
    assert caught.value.why == "its columns are text"


def test_a_dataset_is_spooled_once_and_each_split_takes_its_own(tmp_path: Path) -> None:
    spec = dataset(tmp_path / "set")
    run = opened(tmp_path / "ug", ner__data__ug__train=spec, ner__data__ug__test=spec)
    files = ner_files(run)["ug"]
    assert [len(read_data(files[split]).sentences) for split in ("train", "test")] == [2, 1]
    assert read_data(files["train"]).labels == ("LOC", "PER")
    for path in (tmp_path / "set").iterdir():
        path.unlink()
    assert ner_files(run) == ner_files(run)  # the source is gone, the run has its copy
    assert not list((tmp_path / "ug").rglob("*.tmp-*"))


def test_without_files_wikiann_is_the_set(tmp_path: Path) -> None:
    run = opened(tmp_path / "ug", ner__targets=["ug", "si"])
    sources = ner_sources(run)
    assert list(sources) == ["en", "ug", "si"]
    assert sources["ug"] == {
        "train": "hf:unimelb-nlp/wikiann:ug:train",
        "dev": "hf:unimelb-nlp/wikiann:ug:validation",
        "test": "hf:unimelb-nlp/wikiann:ug:test",
    }
    given = ner_sources(
        opened(tmp_path / "x", ner__data__ug__test="hf:a/b:c", ner__data__ug__dev="hf:a/b::x")
    )
    assert given == {"ug": {"dev": "hf:a/b::x", "test": "hf:a/b:c:test"}}
    assert recipe.check(run, "ner-eval")["ner"] == sources  # a dry run fetches nothing
    assert not (tmp_path / "ug").exists()


def test_formats_and_label_maps_reach_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("7 Ada PER B-PER\n8 Oslo GPE B-GPE\n")
    run = opened(
        tmp_path / "ug",
        ner__data__ug__test=str(tmp_path / "a.txt"),
        ner__data__ug__format="conll:2:4",
        ner__map={"GPE": "LOC", "X.Y": "O"},
    )
    data = read_data(ner_files(run)["ug"]["test"])
    assert data.sentences[0].words == ("Ada", "Oslo")
    assert (data.format, data.labels) == ("conll:2:4", ("LOC", "PER"))
    (tmp_path / "run.toml").write_text(dump_toml(run.settings))
    assert load_settings(tmp_path / "run.toml") == run.settings


def test_the_text_of_the_run_is_read_as_far_as_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("one\n\ntwo\n")
    (tmp_path / "old.txt").write_text("three\n")
    replay = {"en": [str(tmp_path / "old.txt")]}
    run = opened(tmp_path / "ug", corpus=[str(tmp_path / "own.txt")], pretrain__replay=replay)
    text = pretraining_text(run)
    assert text is not None
    assert sorted(text.lines()) == sorted(text.lines()) == ["one", "three", "two"]
    assert pretraining_text(opened(tmp_path / "none")) is None  # Wikipedia, which was never fetched
    assert pretraining_text(opened(tmp_path / "none", corpus=[str(tmp_path / "gone.txt")])) is None
    spooled = tmp_path / "none/corpus/wikimedia_wikipedia"
    spooled.mkdir(parents=True)
    (spooled / "text.txt").write_text("four\n")
    kept = pretraining_text(opened(tmp_path / "none"))
    assert kept is not None
    assert list(kept.lines()) == ["four"]


STREAM = """
import json, sys
from extend.errors import ExtendError
from extend.hub import stream_tagged
for spec in sys.argv[1:]:
    try:
        print(json.dumps(list(stream_tagged(spec))))
    except ExtendError as error:
        print(json.dumps(error.name))
"""


def test_streamed_from_a_hub_by_a_fresh_process(tmp_path: Path) -> None:
    """The client reads its endpoint when it is imported, so it takes a process of its own."""
    card = "---\nconfigs:\n- config_name: ug\n  data_files:\n" + "".join(
        f"  - split: {split}\n    path: ug/{split}-*\n" for split in ("train", "validation")
    )
    files = {
        "README.md": f"{card}---\n".encode(),
        "ug/train-0.parquet": table([["Ada", "sang"]], [[1, 0]]),
        "ug/validation-0.parquet": table([["Oslo"]], [[3]]),
    }
    asked: dict[str, Any] = {
        "hf:wiki/ann:ug:train": [{"words": ["Ada", "sang"], "tags": ["B-PER", "O"]}],
        "hf:wiki/ann:ug:validation": [{"words": ["Oslo"], "tags": ["B-LOC"]}],
        "hf:wiki/ann:xx:train": "E-CORPUS",
        "hf:no/such": "E-NOT-FOUND",
        "hf:some/script": "E-REMOTE-CODE",
    }
    with LoopbackHub() as hub:
        hub.add("wiki/ann", files)
        hub.add("some/script", {"script.py": b"raise SystemExit('run')\n"})
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        command = [sys.executable, "-c", STREAM, *asked]
        done = subprocess.run(
            command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120, check=True
        )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert dict(zip(asked, answers, strict=True)) == asked


@pytest.mark.parametrize("given", ["PER", "=O", "PER="])
def test_a_map_on_the_command_line_is_two_names(given: str) -> None:
    from extend.cli.ner_data import NerFiles

    with pytest.raises(UsageError, match="is not OLD=NEW"):
        NerFiles(label_map=[given]).settings()
    options = NerFiles(label_map=["OTH=O", "G.P=LOC"], labels="PER,LOC", data_format=["ug=conll:1:4"])
    assert {key: value for key, value in options.settings().items() if value is not None} == {
        "ner.labels": ["PER", "LOC"],
        "ner.map": {"OTH": "O", "G.P": "LOC"},
        "ner.data.ug.format": "conll:1:4",
    }


def test_what_was_read_and_seen_before_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from extend.cli.ner_data import data_text
    from extend.cli.output import print_text

    monkeypatch.setenv("COLUMNS", "200")
    train = tmp_path / "train.jsonl"
    train.write_text('{"words": ["Ada", "sang"], "tags": ["U-PER", "O"]}\n')
    test = tmp_path / "test"
    test.write_text("Ada I-PER\nsang O\n\nBo B-LOC\nran O\n")
    text = PretrainingText(lambda: ["of another thing"])
    files = {
        "aa": {"train": NerFile(train), "dev": NerFile(train)},
        "bb": {"test": NerFile(test, label_map={"LOC": "PER"}, text=text)},
    }
    plan = [Experiment("aa", ("bb",))]
    sets = read_sets(files, plan, labels=(), seed=1)
    described = {language: one.described() for language, one in sets.items()}
    print_text(data_text({"data": described, "leaks": leaks(sets, plan)}))
    shown = capsys.readouterr().out
    assert "jsonl BILOU" in shown
    assert "conll IOB2 LOC=PER" in shown
    assert "1 sentences in train, 0 in text, 50% of entities in train" in shown
    print_text(data_text({"data": {"bb": {"test": {"sentences": 2, "scheme": "IOB1"}}}}))
    assert "IOB1" in capsys.readouterr().out
