"""Corpora from hub datasets, by the real client."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from extend.errors import (
    DataError,
    ExtendError,
    NetworkError,
    UsageError,
)
from extend.hub import (
    stream_dataset,
)
from extend.hub.streaming import parse_spec
from tests.loopback_hub import LoopbackHub


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("hf:a/b", ("a/b", None, "train")),
        ("hf:a/b:20231101.ug", ("a/b", "20231101.ug", "train")),
        ("hf:a/b:c:test", ("a/b", "c", "test")),
        ("hf:a/b::test", ("a/b", None, "test")),
    ],
)
def test_dataset_names(spec, parts):
    assert parse_spec(spec) == parts


@pytest.mark.parametrize("spec", ["a/b", "hf:", "hf::x", "hf:a:b:c:d"])
def test_dataset_names_that_are_none(spec):
    with pytest.raises(UsageError):
        next(stream_dataset(spec))


def records(folder: Path, rows: list[object]) -> str:
    folder.mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "train.jsonl").write_text(lines, encoding="utf-8")
    return f"hf:{folder}"


def test_records_become_documents(tmp_path):
    texts = ["මම ගෙදර", " \n", "b\nc"]
    spec = records(tmp_path / "set", [{"id": str(index), "text": text} for index, text in enumerate(texts)])
    documents = list(stream_dataset(spec, language="si"))
    assert [document.text for document in documents] == ["මම ගෙදර", "b\nc"]
    assert all(document.language == "si" and document.source == spec for document in documents)
    assert all(document.starts_document for document in documents)


def test_the_column_of_text(tmp_path):
    one = records(tmp_path / "one", [{"n": 1, "sentence": "x"}])
    assert [document.text for document in stream_dataset(one)] == ["x"]
    two = records(tmp_path / "two", [{"a": "x", "b": "y"}])
    assert [document.text for document in stream_dataset(two, column="b")] == ["y"]
    with pytest.raises(DataError, match="no column `text`") as told:
        next(stream_dataset(two))
    assert "a, b" in told.value.why


def test_a_missing_split_and_an_empty_folder(tmp_path):
    spec = records(tmp_path / "set", [{"text": "x"}])
    with pytest.raises(UsageError, match="no such configuration or split"):
        next(stream_dataset(f"{spec}::validation"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExtendError) as told:
        next(stream_dataset(f"hf:{tmp_path / 'empty'}"))
    assert told.value.exit_code in (3, 6)


def test_a_dataset_of_the_hub_when_offline():
    with pytest.raises(NetworkError) as told:
        next(stream_dataset("hf:nobody/nothing:xx"))
    assert told.value.exit_code == 6


STREAM = """
import json, sys
from extend.errors import ExtendError
from extend.hub import stream_dataset
for spec in sys.argv[1:]:
    try:
        print(json.dumps([document.text for document in stream_dataset(spec)]))
    except ExtendError as error:
        print(json.dumps(error.name))
"""


def test_streamed_from_a_hub_by_a_fresh_process(tmp_path):
    """The client reads its endpoint when it is imported, so it takes a process of its own."""
    table = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"id": ["1", "2"], "text": ["මම", "ගෙදර"]}), table)
    card = (
        "---\nconfigs:\n- config_name: 20231101.si\n  data_files:\n  - split: train\n"
        "    path: 20231101.si/train-*\n---\n"
    )
    wikipedia = {"README.md": card.encode(), "20231101.si/train-0.parquet": table.getvalue()}
    asked = {
        "hf:wiki/pedia:20231101.si": ["මම", "ගෙදර"],
        "hf:wiki/pedia:20231101.xx": "E-CORPUS",
        "hf:wiki/pedia:20231101.si:dev": "E-CORPUS",
        "hf:no/such": "E-NOT-FOUND",
        "hf:no/files": "E-CORPUS",
        "hf:some/script": "E-REMOTE-CODE",
    }
    with LoopbackHub() as hub:
        hub.add("wiki/pedia", wikipedia)
        hub.add("no/files", {"README.md": b"nothing\n"})
        hub.add("some/script", {"script.py": b"raise SystemExit('run')\n"})
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        command = [sys.executable, "-c", STREAM, *asked]
        done = subprocess.run(
            command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120, check=True
        )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert dict(zip(asked, answers, strict=True)) == asked
