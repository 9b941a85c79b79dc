"""Exact counts: against splitting every text whole, on disk and in memory, on one process and on many."""

import multiprocessing
import os
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from extend import store
from extend.corpus import (
    CorpusCounts,
    CountingLimits,
    HeldOut,
    ReadPolicy,
    corpus_sha256,
    count_corpus,
    count_words,
)
from extend.corpus.counting_runs import merge_runs, write_run
from extend.corpus.counting_words import words_of
from extend.errors import DataError
from extend.tokenizer import word_splitter
from extend.types import Progress
from tests.models import tiny_tokenizer

RULE = HeldOut(int(0.1 * 2**64), 1)
BERT = word_splitter(tiny_tokenizer())
AWKWARD = "ab.,é\u0301 \t\n\u00a0\u2028\u3000中\u200dක්ෂ\\\r"


def sentencepiece_like() -> Tokenizer:
    """Rules as XLM-R's: compatibility forms, blanks to one space, `▁` before every word."""
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁", -1.0)], unk_id=0))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Replace(Regex("[\t\r\u200b\u200d]"), " "),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    return tokenizer


def words_and_marks(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


METASPACE = word_splitter(sentencepiece_like())


def make_corpus(directory: Path, *, lines: int = 900, files: int = 3, seed: int = 1) -> list[Path]:
    """Text files of random lines, with the repetitions, blank lines and odd blanks of real ones."""
    draw = random.Random(seed)
    directory.mkdir(exist_ok=True)
    paths = [directory / f"{name}.txt" for name in "cabd"[:files]]
    for path in paths:
        written = []
        for _ in range(lines // files):
            words = [f"w{int(draw.paretovariate(0.4)) % 5000}" for _ in range(draw.randrange(12))]
            written.append(draw.choice([" ", " ", "  ", ", ", "\t"]).join(words))
        path.write_text("\n".join(written) + "\n", encoding="utf-8")
    return paths


def expected(paths: list[Path], rule: HeldOut = RULE) -> tuple[Counter[str], Counter[str]]:
    """Words learned from and held out, by splitting every line whole."""
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for path in paths:
        for line in path.read_text(encoding="utf-8").split("\n"):
            counts[line in rule].update(words_and_marks(line))
    return counts


def count(paths: list[Path], directory: Path, **limits: int) -> CorpusCounts:
    return count_corpus(
        paths, split=words_and_marks, held_out=RULE, directory=directory, limits=CountingLimits(**limits)
    )


class TestWords:
    @given(texts=st.lists(st.text(alphabet=AWKWARD, max_size=14), max_size=30))
    def test_counts_are_those_of_splitting_every_text_whole(self, texts):
        assert count_words(texts, BERT) == Counter(word for text in texts for word in BERT(text))

    @given(texts=st.lists(st.text(max_size=20), max_size=20))
    def test_the_same_with_any_characters(self, texts):
        texts = [text.encode("utf-8", "replace").decode() for text in texts]
        assert count_words(texts, BERT) == Counter(word for text in texts for word in BERT(text))

    @given(texts=st.lists(st.text(alphabet=AWKWARD + "\u200b\u2009¨", max_size=9), max_size=30))
    def test_joining_chunks_is_splitting_them_one_by_one(self, texts):
        chunks = [chunk for text in texts for chunk in text.split(" ") if chunk]
        for split in (BERT, METASPACE):
            assert count_words(texts, split) == Counter(word for chunk in chunks for word in split(chunk))

    def test_the_splitter_sees_a_distinct_chunk_once(self):
        seen: list[str] = []

        def split(text: str) -> list[str]:
            seen.append(text)
            return text.split()

        assert count_words(["the cat", "the dog"] * 50 + ["a bird"], split)["the"] == 100
        assert sorted(" ".join(seen).split()) == ["a", "bird", "cat", "dog", "the"]

    def test_long_chunks_are_not_joined(self):
        texts = ["x" * 300_000, "y" * 300_000, "short ones"]
        longest = 0

        def split(text: str) -> list[str]:
            nonlocal longest
            longest = max(longest, len(text))
            return text.split()

        assert count_words(texts, split) == Counter(word for text in texts for word in text.split())
        assert longest == 300_000

    @pytest.mark.parametrize("counted", [2**31, 2**32 + 1, 2**40 + 3, 10**30])
    def test_no_count_is_too_large(self, counted, tmp_path):
        rows = [("a,b", counted, 1), ("b", counted, counted - 1)]
        paths = [write_run(tmp_path / f"{name}.tsv", rows) for name in "xy"]
        kept = words_of(
            merge_runs(paths, tmp_path), words_and_marks, limit=1 << 20, keep=1 << 20, scratch=tmp_path
        )
        assert kept.words == {"a": 2 * counted, ",": 2 * counted, "b": 4 * counted}
        assert kept.held_out == {"a": 2, ",": 2, "b": 2 * counted}


class TestCorpus:
    def test_counts_and_facts_are_those_of_the_lines(self, tmp_path):
        paths = make_corpus(tmp_path / "text")
        counts = count(paths, tmp_path / "counts")
        lines = [line for path in paths for line in path.read_text().split("\n") if line.strip()]
        assert (counts.words, counts.held_out) == expected(paths)
        assert counts.lines == len(lines)
        assert counts.held_out_lines == sum(RULE.mask(lines)) > 40
        assert counts.bytes == sum(path.stat().st_size for path in paths)
        assert counts.sha256 == corpus_sha256(paths)
        assert counts.tokens == sum(counts.words.values())
        assert counts.distinct_words == len(counts.words)
        assert set(counts.probes) <= {line for line in lines if line in RULE}
        assert len(counts.probes) == 50
        assert [account.path for account in counts.accounts] == sorted(paths)
        assert sum(account.documents for account in counts.accounts) == counts.lines
        assert not (tmp_path / "counts").exists(), "a small corpus leaves no files"

    @pytest.mark.parametrize("shard_bytes", [700, 5000, 1 << 20])
    @pytest.mark.parametrize("memory", [1 << 30, 1])
    def test_shards_and_spills_change_nothing(self, shard_bytes, memory, tmp_path, monkeypatch):
        monkeypatch.setattr("extend.corpus.counting._LEAST_BYTES", 1 << 14)
        paths = make_corpus(tmp_path / "text")
        whole = count(paths, tmp_path / "whole")
        parts = count(paths, tmp_path / "parts", shard_bytes=shard_bytes, memory=memory, processes=1)
        assert (parts.lines, parts.held_out_lines, parts.probes) == (
            whole.lines,
            whole.held_out_lines,
            whole.probes,
        )
        assert [account.documents for account in parts.accounts] == [
            account.documents for account in whole.accounts
        ]
        if memory == 1:
            assert parts.words_left_out == len(whole.words)
            assert parts.tokens_left_out == whole.tokens == parts.tokens
            assert parts.held_out_tokens_left_out == sum(whole.held_out.values())
        else:
            assert parts.counts_sha256() == whole.counts_sha256()
        assert list((tmp_path / "parts").glob(".*")) == []

    def test_processes_file_orders_and_shard_sizes_change_nothing(self, tmp_path):
        paths = make_corpus(tmp_path / "text", files=4)
        digests = set()
        for number, files in enumerate((paths, paths[::-1], paths[2:] + paths[:2])):
            for processes in (1, 2):
                limits = {"shard_bytes": 4000 + 2000 * number, "processes": processes}
                counts = count(files, tmp_path / f"{number}-{processes}", **limits)
                digests.add((counts.counts_sha256(), counts.sha256, counts.probes, counts.lines))
        assert len(digests) == 1
        assert digests.pop()[0] == count(paths, tmp_path / "whole").counts_sha256()

    def test_the_same_text_twice_counts_twice(self, tmp_path):
        paths = make_corpus(tmp_path / "text", files=1)
        (tmp_path / "text" / "again.txt").write_bytes(paths[0].read_bytes())
        twice = [*paths, tmp_path / "text" / "again.txt"]
        counts = count(twice, tmp_path / "counts", shard_bytes=2000, processes=1)
        assert (counts.words, counts.held_out) == expected(twice)
        assert counts.lines == 2 * count(paths, tmp_path / "one").lines

    def test_the_most_frequent_words_are_kept_and_the_rest_is_told(self, tmp_path):
        paths = make_corpus(tmp_path / "text")
        whole = count(paths, tmp_path / "whole")
        memory = 3 * 40_000
        kept = count(paths, tmp_path / "kept", memory=memory)
        assert 0 < len(kept.words) < len(whole.words)
        assert kept.words_left_out == len(whole.words) - len(kept.words)
        assert kept.tokens == whole.tokens
        assert kept.distinct_words == whole.distinct_words
        both = Counter(whole.words) + Counter(whole.held_out)
        ranked = sorted(both, key=lambda word: (-both[word], word))
        chosen = [word in kept.words or word in kept.held_out for word in ranked]
        assert chosen == sorted(chosen, reverse=True), "the most frequent, ties in code-point order"
        assert all(whole.words[word] == number for word, number in kept.words.items())
        again = count(paths, tmp_path / "again", memory=memory, shard_bytes=3000, processes=2)
        assert again.counts_sha256() == kept.counts_sha256()

    def test_every_format_is_counted(self, tmp_path):
        path = tmp_path / "a.jsonl"
        path.write_text('{"text": "one two"}\n{"text": "two\\tthree\\nfour\\\\five"}\n', encoding="utf-8")
        for shard_bytes in (1, 1 << 20):
            counts = count([path], tmp_path / str(shard_bytes), shard_bytes=shard_bytes, processes=1)
            found = Counter(counts.words) + Counter(counts.held_out)
            assert found == Counter(words_and_marks("one two two three four\\five"))

    @pytest.mark.parametrize("shard_bytes", [1, 1 << 20])
    def test_a_corpus_without_text_is_refused(self, shard_bytes, tmp_path):
        (tmp_path / "a.txt").write_text("\n \n")
        with pytest.raises(DataError) as caught:
            count([tmp_path / "a.txt"], tmp_path / "counts", shard_bytes=shard_bytes, processes=1)
        assert caught.value.name == "E-CORPUS-EMPTY"

    @pytest.mark.parametrize("processes", [1, 2])
    def test_a_readers_error_is_the_callers(self, processes, tmp_path):
        paths = make_corpus(tmp_path / "text")
        paths[1].write_bytes("Ünïcödé tèxt ïn änöthèr éncödïng\n".encode("latin-1") * 200)
        with pytest.raises(DataError) as caught:
            count(paths, tmp_path / "counts", shard_bytes=2000, processes=processes)
        assert (caught.value.name, caught.value.exit_code) == ("E-ENCODING", 3)
        assert "a.txt" in caught.value.what

    def test_repairs_are_summed_over_shards_and_files(self, tmp_path):
        paths = make_corpus(tmp_path / "text")
        for path in paths[:2]:
            path.write_bytes(b"\xef\xbb\xbfbom\n" + path.read_bytes() + b"nul\0 \0here\nnot \xe9 UTF-8\n")
        whole = count(paths, tmp_path / "whole")
        assert whole.repairs == {"bom": 2, "nul": 4, "invalid_utf8": 2}
        parts = count(paths, tmp_path / "parts", shard_bytes=1500, processes=1)
        assert parts.facts() == whole.facts()
        assert parts.facts()["repairs"] == {"bom": 2, "invalid_utf8": 2, "nul": 4}
        assert (parts.facts()["files"], parts.facts()["files_left_out"]) == (3, 0)
        for one, other in zip(parts.accounts, whole.accounts, strict=True):
            assert (one.unpacked, one.read, one.skipped) == (other.unpacked, other.read, other.skipped)

    def test_a_bad_file_is_left_out_whole_when_asked(self, tmp_path):
        paths = make_corpus(tmp_path / "text")
        good = count([paths[0], paths[2]], tmp_path / "good")
        data = paths[1].read_bytes()
        paths[1].write_bytes(data + b"\xff\xfe\xe9" * 400)
        counts = count_corpus(
            paths,
            split=words_and_marks,
            held_out=RULE,
            directory=tmp_path / "counts",
            limits=CountingLimits(shard_bytes=1000, processes=1),
            policy=ReadPolicy(skip_bad_files=True),
        )
        assert counts.counts_sha256() == good.counts_sha256()
        assert [bool(account.dropped) for account in counts.accounts] == [True, False, False]
        assert counts.facts()["files_left_out"] == 1


class TestKeptShards:
    def count(self, paths: list[Path], directory: Path, rule: HeldOut = RULE) -> tuple[str, list[int]]:
        """The counts' fingerprint, and how many bytes were there already when the counting began."""
        seen: list[Progress] = []
        counts = count_corpus(
            paths,
            split=words_and_marks,
            held_out=rule,
            directory=directory,
            limits=CountingLimits(shard_bytes=2000, processes=1),
            on_progress=seen.append,
        )
        assert seen[-1].done == seen[-1].total == counts.bytes
        return counts.counts_sha256(), [progress.done for progress in seen]

    def test_finished_shards_are_not_counted_again(self, tmp_path):
        paths = make_corpus(tmp_path / "text")
        first, steps = self.count(paths, tmp_path / "counts")
        assert len(steps) > 5
        assert steps[0] == 0
        again, steps = self.count(paths, tmp_path / "counts")
        assert (again, len(steps)) == (first, 1)

    def test_another_rule_or_another_text_is_counted_anew(self, tmp_path):
        paths = make_corpus(tmp_path / "text")
        self.count(paths, tmp_path / "counts")
        for rule in (HeldOut(RULE.threshold, 2), HeldOut(RULE.threshold + 1, 1)):
            _, steps = self.count(paths, tmp_path / "counts", rule)
            assert steps[0] == 0
        before = paths[0].stat()
        data = bytearray(paths[0].read_bytes())
        data[0:1] = b"v"
        paths[0].write_bytes(data)
        os.utime(paths[0], ns=(before.st_atime_ns, before.st_mtime_ns))
        changed, steps = self.count(paths, tmp_path / "counts", HeldOut(RULE.threshold + 1, 1))
        assert 0 < steps[0] < sum(path.stat().st_size for path in paths)
        assert changed == self.count(paths, tmp_path / "fresh", HeldOut(RULE.threshold + 1, 1))[0]

    def test_a_damaged_shard_is_counted_again_and_kept_aside(self, tmp_path):
        paths = make_corpus(tmp_path / "text")
        first, _ = self.count(paths, tmp_path / "counts")
        run = min((tmp_path / "counts" / "shards").glob("*/chunks.tsv"))
        data = bytearray(run.read_bytes())
        data[len(data) // 2] ^= 1
        run.write_bytes(data)
        again, steps = self.count(paths, tmp_path / "counts")
        assert again == first
        assert len(steps) == 2
        assert len(list((tmp_path / "counts" / "shards").glob("*.bad"))) == 1

    def test_shards_of_other_corpora_are_removed(self, tmp_path):
        self.count(make_corpus(tmp_path / "old", seed=2), tmp_path / "counts")
        fresh = make_corpus(tmp_path / "new", seed=3)
        digests = {store.sha256_file(path)[:32] for path in fresh}
        self.count(fresh, tmp_path / "counts")
        kept = {folder.name.split("-")[0] for folder in (tmp_path / "counts" / "shards").iterdir()}
        assert kept == digests

    @pytest.mark.parametrize("processes", [1, 2])
    def test_an_interrupt_leaves_finished_shards_and_nothing_else(self, processes, tmp_path):
        paths = make_corpus(tmp_path / "text", lines=9000)

        def interrupt(progress: Progress) -> None:
            if progress.done:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            count_corpus(
                paths,
                split=words_and_marks,
                held_out=RULE,
                directory=tmp_path / "counts",
                limits=CountingLimits(shard_bytes=20_000, processes=processes),
                on_progress=interrupt,
            )
        kept = list((tmp_path / "counts" / "shards").iterdir())
        assert 0 < len(kept) < sum(path.stat().st_size for path in paths) / 20_000
        assert all(store.verify(folder) == [] for folder in kept)
        assert multiprocessing.active_children() == []

    def test_a_file_that_changes_meanwhile_is_told(self, tmp_path):
        paths = make_corpus(tmp_path / "text")

        def touch(progress: Progress) -> None:
            if progress.done == progress.total:
                with paths[0].open("a") as file:
                    file.write("one more line\n")

        with pytest.raises(DataError) as caught:
            count_corpus(
                paths,
                split=words_and_marks,
                held_out=RULE,
                directory=tmp_path / "counts",
                limits=CountingLimits(shard_bytes=2000, processes=1),
                on_progress=touch,
            )
        assert (caught.value.name, caught.value.exit_code) == ("E-CHANGED", 3)
