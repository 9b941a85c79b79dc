"""JSON lines and parquet: which records are texts, which are bad, and what a file may not hold."""

import json

import pyarrow
import pytest

from extend.corpus import Account, ReadPolicy, read_batches
from extend.corpus.records import MAX_RECORD_BYTES
from extend.errors import RefusedError
from tests.extend.corpus_files import PACK, encoded, parquet, put, read, refused, texts

GOOD = '{"text": "good"}\n'


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{broken", "is not JSON"),
        ('{"body": "x"}', "under `text`"),
        ('{"text": null}', "under `text`"),
        ('{"text": 7}', "under `text`"),
        ('{"text": ["x"]}', "under `text`"),
        ('{"text": {"text": "x"}}', "under `text`"),
        ("[1]", "under `text`"),
        ('"text"', "under `text`"),
        ("7", "under `text`"),
        ('{"text": "x"} {"text": "y"}', "is not JSON"),
        ('{"text": "tab\there"}', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"a":' * 100_000, "is not JSON"),
    ],
)
class TestBadRecords:
    def test_one_in_a_short_file_is_told_with_its_line(self, line, what, tmp_path):
        error = refused(put(tmp_path / "a.jsonl", f"{GOOD}\n{line}\n"))
        assert (error.name, error.exit_code) == ("E-JSONL", 3)
        assert f"a.jsonl:3: line {what}" in error.what or (what in error.what and "a.jsonl:3: " in error.what)
        assert error.why == "1 of 2 records are bad; one in 1,000 may be"

    def test_one_in_a_thousand_is_left_out_and_counted(self, line, what, tmp_path):
        path = put(tmp_path / "a.jsonl", GOOD * 500 + f"{line}\n\n" + GOOD * 499)
        found, _, account = read(path)
        assert found == ["good"] * 999
        assert account.repairs["bad_records"] == 1
        assert account.first_bad.startswith(f"{path}:501: line ")
        assert what in account.first_bad
        assert account.skipped == len(line.encode()) + 2
        assert refused(put(path, GOOD * 500 + f"{line}\n" + GOOD * 498)).name == "E-JSONL"


def test_a_file_of_bad_records_is_refused_before_its_end(tmp_path):
    accounts: list[Account] = []
    path = put(tmp_path / "a.jsonl", GOOD * 100 + "bad\n" * 1_000_000)
    with pytest.raises(Exception, match=r"a\.jsonl:101: line is not JSON"):
        list(read_batches([path], accounts=accounts))
    assert accounts[0].repairs["bad_records"] == 101


def test_text_of_errors_is_short_and_escaped(tmp_path):
    error = refused(put(tmp_path / "a.jsonl", '{"text": "' + "secret\u202e" * 100))
    assert "\u202e" not in error.message("vocab")
    assert "secret" not in error.message("vocab")


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ('{"text": "x", "score": 1e400}', "x"),
        ('{"text": "x", "id": ' + "7" * 10_000 + "}", "x"),
        ('{"text": "x", "score": NaN}', "x"),
        ('{"text": "first", "text": "last"}', "last"),
        ('{"text": "two\\nlines"}', "two\nlines"),
        (r'{"text": "x \ud800 y \ud83d\ude00"}', "x \ufffd y \U0001f600"),
        (r'{"text": "x \udc00\ud800"}', "x \ufffd\ufffd"),
        (r'{"text": "nul\u0000here"}', "nulhere"),
        ('{"text": "raw \0 nul"}', "raw  nul"),
        ('  {"text": " x "}\t\r', " x "),
    ],
)
def test_what_is_a_record(record, text, tmp_path):
    assert texts(put(tmp_path / "a.jsonl", record)) == [text]


def test_a_nul_in_a_record_is_skipped(tmp_path):
    found, _, account = read(put(tmp_path / "a.jsonl", '{"text": "raw \0\0 nul"}\n'))
    assert (found, account.skipped, account.repairs) == (["raw  nul"], 2, {"nul": 2})


def test_repairs_of_records_are_counted(tmp_path):
    lines = [
        r'{"text": "x \ud800"}',
        r'{"text": "\u202ey\u0000"}',
        '{"text": "z\ufeff"}',
        '{"text": " "}',
    ]
    data = b"\xef\xbb\xbf" + "\n".join(lines).encode() + b'\n{"text": "\xff"}'
    found, starts, account = read(put(tmp_path / "a.jsonl", data))
    assert found == ["x \ufffd", "\u202ey", "z\ufeff", "\ufffd"]
    assert starts == [True] * 4
    assert account.repairs == {"bom": 1, "invalid_utf8": 2, "bidi_controls": 1, "nul": 1, "bom_inside": 1}
    assert account.first_invalid == data.index(b"\xff")
    assert account.skipped == 3 + len(lines[3]) + 1
    assert refused(tmp_path / "a.jsonl", ReadPolicy(strict=True)).name == "E-UTF8"


