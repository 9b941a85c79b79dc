"""A run's text: split in two streams by one rule, counted within the run's limits, spooled from a pipe."""

import gzip
import io
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from extend import recipe
from extend.config import load_settings
from extend.corpus import count_words
from extend.errors import DataError
from extend.languages import resolve
from extend.recipe.corpora import (
    count_split,
    counting_limits,
    counts_folder,
    read_policy,
    split_corpus,
    spool_input,
    text_files,
)

RECORD = b'{"text": "one two"}\n'
LINES = tuple(f"line {number} of {number % 9} {'x' * (number % 13)}" for number in range(600))


def opened(directory: Path, **overrides: Any) -> recipe.Run:
    settings = load_settings(None, {"lang": "ka", "vocab.held_out_lines": 40, **overrides})
    return recipe.open_run(settings, directory / "run", resolve("ka"))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "ka.txt"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


class TestSplit:
    def test_both_parts_are_the_corpus_and_can_be_read_again(self, text, tmp_path):
        corpus = split_corpus(opened(tmp_path), "ka", [str(text)])
        for _ in range(2):
            training = [document.text for document in corpus.training()]
            unseen = [document.text for document in corpus.unseen()]
            assert (len(unseen), len(training)) == (40, 560)
            assert sorted(training + unseen) == sorted(LINES)
            assert all(line in corpus.held_out for line in unseen)

    def test_counts_are_those_of_the_two_parts(self, text, tmp_path):
        run = opened(tmp_path)
        corpus = split_corpus(run, "ka", [str(text)])
        counts = count_split(run, corpus, str.split)
        assert counts.words == count_words((document.text for document in corpus.training()), str.split)
        assert counts.held_out == count_words((document.text for document in corpus.unseen()), str.split)
        assert not counts_folder(run, "ka").exists()

    def test_no_part_is_whole_in_memory(self, tmp_path):
        path = tmp_path / "large.txt"
        with path.open("w") as file:
            for number in range(30_000):
                file.write(f"{number} {'word ' * 200}\n")
        corpus = split_corpus(opened(tmp_path), "ka", [str(path)])
        tracemalloc.start()
        size = sum(len(document.text) for document in corpus.training())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert size > 28_000_000
        assert peak < 12_000_000

    def test_a_file_that_changed_between_two_readings_is_told(self, text, tmp_path):
        corpus = split_corpus(opened(tmp_path), "ka", [str(text)])
        list(corpus.unseen())
        text.write_text("something else\n" * 3)
        with pytest.raises(DataError) as caught:
            list(corpus.training())
        assert caught.value.name == "E-CHANGED"

    def test_settings_reach_counting_and_reading(self, tmp_path):
        run = opened(
            tmp_path,
            **{
                "vocab.memory": "300MB",
                "vocab.processes": 3,
                "reading.strict": True,
                "reading.on_bad_file": "skip",
            },
        )
        assert (counting_limits(run).memory, counting_limits(run).processes) == (300_000_000, 3)
        assert (read_policy(run).strict, read_policy(run).skip_bad_files) == (True, True)
        assert not read_policy(opened(tmp_path)).strict


class TestStandardInput:
    def test_it_is_kept_once_and_read_as_a_file(self, tmp_path, monkeypatch):
        run = opened(tmp_path)
        reading, writing = os.pipe()
        with open(reading, encoding="utf-8") as pipe:
            os.write(writing, "\n".join(LINES).encode())
            os.close(writing)
            monkeypatch.setattr("sys.stdin", pipe)
            files = text_files(run, ["-"])
        assert files[0].read_text(encoding="utf-8") == "\n".join(LINES)
        monkeypatch.setattr("sys.stdin", None)
        assert text_files(run, ["-"]) == files, "a second command, and a resumed one, need no pipe"
        corpus = split_corpus(run, "ka", ["-"])
        assert len([*corpus.training(), *corpus.unseen()]) == len(LINES)

    @pytest.mark.parametrize(
        "data",
        [
            b'{"text": "one two"}\n',
            gzip.compress(b"one two\n", mtime=0),
            gzip.compress(b'{"text": "one two"}\n', mtime=0),
        ],
    )
    def test_its_content_says_what_it_is(self, data, tmp_path):
        run = opened(tmp_path)
        spool_input(run, io.BytesIO(data))
        corpus = split_corpus(run, "ka", ["-"])
        assert [document.text for document in corpus.training()] == ["one two"]

    def test_nothing_is_refused_and_not_remembered(self, tmp_path):
        run = opened(tmp_path)
        with pytest.raises(DataError) as caught:
            spool_input(run, io.BytesIO())
        assert caught.value.name == "E-CORPUS-EMPTY"
        assert list((run.directory / "corpus").iterdir()) == []
        assert spool_input(run, io.BytesIO(b"text\n")).read_bytes() == b"text\n"

    def test_it_is_spooled_in_bounded_memory(self, tmp_path):
        class Endless(io.RawIOBase):
            left = 40 << 20

            def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
                count = min(len(buffer), self.left)
                buffer[:count] = b"x" * count
                self.left -= count
                return count

            def readable(self) -> bool:
                return True

        tracemalloc.start()
        path = spool_input(opened(tmp_path), io.BufferedReader(Endless()))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert path.stat().st_size == 40 << 20
        assert peak < 8 << 20
