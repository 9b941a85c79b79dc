import gzip
import json
import lzma
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import assume, given
from hypothesis import strategies as st

from extend.corpus import READERS, corpus_sha256, count_words, find_files, read_corpus, split_held_out
from extend.corpus.streams import MAX_LINE_BYTES
from extend.errors import DataError, ExtendError, PathError, RefusedError
from extend.types import Document

LINES = ("first line", "zweite Zeile", "третья строка", "සිංහල පේළිය")
PACK = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def encoded(suffix: str, texts: tuple[str, ...] = LINES) -> bytes:
    kind = next(kind for kind in (".txt", ".jsonl", ".parquet") if suffix.startswith(kind))
    if kind == ".txt":
        plain = "".join(f"{text}\n" for text in texts).encode()
    elif kind == ".jsonl":
        plain = "".join(json.dumps({"text": text, "id": 1}) + "\n" for text in texts).encode()
    else:
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.table({"text": list(texts), "id": [1] * len(texts)}), sink)
        plain = sink.getvalue().to_pybytes()
    return PACK[suffix.removeprefix(kind)](plain)


def put(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def texts(path: Path, **options: Counter[str]) -> list[str]:
    return [document.text for document in read_corpus([path], "xx", **options)]


@pytest.mark.parametrize("suffix", READERS)
class TestEveryReader:
    def test_gives_every_document_the_same_twice(self, suffix, tmp_path):
        path = put(tmp_path / f"a{suffix}", encoded(suffix))
        documents = list(READERS[suffix](path, "si"))
        assert tuple(document.text for document in documents) == LINES
        assert {(document.language, document.source) for document in documents} == {("si", str(path))}
        assert list(READERS[suffix](path, "si")) == documents

    def test_gives_no_empty_document(self, suffix, tmp_path):
        path = put(tmp_path / f"a{suffix}", encoded(suffix, ("", "one", "  ", "two")))
        assert texts(path) == ["one", "two"]

    def test_an_empty_corpus_names_the_file(self, suffix, tmp_path):
        path = put(tmp_path / f"a{suffix}", encoded(suffix, ("", " ")))
        with pytest.raises(DataError, match=r"corpus is empty.*a\.") as caught:
            texts(path)
        assert caught.value.name == "E-CORPUS-EMPTY"

    def test_a_missing_file_is_told(self, suffix, tmp_path):
        with pytest.raises(PathError) as caught:
            texts(tmp_path / f"missing{suffix}")
        assert caught.value.exit_code == 4

    def test_a_file_cut_anywhere_is_an_error_or_whole_lines(self, suffix, tmp_path):
        data = encoded(suffix)
        for length in random.Random(3).sample(range(1, len(data)), min(25, len(data) - 1)):
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


def test_a_blank_line_starts_a_text(tmp_path):
    path = put(tmp_path / "a.txt", "one\ntwo\n\n \nthree\nfour")
    found = [(document.text, document.starts_document) for document in read_corpus([path], "xx")]
    assert found == [("one", True), ("two", False), ("three", True), ("four", False)]


def test_only_newline_ends_a_line(tmp_path):
    path = put(tmp_path / "a.txt", "a\u2028b\u0085c\vd\fe\x1cf\rg\r\nnext\n")
    assert texts(path) == ["a\u2028b\u0085c\vd\fe\x1cf\rg", "next"]


def test_repairs_are_made_and_counted(tmp_path):
    path = put(tmp_path / "a.txt", b"\xef\xbb\xbfbom\nbad \xc9 byte\nnul\0here\nin\xef\xbb\xbfside\n")
    repairs: Counter[str] = Counter()
    assert texts(path, repairs=repairs) == ["bom", "bad \ufffd byte", "nulhere", "in\ufeffside"]
    assert repairs == {"invalid_utf8": 1, "nul": 1}


@given(data=st.lists(st.one_of(st.binary(max_size=3), st.sampled_from([b"\n", b"\r\n", b"e", "ේ".encode()]))))
def test_any_bytes_read_as_python_decodes_them(data, tmp_path_factory):
    data = b"".join(data)[:90]
    path = put(tmp_path_factory.mktemp("bytes") / "a.txt", data)
    expected = [
        line.removesuffix(b"\r").replace(b"\0", b"").decode("utf-8", "replace")
        for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    ]
    assume(data.count(b"\0") <= 8)
    documents = [line for line in expected if line.strip()]
    if data[:2] in (b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b") or not documents:
        with pytest.raises(DataError):
            texts(path)
    else:
        assert texts(path) == documents


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_another_encoding_is_refused(encoding, tmp_path):
    path = put(tmp_path / "a.txt", ("Ünïcödé tèxt ïn änöthèr éncödïng\n" * 40).encode(encoding))
    with pytest.raises(DataError) as caught:
        texts(path)
    assert caught.value.name == "E-ENCODING"


def test_a_line_without_end_is_cut_at_spaces_and_loses_nothing(tmp_path):
    line = ("වචනය " * (2 * MAX_LINE_BYTES // 16)) + "x" * (MAX_LINE_BYTES + 7)
    repairs: Counter[str] = Counter()
    found = texts(put(tmp_path / "a.txt", line), repairs=repairs)
    assert "".join(found) == line
    assert len(found) > 2
    assert repairs["long_lines"] == len(found) - 1
    assert "invalid_utf8" not in repairs


def test_reading_a_huge_line_takes_bounded_memory(tmp_path):
    with gzip.open(tmp_path / "a.txt.gz", "wb", compresslevel=1) as file:
        for _ in range(200):
            file.write(b"x" * (1 << 20))
    program = (
        "import resource, sys; from pathlib import Path; from extend.corpus import read_corpus;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "total = sum(len(d.text) for d in read_corpus([Path(sys.argv[1])], 'xx'));"
        "print(total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    output = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.txt.gz")], capture_output=True, check=True
    ).stdout
    total, grown = map(int, output.split())
    assert total == 200 << 20
    assert grown < 64 << 10, "kibibytes"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{broken", "is not JSON"),
        ('{"body": "x"}', "under `text`"),
        ('{"text": 7}', "under `text`"),
        ("[1]", "under `text`"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_bad_record_is_told_with_its_line(line, what, tmp_path):
    path = put(tmp_path / "a.jsonl", f'{{"text": "good"}}\n\n{line}\n')
    with pytest.raises(DataError, match=rf"a\.jsonl:3: line .*{what}"):
        texts(path)


def test_a_lone_surrogate_in_json_is_replaced(tmp_path):
    repairs: Counter[str] = Counter()
    path = put(tmp_path / "a.jsonl", r'{"text": "x \ud800 y \ud83d\ude00"}')
    assert texts(path, repairs=repairs) == ["x \ufffd y \U0001f600"]
    assert repairs == {"invalid_utf8": 1}


def test_parquet_without_the_column_lists_what_it_has(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"body": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="no column `text`") as caught:
        texts(tmp_path / "a.parquet")
    assert "body" in caught.value.why


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_every_member_of_an_archive_is_read(suffix, tmp_path):
    path = put(tmp_path / f"a.txt{suffix}", PACK[suffix](b"one\ntw") + PACK[suffix](b"o\nthree\n"))
    assert texts(path) == ["one", "two", "three"]


def test_a_skippable_zstandard_frame_is_skipped(tmp_path):
    skipped = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"xyz"
    path = put(tmp_path / "a.txt.zst", skipped + PACK[".zst"](b"one\n"))
    assert texts(path) == ["one"]


def test_a_damaged_archive_is_told(tmp_path):
    data = bytearray(PACK[".gz"](b"some text\n" * 100))
    data[-6] ^= 0xFF
    with pytest.raises(DataError) as caught:
        texts(put(tmp_path / "a.txt.gz", bytes(data)))
    assert caught.value.name == "E-ARCHIVE"


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_a_bomb_is_refused(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr("extend.corpus.streams.BOMB_BYTES", 8 << 20)
    path = put(tmp_path / f"a.txt{suffix}", PACK[suffix](b" " * (40 << 20)))
    with pytest.raises(RefusedError) as caught:
        texts(path)
    assert (caught.value.name, caught.value.exit_code) == ("E-BOMB", 11)


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("a.txt.gz", b"plain text\n", "is not .gz"),
        ("a.txt", PACK[".gz"](b"x"), "looks like .gz"),
        ("a.txt.xz", b"<!DOCTYPE html><p>404", "HTML"),
        ("a.parquet", b"<html>404</html>" * 9, "parquet"),
    ],
)
def test_a_name_that_lies_is_told(name, data, what, tmp_path):
    with pytest.raises(DataError, match=what):
        texts(put(tmp_path / name, data))


class TestFindFiles:
    def test_files_folders_and_globs_in_byte_order_each_once(self, tmp_path):
        (tmp_path / "deep" / "er").mkdir(parents=True)
        for name in ("b.txt", "a.txt", "deep/er/é.jsonl", "deep/z.txt.gz", "deep/notes.md", "deep/.x.txt"):
            put(tmp_path / name, b"x")
        wanted = [tmp_path / name for name in ("a.txt", "b.txt", "deep/er/é.jsonl", "deep/z.txt.gz")]
        assert find_files([str(tmp_path)]) == wanted
        assert find_files([f"{tmp_path}/b.txt", f"{tmp_path}/*.txt"]) == wanted[:2]
        assert find_files([f"{tmp_path}/**/*.jsonl"]) == [wanted[2]]

    def test_one_file_by_two_names_is_read_once(self, tmp_path):
        put(tmp_path / "a.txt", b"x")
        (tmp_path / "b.txt").symlink_to(tmp_path / "a.txt")
        assert find_files([str(tmp_path)]) == [tmp_path / "a.txt"]

    def test_a_loop_of_links_ends(self, tmp_path):
        put(tmp_path / "a.txt", b"x")
        (tmp_path / "loop").symlink_to(tmp_path)
        assert find_files([str(tmp_path)]) == [tmp_path / "a.txt"]

    @pytest.mark.parametrize(
        ("pattern", "name"),
        [
            ("missing.txt", "E-PATH"),
            ("*.jsonl", "E-PATH"),
            ("empty", "E-CORPUS-EMPTY"),
            ("a.docx", "E-FORMAT"),
            ("pipe.txt", "E-PATH"),
            ("dangling.txt", "E-PATH"),
            ("bad\u202ename.txt", "E-PATH"),
            ("x" * 5000, "E-PATH"),
            ("nul\0byte.txt", "E-PATH"),
        ],
    )
    def test_what_cannot_be_read_is_told(self, pattern, name, tmp_path):
        (tmp_path / "empty").mkdir()
        put(tmp_path / "a.docx", b"x")
        os.mkfifo(tmp_path / "pipe.txt")
        (tmp_path / "dangling.txt").symlink_to(tmp_path / "nowhere")
        with pytest.raises(ExtendError) as caught:
            find_files([str(tmp_path / pattern)])
        assert caught.value.name == name
        assert "\u202e" not in caught.value.what

    def test_no_patterns_are_an_empty_corpus(self):
        with pytest.raises(DataError, match="empty"):
            find_files([])


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


DOCUMENTS = st.lists(st.text(alphabet="abc", min_size=1, max_size=3), max_size=60).map(
    lambda found: [Document(text, "xx", str(number)) for number, text in enumerate(found)]
)


@given(documents=DOCUMENTS, share=st.floats(0, 0.5), least=st.integers(0, 20), seed=st.integers(0, 5))
def test_held_out_sample(documents, share, least, seed):
    counted, held_out = split_held_out(documents, share=share, least=least, seed=seed)
    assert sorted(counted + held_out, key=lambda document: int(document.source)) == documents
    assert not {document.text for document in counted} & {document.text for document in held_out}
    assert len(held_out) <= len(documents) // 2
    again = split_held_out(documents[::-1], share=share, least=least, seed=seed)
    assert (again[0][::-1], again[1][::-1]) == (counted, held_out)


def test_held_out_sample_has_its_size_and_follows_the_seed():
    documents = [Document(f"line {number}", "xx", "a") for number in range(5000)]
    _, share = split_held_out(documents, share=0.1, least=200, seed=1)
    _, least = split_held_out(documents, share=0.01, least=200, seed=1)
    _, other = split_held_out(documents, share=0.1, least=200, seed=2)
    assert (len(share), len(least), len(other)) == (500, 200, 500)
    assert set(least) < set(share), "a larger sample holds the smaller"
    assert len(set(share) & set(other)) < 100


@given(found=st.lists(st.text(alphabet="ab ,\t\u00a0\u2028", max_size=12)))
def test_words_are_counted_as_the_splitter_gives_them(found):
    def split(text: str) -> list[str]:
        return text.replace(",", " , ").split()

    expected = Counter(word for text in found for word in split(text))
    assert count_words(found, split) == expected


def test_a_text_keeps_its_start_when_its_first_line_is_held_out() -> None:
    lines = [
        Document(f"text {text} line {line}", "xx", "f", starts_document=line == 0)
        for text in range(40)
        for line in range(3)
    ]
    counted, held_out = split_held_out(lines, share=0.3, least=1, seed=1)
    assert any(document.text.endswith("line 0") for document in held_out)
    for part in (counted, held_out):
        texts = [document.text.split(" line ")[0] for document in part]
        firsts = [here != before for here, before in zip(texts, [None, *texts[:-1]], strict=True)]
        assert [document.starts_document for document in part] == firsts
