"""Compressed files: known by their bytes, read to their clean end or refused, never partial in silence."""

import bz2
import gzip
import io
import lzma
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib

import pytest
import zstandard

from extend.corpus import Account, ReadPolicy, kind_of, read_batches
from extend.errors import RefusedError
from tests.extend.corpus_files import ARCHIVES, LINES, PACK, encoded, put, read, refused, texts

TEXT = "".join(f"line {number} පේළිය\n" for number in range(300)).encode()


def skippable(data: bytes, *, nibble: int = 0) -> bytes:
    return bytes([0x50 + nibble]) + b"\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


@pytest.mark.parametrize("suffix", ARCHIVES)
class TestMembers:
    def test_every_member_is_read(self, suffix, tmp_path):
        path = put(tmp_path / f"a.txt{suffix}", PACK[suffix](b"one\ntw") + PACK[suffix](b"o\nthree\n"))
        assert texts(path) == ["one", "two", "three"]

    def test_empty_members_are_nothing(self, suffix, tmp_path):
        empty = PACK[suffix](b"")
        path = put(tmp_path / f"a.txt{suffix}", empty + PACK[suffix](b"one\n") + empty * 3)
        assert texts(path) == ["one"]
        assert refused(put(path, empty)).name == "E-CORPUS-EMPTY"

    def test_many_members_take_linear_time(self, suffix, tmp_path):
        member = PACK[suffix](b"a\n")
        path = put(tmp_path / f"a.txt{suffix}", member * 20_000)
        before = time.process_time()
        found, _, account = read(path)
        assert found == ["a"] * 20_000
        assert account.unpacked == 40_000
        assert time.process_time() - before < 5

    def test_a_cut_archive_is_broken(self, suffix, tmp_path):
        data = PACK[suffix](TEXT)
        for length in {1 + len(data) * part // 12 for part in range(4, 12)} | {len(data) - 1}:
            assert refused(put(tmp_path / f"a.txt{suffix}", data[:length])).name == "E-ARCHIVE"

    def test_a_cut_second_member_is_broken(self, suffix, tmp_path):
        path = put(tmp_path / f"a.txt{suffix}", PACK[suffix](TEXT) + PACK[suffix](TEXT)[:-3])
        assert refused(path).name == "E-ARCHIVE"

    @pytest.mark.parametrize("garbage", [b"garbage", b"\x01", b"\0\0\0\0garbage"])
    def test_garbage_behind_a_member_is_broken(self, suffix, garbage, tmp_path):
        assert refused(put(tmp_path / f"a.txt{suffix}", PACK[suffix](TEXT) + garbage)).name == "E-ARCHIVE"

    def test_a_wrong_checksum_is_broken(self, suffix, tmp_path):
        data = bytearray(PACK[suffix](TEXT))
        data[{".gz": -6, ".zst": -2, ".xz": -30}[suffix]] ^= 0xFF
        error = refused(put(tmp_path / f"a.txt{suffix}", bytes(data)))
        assert (error.name, error.exit_code) == ("E-ARCHIVE", 3)

    def test_broken_files_are_dropped_whole_when_asked(self, suffix, tmp_path):
        good = put(tmp_path / "good.txt", "good\n")
        bad = put(tmp_path / f"bad.txt{suffix}", PACK[suffix](TEXT * 200)[:-4])
        accounts: list[Account] = []
        policy = ReadPolicy(skip_bad_files=True)
        found = [
            text
            for batch in read_batches([good, bad], accounts=accounts, policy=policy)
            for text in batch.texts
        ]
        assert found == ["good"]
        assert [account.path for account in accounts] == [bad, good]
        assert accounts[0].dropped == f"E-ARCHIVE: {bad} is broken or cut short"
        assert (accounts[0].read, accounts[0].documents, accounts[0].repairs) == (0, 0, {})
        assert accounts[0].skipped == accounts[0].unpacked > 0
        assert accounts[1].dropped == ""
        only = refused(bad, policy)
        assert (only.name, only.why) == (
            "E-CORPUS-EMPTY",
            f"files were dropped, the first for {accounts[0].dropped}",
        )


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_zero_padding_between_members_is_nothing(suffix, tmp_path):
    one = PACK[suffix](b"one\n")
    assert texts(put(tmp_path / f"a.txt{suffix}", one + bytes(512) + one + bytes(10_000))) == ["one", "one"]


@pytest.mark.parametrize("nibble", [0, 15])
def test_a_skippable_frame_is_skipped(nibble, tmp_path):
    frame = PACK[".zst"](b"one\n")
    data = skippable(b"xyz", nibble=nibble) + frame + skippable(b"") + frame + skippable(b"end")
    assert texts(put(tmp_path / "a.txt.zst", data)) == ["one", "one"]
    assert refused(put(tmp_path / "a.txt.zst", data[:-1])).name == "E-ARCHIVE"


def test_a_frame_with_a_window_over_128_mib_is_refused(tmp_path):
    def framed(window_log: int) -> bytes:
        parameters = zstandard.ZstdCompressionParameters(window_log=window_log, compression_level=1)
        frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        return frame.compress(b"some text\n") + frame.flush()

    assert texts(put(tmp_path / "a.txt.zst", framed(27))) == ["some text"]
    error = refused(put(tmp_path / "b.txt.zst", framed(28)))
    assert error.name == "E-ARCHIVE"
    assert "memory" in error.why


def test_a_frame_that_needs_a_dictionary_is_refused(tmp_path):
    words = zstandard.ZstdCompressionDict(b"some text that is said again " * 40)
    data = zstandard.ZstdCompressor(dict_data=words).compress(b"some text that is said again\n" * 9)
    trained = zstandard.train_dictionary(
        4096, [f"record {number} of many, some text {number * 7}".encode() for number in range(3000)]
    )
    named = zstandard.ZstdCompressor(dict_data=trained).compress(b"record 5 of many, some text 35\n" * 9)
    for packed in (data, named):
        assert refused(put(tmp_path / "a.txt.zst", packed)).name == "E-ARCHIVE"


def test_an_xz_stream_over_the_memory_limit_is_refused(tmp_path):
    data = bytearray(lzma.compress(b"some text\n", preset=0))
    header = slice(12, 20)  # of the first block: its size, flags, filter and the filter's properties
    assert data[header][:4] == b"\x02\x00\x21\x01"
    data[16] = 38  # a dictionary of 2 GiB
    data[20:24] = zlib.crc32(data[header]).to_bytes(4, "little")
    error = refused(put(tmp_path / "a.txt.xz", bytes(data)))
    assert (error.name, "limit" in error.why) == ("E-ARCHIVE", True)


class TestBombs:
    @pytest.mark.parametrize("suffix", ARCHIVES)
    def test_a_file_that_grows_without_end_is_refused(self, suffix, tmp_path, monkeypatch):
        monkeypatch.setattr("extend.corpus.streams.BOMB_BYTES", 8 << 20)
        error = refused(put(tmp_path / f"a.txt{suffix}", PACK[suffix](b" " * (40 << 20))))
        assert isinstance(error, RefusedError)
        assert (error.name, error.exit_code) == ("E-BOMB", 11)

    @pytest.mark.parametrize("suffix", ARCHIVES)
    def test_a_cap_holds_for_archives_alone(self, suffix, tmp_path):
        policy = ReadPolicy(max_unpacked=5_000)
        assert refused(put(tmp_path / f"a.txt{suffix}", PACK[suffix](TEXT)), policy).name == "E-BOMB"
        assert len(texts(put(tmp_path / "a.txt", TEXT), policy)) == 300

    def test_bombs_are_not_among_the_files_to_drop(self, tmp_path):
        policy = ReadPolicy(skip_bad_files=True, max_unpacked=5_000)
        assert refused(put(tmp_path / "a.txt.gz", PACK[".gz"](TEXT)), policy).name == "E-BOMB"

    @pytest.mark.parametrize("suffix", ARCHIVES)
    def test_a_real_bomb_is_refused_soon_and_in_little_memory(self, suffix, tmp_path):
        path = put(tmp_path / f"a.txt{suffix}", _bomb(suffix))
        output = subprocess.run(
            [sys.executable, "-c", IN_LITTLE_MEMORY, str(path)], capture_output=True, check=True, timeout=60
        ).stdout
        name, seconds = output.split()
        assert name == b"E-BOMB"
        assert float(seconds) < 10

    @pytest.mark.parametrize("suffix", ARCHIVES)
    def test_a_bomb_in_a_bomb_is_refused_at_the_first(self, suffix, tmp_path):
        error = refused(put(tmp_path / f"a.txt{suffix}", PACK[suffix](PACK[".gz"](TEXT))))
        assert (error.name, error.what.endswith(f".gz inside {suffix}")) == ("E-ARCHIVE-KIND", True)


IN_LITTLE_MEMORY = """
import resource, sys, time
from pathlib import Path
from extend.corpus import read_batches
from extend.errors import ExtendError
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (160 << 20), size + (160 << 20)))
before = time.process_time()
try:
    for batch in read_batches([Path(sys.argv[1])]):
        pass
except ExtendError as error:
    print(error.name, time.process_time() - before)
"""


def _bomb(suffix: str) -> bytes:
    """More than 1 GiB of the letter `x`, in as little as the format gives."""
    if suffix == ".gz":
        return gzip.compress(b"x" * (16 << 20), compresslevel=9) * 68
    if suffix == ".xz":
        return lzma.compress(b"x" * (16 << 20), preset=0) * 68
    return zstandard.ZstdCompressor(level=3).compress(b"x" * (128 << 20)) * 9


class TestNames:
    @pytest.mark.parametrize(
        "name", ["a.txt", "a.txt.gz", "a.txt.xz", "a.txt.zst", "a.jsonl", "corpus", "a.log"]
    )
    @pytest.mark.parametrize("suffix", ["", *ARCHIVES])
    def test_the_content_decides_on_compression(self, name, suffix, tmp_path):
        texts_or_json = encoded(".jsonl" if "jsonl" in name else ".txt")
        found, _, account = read(put(tmp_path / name, PACK[suffix](texts_or_json)))
        assert tuple(found) == LINES
        assert account.compression == suffix
        claimed = next((ending for ending in ARCHIVES if name.endswith(ending)), "")
        assert account.repairs == ({} if claimed == suffix else {"magic": 1})

    @pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet", "a"])
    def test_parquet_is_known_by_its_first_bytes(self, name, tmp_path):
        found, _, account = read(put(tmp_path / name, encoded(".parquet")))
        assert (tuple(found), account.format) == (LINES, "parquet")
        assert account.repairs["magic"] == (name in ("a.txt", "a.jsonl"))

    @pytest.mark.parametrize(
        ("name", "data", "kind"),
        [
            ("a", b'{"text": "x"}\n{', "jsonl"),
            ("a.gz", b'\xef\xbb\xbf\n {"id": 1}', "jsonl"),
            ("a.txt", b'{"text": "x"}\n', "text"),
            ("a", b"{curly\n", "text"),
            ("a", b"[1]\n", "text"),
            ("a", b'{"text": \n', "text"),
            ("A.TXT", b'{"text": "x"}\n', "text"),
            ("a", b"[" * 90_000, "text"),
            ("a", b'{"a":' * 90_000, "text"),
        ],
    )
    def test_the_name_decides_between_text_and_records(self, name, data, kind, tmp_path):
        assert kind_of(put(tmp_path / name, data)).format == kind

    @pytest.mark.parametrize("name", ["a.txt", "a.txt.xz", "a.jsonl", "a.parquet", "a"])
    @pytest.mark.parametrize(
        "page", [b"<!DOCTYPE html><p>404", b"\n <HTML>\n<head>", b"\xef\xbb\xbf<html lang=ug>"]
    )
    def test_an_error_page_is_refused(self, name, page, tmp_path):
        error = refused(put(tmp_path / name, page))
        assert (error.name, error.exit_code) == ("E-MAGIC", 3)
        assert "looks like an HTML error page" in error.what

    @pytest.mark.parametrize("suffix", ARCHIVES)
    def test_an_archive_with_a_damaged_start_is_no_text(self, suffix, tmp_path):
        data = b"\x00" + PACK[suffix](b"short\n")[1:]
        error = refused(put(tmp_path / f"a.txt{suffix}", data))
        assert (error.name, error.why) == ("E-ARCHIVE", "and it is no plain text")

    def test_a_parquet_name_on_something_else_is_refused(self, tmp_path):
        error = refused(put(tmp_path / "a.parquet", "plain text\n"))
        assert (error.name, error.why) == ("E-PARQUET", "it does not begin with PAR1")

    @pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.tar", "a"])
    @pytest.mark.parametrize("kind", ["tar", "zip", "bzip2", "lzma", "7z"])
    def test_archives_of_files_are_refused(self, name, kind, tmp_path):
        error = refused(put(tmp_path / name, _archive(kind)))
        assert (error.name, error.exit_code) == ("E-ARCHIVE-KIND", 3)
        assert f"a {kind} archive" in error.what
        assert "unpack it yourself" in error.next

    @pytest.mark.parametrize("suffix", ARCHIVES)
    def test_a_packed_tar_is_refused_and_nothing_is_unpacked(self, suffix, tmp_path):
        error = refused(put(tmp_path / f"a.tar{suffix}", PACK[suffix](_archive("tar"))))
        assert (error.name, error.what.endswith(f"tar inside {suffix}")) == ("E-ARCHIVE-KIND", True)
        assert sorted(entry.name for entry in tmp_path.parent.glob("*canary*")) == []
        assert [entry.name for entry in tmp_path.iterdir()] == [f"a.tar{suffix}"]


def _archive(kind: str) -> bytes:
    """An archive whose one entry would leave the folder it is unpacked in."""
    sink = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=sink, mode="w") as archive:
            entry = tarfile.TarInfo("../canary")
            entry.size = 4
            archive.addfile(entry, io.BytesIO(b"text"))
    elif kind == "zip":
        with zipfile.ZipFile(sink, "w") as packed:
            packed.writestr("../canary", "text")
    else:
        sink.write(
            {
                "bzip2": bz2.compress(b"text\n"),
                "lzma": lzma.compress(b"text\n", lzma.FORMAT_ALONE),
                "7z": b"7z\xbc\xaf'\x1c\0\4",
            }[kind]
        )
    return sink.getvalue()
