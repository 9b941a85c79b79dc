"""Files on disk: which are taken, none waited for, none changed in silence, hiccups tried again."""

import errno
import io
import itertools
import os
import random
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from extend.corpus import Account, ReadPolicy, find_files, fingerprints, read_batches, read_file, read_text
from extend.corpus.disk import SteadyFile, open_regular
from extend.corpus.streams import Stream
from extend.errors import DataError, ExtendError, PathError
from tests.extend.corpus_files import ARCHIVES, PACK, encoded, parquet, put, read, refused


class TestFindFiles:
    def test_files_folders_and_globs_in_byte_order_each_once(self, tmp_path):
        (tmp_path / "deep" / "er").mkdir(parents=True)
        for name in ("b.txt", "a.TXT", "deep/er/é.jsonl", "deep/z.txt.gz", "deep/notes.md", "deep/.x.txt"):
            put(tmp_path / name, b"x")
        wanted = [tmp_path / name for name in ("a.TXT", "b.txt", "deep/er/é.jsonl", "deep/z.txt.gz")]
        assert find_files([str(tmp_path)]) == wanted
        assert find_files([f"{tmp_path}/b.txt", f"{tmp_path}/*.[tT]*"]) == wanted[:2]
        assert find_files([f"{tmp_path}/**/*.jsonl"]) == [wanted[2]]
        assert find_files([f"{tmp_path}/**"]) == wanted
        assert find_files([f"{tmp_path}/d*/**/*.txt*", f"{tmp_path}/**/er/*"]) == wanted[2:]

    def test_globs_agree_with_the_standard_library(self, tmp_path, monkeypatch):
        for folder in ("a/b/c", "a/d", "e"):
            (tmp_path / folder).mkdir(parents=True)
            put(tmp_path / folder / "x.txt", b"x")
        monkeypatch.chdir(tmp_path)
        for pattern in ("**/*.txt", "a/**/*.txt", "*/**/x.txt", "**/b/**/*.txt", "a/**/c/x.txt"):
            expected = sorted(os.path.realpath(path) for path in Path().glob(pattern))
            assert [os.path.realpath(path) for path in find_files([pattern])] == expected, pattern

    def test_one_file_by_two_names_is_read_once_and_told(self, tmp_path):
        put(tmp_path / "a.txt", b"x")
        (tmp_path / "b.txt").symlink_to(tmp_path / "a.txt")
        os.link(tmp_path / "a.txt", tmp_path / "c.txt")
        duplicates: list[Path] = []
        assert find_files([str(tmp_path)], duplicates=duplicates) == [tmp_path / "a.txt"]
        assert duplicates == [tmp_path / "b.txt", tmp_path / "c.txt"]
        duplicates.clear()
        find_files([f"{tmp_path}/a.txt", f"{tmp_path}/a*"], duplicates=duplicates)
        assert duplicates == [], "one path given twice is one path"

    def test_loops_of_links_end(self, tmp_path):
        put(tmp_path / "a.txt", b"x")
        for name in ("one", "two", "three"):
            (tmp_path / name).symlink_to(tmp_path)
        assert find_files([str(tmp_path)]) == [tmp_path / "a.txt"]
        assert find_files([f"{tmp_path}/**/*.txt"]) == [tmp_path / "a.txt"]
        (tmp_path / "self.txt").symlink_to(tmp_path / "self.txt")
        with pytest.raises(PathError, match="self"):
            find_files([str(tmp_path / "self.txt")])

    def test_names_without_a_known_ending_are_read_when_given(self, tmp_path):
        for name in ("corpus", "corpus.gz", "wiki_00", "notes.md"):
            put(tmp_path / name, PACK[".gz" if name.endswith(".gz") else ""](f"{name}\n".encode()))
        files = find_files([str(tmp_path / "corpus"), str(tmp_path / "corpus.gz"), f"{tmp_path}/wiki_*"])
        assert [batch.texts for batch in read_batches(files)] == [["corpus"], ["corpus.gz"], ["wiki_00"]]
        put(tmp_path / "a.txt", "x")
        assert find_files([str(tmp_path)]) == [tmp_path / "a.txt"], "a folder gives known endings alone"

    @pytest.mark.parametrize(
        ("pattern", "name"),
        [
            ("missing.txt", "E-PATH"),
            ("*.jsonl", "E-PATH"),
            ("**/*.jsonl", "E-PATH"),
            ("empty", "E-CORPUS-EMPTY"),
            ("a.docx", "E-FORMAT"),
            ("pipe.txt", "E-PATH"),
            ("socket.txt", "E-PATH"),
            ("dangling.txt", "E-PATH"),
            ("bad\u202ename.txt", "E-PATH"),
            ("x" * 5000, "E-PATH"),
            ("nul\0byte.txt", "E-PATH"),
        ],
    )
    def test_what_cannot_be_read_is_told(self, pattern, name, tmp_path, monkeypatch):
        (tmp_path / "empty").mkdir()
        put(tmp_path / "a.docx", b"x")
        os.mkfifo(tmp_path / "pipe.txt")
        (tmp_path / "dangling.txt").symlink_to(tmp_path / "nowhere")
        monkeypatch.chdir(tmp_path)  # the path of a socket is short
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket.txt")
            with pytest.raises(ExtendError) as caught:
                find_files([str(tmp_path / pattern)])
        assert caught.value.name == name
        assert "\u202e" not in caught.value.what

    def test_no_patterns_are_an_empty_corpus(self):
        with pytest.raises(DataError, match="empty"):
            find_files([])