def test_a_long_record_is_cut_as_a_long_line_is(tmp_path):
    text = "වචනය " * 200_000
    path = put(tmp_path / "a.jsonl", json.dumps({"text": text}, ensure_ascii=False) + "\n" + GOOD)
    found, starts, account = read(path)
    assert "".join(found[:-1]) == text
    assert len(found) > 3
    assert starts == [True] + [False] * (len(found) - 2) + [True]
    assert account.repairs == {"long_lines": len(found) - 2}
    assert account.lines == 2


def test_a_record_over_the_limit_is_bad(tmp_path):
    long = b'{"text": "' + b"x" * (MAX_RECORD_BYTES + 10) + b'"}'
    path = put(tmp_path / "a.jsonl", GOOD.encode() * 1200 + long + b"\n" + GOOD.encode())
    found, _, account = read(path)
    assert len(found) == 1201
    assert account.first_bad == f"{path}:1201: line is longer than 16 MiB"
    assert account.skipped == len(long) + 1
    error = refused(put(path, long))
    assert "a.jsonl:1: line is longer than 16 MiB" in error.what
    assert error.why == "1 of 1 records are bad; one in 1,000 may be"


class TestParquet:
    def test_without_the_column_it_lists_what_it_has(self, tmp_path):
        error = refused(put(tmp_path / "a.parquet", parquet(pyarrow.table({"body": ["x"], "id": [1]}))))
        assert (error.name, error.exit_code) == ("E-PARQUET", 3)
        assert "no column `text`" in error.what
        assert error.why == "its columns: body, id"

    def test_one_shard_with_another_schema_is_named(self, tmp_path):
        good = put(tmp_path / "a.parquet", encoded(".parquet"))
        bad = put(tmp_path / "b.parquet", parquet(pyarrow.table({"text": [1, 2]})))
        with pytest.raises(Exception, match=r"b\.parquet has no strings in its column `text`"):
            list(read_batches([good, bad]))

    @pytest.mark.parametrize(
        "kind",
        [pyarrow.string(), pyarrow.large_string(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())],
    )
    def test_every_kind_of_string_is_read(self, kind, tmp_path):
        column = pyarrow.array(["එක", None, "", "two"], pyarrow.string()).cast(kind)
        found, starts, account = read(put(tmp_path / "a.parquet", parquet(pyarrow.table({"text": column}))))
        assert (found, starts) == (["එක", "two"], [True, True])
        assert account.repairs == {"null_records": 1}
        assert (account.lines, account.read) == (4, account.size)

    def test_invalid_utf8_is_replaced_and_counted(self, tmp_path):
        raw = pyarrow.array([b"bad \xc9 byte", b"good"], pyarrow.binary())
        column = pyarrow.Array.from_buffers(pyarrow.string(), 2, raw.buffers())
        path = put(tmp_path / "a.parquet", parquet(pyarrow.table({"text": column})))
        found, _, account = read(path)
        assert found == ["bad \ufffd byte", "good"]
        assert account.repairs == {"invalid_utf8": 1}
        assert account.first_invalid is None
        assert refused(path, ReadPolicy(strict=True)).name == "E-UTF8"

    @pytest.mark.parametrize("damage", ["footer", "footer length", "page", "cut"])
    def test_damage_is_told(self, damage, tmp_path):
        data = bytearray(parquet(pyarrow.table({"text": [f"text {number}" for number in range(900)]})))
        if damage == "footer":
            data[-60] ^= 0xFF
            data[-30:-20] = b"\xff" * 10
        elif damage == "footer length":
            data[-8:-4] = b"\xff\xff\xff\x7f"
        elif damage == "page":
            data[len(data) // 4] ^= 1
        else:
            data = data[: len(data) // 2]
        error = refused(put(tmp_path / "a.parquet", bytes(data)))
        assert (error.name, error.exit_code) == ("E-PARQUET", 3)

    def test_a_damaged_file_is_dropped_whole_when_asked(self, tmp_path):
        table = pyarrow.table({"text": [f"text {number} {number * 31}" for number in range(20_000)]})
        data = bytearray(parquet(table))
        data[len(data) - len(data) // 4] ^= 1
        bad, good = put(tmp_path / "a.parquet", bytes(data)), put(tmp_path / "b.txt", "good\n")
        accounts: list[Account] = []
        batches = list(read_batches([bad, good], accounts=accounts, policy=ReadPolicy(skip_bad_files=True)))
        assert [batch.texts for batch in batches] == [["good"]]
        assert accounts[0].dropped.startswith("E-PARQUET")

    def test_packed_and_large_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr("extend.corpus.parquet.MAX_TABLE_BYTES", 1000)
        data = parquet(pyarrow.table({"text": [f"text {number}" for number in range(900)]}))
        error = refused(put(tmp_path / "a.parquet.gz", PACK[".gz"](data)))
        assert isinstance(error, RefusedError)
        assert error.name == "E-SIZE"

    def test_one_string_said_a_million_times_is_a_bomb(self, tmp_path, monkeypatch):
        monkeypatch.setattr("extend.corpus.parquet.BOMB_BYTES", 8 << 20)
        table = pyarrow.table({"text": pyarrow.repeat("x" * 10_000, 20_000)})
        path = put(tmp_path / "a.parquet", parquet(table))
        assert path.stat().st_size < 16 << 10
        assert refused(path).name == "E-BOMB"
