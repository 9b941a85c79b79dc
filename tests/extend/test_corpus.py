import random
import re
from pathlib import Path

import pytest

from extend.corpus import READERS, Account, ReadPolicy, corpus_sha256, read_corpus
from extend.errors import DataError
from tests.extend.corpus_files import LINES, PACK, encoded, put, read, refused, texts


@pytest.mark.parametrize("suffix", READERS)
class TestEveryReader:
    def test_gives_every_document_the_same_twice(self, suffix, tmp_path):
        path = put(tmp_path / f"a{suffix}", encoded(suffix))
        batches = list(READERS[suffix](path, account=Account(path), policy=ReadPolicy()))
        assert tuple(text for batch in batches for text in batch.texts) == LINES
        assert list(READERS[suffix](path, account=Account(path), policy=ReadPolicy())) == batches
        documents = list(read_corpus([path], "si"))
        assert [document.text for document in documents] == list(LINES)
        assert {(document.language, document.source) for document in documents} == {("si", str(path))}

    def test_gives_no_empty_document(self, suffix, tmp_path):
        path = put(tmp_path / f"a{suffix}", encoded(suffix, ("", "one", "  ", "two")))
        assert texts(path) == ["one", "two"]

    def test_the_account_says_what_it_is(self, suffix, tmp_path):
        _, _, account = read(put(tmp_path / f"a{suffix}", encoded(suffix)))
        compression = next((end for end in (".gz", ".xz", ".zst") if suffix.endswith(end)), "")
        assert account.compression == compression
        assert suffix == {"text": ".txt"}.get(account.format, f".{account.format}") + compression
        assert (account.documents, account.lines, account.repairs, account.dropped) == (4, 4, {}, "")

    def test_an_empty_corpus_names_the_file(self, suffix, tmp_path):
        error = refused(put(tmp_path / f"a{suffix}", encoded(suffix, ("", " "))))
        assert (error.name, error.exit_code) == ("E-CORPUS-EMPTY", 3)
        assert f"a{suffix}" in error.what

    def test_a_missing_file_is_told(self, suffix, tmp_path):
        assert refused(tmp_path / f"missing{suffix}").exit_code == 4

    def test_a_file_cut_anywhere_is_an_error_or_whole_lines(self, suffix, tmp_path):
        data = encoded(suffix)
        for length in {*range(1, 10), *random.Random(3).sample(range(1, len(data)), 25)}:
            path = put(tmp_path / f"cut{suffix}", data[:length])
            if suffix == ".txt":
                assert "\n".join(texts(path))[:5] == "\n".join(LINES)[: min(length, 5)]
                continue
            try:
                found = texts(path)
            except DataError:
                continue
            # only a JSONL file cut between two lines cannot be told from a shorter file
            assert suffix == ".jsonl"
            assert tuple(found) == LINES[: len(found)]


def test_every_format_has_a_reader_for_every_compression():
    assert set(READERS) == {f"{end}{pack}" for end in (".txt", ".jsonl", ".parquet") for pack in PACK}


def test_order_of_files_changes_nothing(tmp_path):
    files = [put(tmp_path / name, f"{name} one\n{name} two\n") for name in ("c.txt", "a.txt", "b.txt")]
    assert list(read_corpus(files, "xx")) == list(read_corpus(files[::-1], "xx"))
    assert corpus_sha256(files) == corpus_sha256(files[::-1])


def test_fingerprint_follows_the_bytes_not_the_place(tmp_path):
    first = put(tmp_path / "a.txt", "text\n")
    second = put(tmp_path / "b.txt", "text\n")
    assert corpus_sha256([first]) == corpus_sha256([second])
    assert corpus_sha256([first]) != corpus_sha256([first, second])
    put(second, "text \n")
    assert corpus_sha256([first]) != corpus_sha256([second])


FAULTS = Path(__file__).parents[2] / "docs" / "faults.md"
TESTED_IN = [Path(__file__).parent, *(Path(__file__).parents[1] / name for name in ("reliability", "ner"))]


def test_the_page_of_faults_names_a_test_for_every_row_and_each_is_there():
    rows = re.findall(r"^\| ([A-Z]\d+) \| .+ \| (.+) \|$", FAULTS.read_text(encoding="utf-8"), re.MULTILINE)
    expected = [f"C{number}" for number in range(1, 30)] + [f"V{number}" for number in range(1, 15)]
    assert [name for name, _ in rows][: len(expected)] == expected
    for name, tests in rows:
        found = re.findall(r"`(\w+\.py)::(\w+)`", tests)
        assert found, name
        for file, test in found:
            there = [folder / file for folder in TESTED_IN if (folder / file).is_file()]
            assert any(f"def {test}(" in path.read_text(encoding="utf-8") for path in there), (name, test)