@pytest.mark.parametrize("name", ["pipe.txt", "folder.txt", "/dev/zero", "nul\0byte.txt", "gone.txt"])
def test_what_is_no_file_is_refused_by_the_reader_without_waiting(name, tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.txt").mkdir()
    path = tmp_path / name
    for reading in (read_text(path, account=Account(path)), read_file(path, account=Account(path))):
        with pytest.raises(PathError) as caught:
            next(reading)
        assert (caught.value.name, caught.value.exit_code) == ("E-PATH", 4)


class TestChange:
    @pytest.mark.parametrize("how", ["grows", "shrinks", "is rewritten", "is replaced", "is touched"])
    def test_a_file_that_is_not_what_it_was_is_told(self, how, tmp_path):
        first, second = put(tmp_path / "a.txt", "one\n"), put(tmp_path / "b.txt", "two\nthree\n")
        batches = read_batches([first, second])
        assert next(batches).texts == ["one"]
        status = second.stat()
        if how == "is replaced":
            put(tmp_path / "new", "two\nthree\n").replace(second)
            os.utime(second, ns=(status.st_atime_ns, status.st_mtime_ns))
        elif how == "is touched":
            os.utime(second, ns=(0, status.st_mtime_ns + 1))
        else:
            put(
                second,
                {"grows": "two\nthree\nfour\n", "shrinks": "two\n", "is rewritten": "TWO\nthree\n"}[how],
            )
            os.utime(second, ns=(0, status.st_mtime_ns + 10))
        with pytest.raises(DataError) as caught:
            next(batches)
        assert (caught.value.name, caught.value.exit_code) == ("E-CHANGED", 3)
        assert "b.txt changed" in caught.value.what

    def test_a_file_that_goes_is_told(self, tmp_path):
        first, second = put(tmp_path / "a.txt", "one\n"), put(tmp_path / "b.txt", "two\n")
        batches = read_batches([first, second])
        next(batches)
        second.unlink()
        with pytest.raises(PathError, match=r"b\.txt"):
            next(batches)

    @pytest.mark.parametrize("size", [3 << 20, 3])
    def test_a_file_that_grows_while_it_is_read_is_told(self, size, tmp_path):
        path = put(tmp_path / "a.txt", "line\n" * (size // 5 + 1))
        batches = read_text(path, account=Account(path))
        next(batches)
        with open(path, "ab") as file:
            file.write(b"more\n")
        with pytest.raises(DataError) as caught:
            list(batches)
        assert caught.value.name == "E-CHANGED"

    def test_a_file_that_ends_before_its_size_is_told(self, tmp_path):
        class Short(io.FileIO):
            def readinto(self, buffer):
                return super().readinto(memoryview(buffer)[: max(0, 90 - self.tell())])

        path = put(tmp_path / "a.txt", "line\n" * 20)
        account = Account(path, size=100)
        with SteadyFile(path, lambda: Short(path)) as file:
            stream = Stream(path, file, account=account, policy=ReadPolicy())
            with pytest.raises(DataError, match="changed"):
                list(stream.blocks())
        assert account.unpacked == 90

    def test_a_second_pass_may_hold_the_files_to_the_first(self, tmp_path):
        path = put(tmp_path / "a.txt", "one\n")
        fixed = fingerprints([path])
        assert [batch.texts for batch in read_batches([path], fingerprints=fixed)] == [["one"]]
        put(path, "one\ntwo\n")
        with pytest.raises(DataError, match="changed"):
            list(read_batches([path], fingerprints=fixed, policy=ReadPolicy(skip_bad_files=True)))


class Hiccups(io.FileIO):
    """A file whose reads fail with `code` while `left` lasts; the count is shared by all openings."""

    def __init__(self, path: Path, code: int, left: list[int]) -> None:
        super().__init__(path)
        self.code, self.left = code, left

    def readinto(self, buffer):
        if self.tell() >= 8 and self.left[0]:
            self.left[0] -= 1
            raise OSError(self.code, os.strerror(self.code))
        return super().readinto(memoryview(buffer)[:8])


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
class TestRetries:
    def test_three_hiccups_are_read_over(self, code, tmp_path):
        path, left = put(tmp_path / "a.txt", bytes(range(100))), [3]
        with SteadyFile(path, lambda: Hiccups(path, code, left), pauses=(0, 0, 0)) as file:
            assert b"".join(iter(lambda: file.read(64), b"")) == bytes(range(100))
        assert left == [0]

    def test_a_fourth_is_told_with_its_place(self, code, tmp_path):
        path, left = put(tmp_path / "a.txt", bytes(range(100))), [4]
        with SteadyFile(path, lambda: Hiccups(path, code, left), pauses=(0, 0, 0)) as file:
            file.read(8)
            with pytest.raises(PathError) as caught:
                file.read(8)
        assert (caught.value.exit_code, caught.value.why) == (4, "tried 4 times")
        assert caught.value.what == f"cannot read {path} at byte 8: {os.strerror(code)}"

    def test_another_file_in_its_place_is_told(self, code, tmp_path):
        path, other = put(tmp_path / "a.txt", bytes(100)), put(tmp_path / "b.txt", bytes(101))
        files = itertools.chain([Hiccups(path, code, [9])], iter(lambda: open_regular(other), None))
        with SteadyFile(path, lambda: next(files), pauses=(0, 0, 0)) as file:
            file.read(8)
            with pytest.raises(DataError, match="changed"):
                file.read(8)

    def test_the_error_comes_through_the_parquet_reader(self, code, tmp_path):
        path, left = put(tmp_path / "a.parquet", encoded(".parquet")), [99]
        with (
            SteadyFile(path, lambda: Hiccups(path, code, left), pauses=(0,)) as file,
            pytest.raises(PathError, match="at byte"),
        ):
            pyarrow.parquet.ParquetFile(file)


def test_other_failures_are_not_tried_again(tmp_path):
    path, left = put(tmp_path / "a.txt", bytes(100)), [9]
    with SteadyFile(path, lambda: Hiccups(path, errno.EACCES, left), pauses=(60,)) as file:
        file.read(8)
        with pytest.raises(PathError, match="Permission denied"):
            file.read(8)
    assert left == [8]


def test_the_order_of_files_is_that_of_their_bytes(tmp_path):
    names = ["Z.txt", "a.txt", "a-b.txt", "a/b.txt", "é.txt", "\udcff.txt", "ა.txt", "𐐀.txt"]
    (tmp_path / "a").mkdir()
    files = [put(tmp_path / name, ascii(name)) for name in names]
    expected = [ascii(name) for name in sorted(names, key=os.fsencode)]
    for seed in range(5):
        random.Random(seed).shuffle(files)
        assert [batch.texts[0] for batch in read_batches(files)] == expected
    assert find_files([str(tmp_path)]) == sorted(files, key=os.fsencode)


MANY_FILES = """
import resource, sys
from pathlib import Path
from extend.corpus import find_files, read_batches
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
files = find_files([sys.argv[1]])
batches = read_batches(files)
half = [next(batches) for _ in range(len(files) // 2)]
batches.close()
print(len(files), len(half), sum(len(batch.texts) for batch in read_batches(files)))
"""


def test_many_files_need_few_descriptors(tmp_path):
    for number in range(400):
        kind = (".txt", ".jsonl", ".txt.gz", ".txt.zst", ".txt.xz")[number % 5]
        (tmp_path / str(number % 7)).mkdir(exist_ok=True)
        put(tmp_path / str(number % 7) / f"{number}{kind}", encoded(kind, ("one", "two")))
    table = parquet(pyarrow.table({"text": ["one", "two"]}))
    for number in range(100):
        put(tmp_path / f"{number}.parquet", table)
    output = subprocess.run(
        [sys.executable, "-c", MANY_FILES, str(tmp_path)], capture_output=True, check=True
    ).stdout
    assert output.split() == [b"500", b"250", b"1000"]


def test_a_file_without_permission_is_told(tmp_path):
    path = put(tmp_path / "a.txt", "text\n")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert refused(path).exit_code == 4


@pytest.mark.parametrize("suffix", ["", *ARCHIVES])
def test_a_read_only_folder_is_enough(suffix, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = put(folder / f"a.txt{suffix}", PACK[suffix](b"text\n"))
    folder.chmod(0o500)
    try:
        assert read(path)[0] == ["text"]
        assert os.listdir(folder) == [path.name]
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)
