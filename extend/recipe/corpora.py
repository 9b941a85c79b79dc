"""The text of a run: files as they are; datasets and standard input spooled once into the run folder."""

import io
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from extend import store
from extend.config import expand
from extend.corpus import (
    CorpusCounts,
    CountingLimits,
    Fingerprint,
    HeldOut,
    ReadPolicy,
    count_corpus,
    find_files,
    fingerprints,
    held_out_documents,
    read_corpus,
    sample_held_out,
    training_documents,
)
from extend.errors import DataError
from extend.hub import stream_dataset
from extend.languages import passport
from extend.recipe.run import OnProgress, Run, silent
from extend.types import Document

STREAMED = "hf:"
STANDARD_INPUT = "-"
WIKIPEDIA = "hf:wikimedia/wikipedia:20231101."
_BATCH = 1000
_BLOCK = 1 << 20


@dataclass(frozen=True)
class SplitCorpus:
    """A language's files and the rule that holds a sample of their lines out of all learning.

    Both parts are streams: every call reads the files again, and neither part is ever whole in memory.
    A file that is no longer in its state of the beginning is DataError E-CHANGED. `duplicates` are further
    paths to files that are read once.
    """

    language: str
    states: Mapping[Path, Fingerprint]
    held_out: HeldOut
    policy: ReadPolicy
    duplicates: tuple[Path, ...] = ()

    @property
    def files(self) -> list[Path]:
        return list(self.states)

    def training(self) -> Iterator[Document]:
        """What is learned from."""
        return training_documents(self._documents(), self.held_out)

    def unseen(self) -> Iterator[Document]:
        """The seeded sample that never is."""
        return held_out_documents(self._documents(), self.held_out)

    def _documents(self) -> Iterator[Document]:
        return read_corpus(self.files, self.language, policy=self.policy, fingerprints=self.states)


def corpus_patterns(run: Run) -> list[str]:
    """What the run's text is: `corpus`, by default the language's Wikipedia from the hub."""
    editions = passport(run.language).codes_of("wikipedia") or (run.language.code,)
    return run.settings.corpus or [f"{WIKIPEDIA}{edition}" for edition in editions]


def is_spooled(pattern: str) -> bool:
    """Whether `pattern` is a stream: text that becomes a file of the run folder when it is first read."""
    return pattern == STANDARD_INPUT or pattern.startswith(STREAMED)


def text_files(run: Run, patterns: Sequence[str], duplicates: list[Path] | None = None) -> list[Path]:
    """Files for `patterns`, in byte order of their paths; streams are spooled once.

    A dataset lies in `corpus/` as plain text afterwards, its records apart by blank lines, and standard
    input as it came, because text is read several times (counts, held-out lines, training). Further paths to
    the same file are added to `duplicates`.
    """
    spooled = [_spooled(run, pattern) for pattern in patterns if is_spooled(pattern)]
    local = [expand(pattern) for pattern in patterns if not is_spooled(pattern)]
    return find_files([*local, *map(str, spooled)], duplicates=duplicates)


def split_corpus(run: Run, language: str, patterns: Sequence[str]) -> SplitCorpus:
    """A language's corpus in two: what is learned from, and the seeded sample that never is."""
    duplicates, vocab, policy = list[Path](), run.settings.vocab, read_policy(run)
    states = fingerprints(text_files(run, patterns, duplicates))
    rule = sample_held_out(
        list(states),
        share=vocab.held_out_share,
        least=vocab.held_out_lines,
        seed=run.settings.seed,
        limits=counting_limits(run),
        policy=policy,
    )
    return SplitCorpus(language, states, rule, policy, tuple(duplicates))


def count_split(
    run: Run, corpus: SplitCorpus, split: Callable[[str], Iterable[str]], on_progress: OnProgress = silent
) -> CorpusCounts:
    """The words of both parts, within the run's limits; what must not be counted twice lies in `counts/`."""
    return count_corpus(
        corpus.files,
        split=split,
        held_out=corpus.held_out,
        directory=counts_folder(run, corpus.language),
        limits=counting_limits(run),
        policy=corpus.policy,
        on_progress=on_progress,
    )


def counts_folder(run: Run, language: str) -> Path:
    """Where counting keeps what it has finished; to be removed when the vocabulary is there."""
    return run.directory / "counts" / language


def counting_limits(run: Run) -> CountingLimits:
    """Memory and processes that the run's settings allow."""
    return CountingLimits(memory=run.settings.vocab.memory_bytes, processes=run.settings.vocab.processes)


def read_policy(run: Run) -> ReadPolicy:
    """How the run's settings want text read."""
    reading = run.settings.reading
    return ReadPolicy(strict=reading.strict, skip_bad_files=reading.on_bad_file == "skip")


def _spooled(run: Run, pattern: str) -> Path:
    if pattern == STANDARD_INPUT:
        return spool_input(run, sys.stdin.buffer if sys.stdin else io.BytesIO())
    folder = run.directory / "corpus" / re.sub(r"[^\w.-]+", "_", pattern.removeprefix(STREAMED))
    if not store.is_published(folder):
        with store.publish_directory(folder, manifest=True) as temporary:
            for batch in _batches(stream_dataset(pattern, language=run.language.code)):
                text = "".join(f"{document.text}\n\n" for document in batch)
                store.append_bytes(temporary / "text.txt", text.encode("utf-8"))
    return folder / "text.txt"


def spool_input(run: Run, source: BinaryIO) -> Path:
    """Keep all of `source` as a file of the run; what was kept before is not read again.

    The file has no ending, so that its content says what it is (plain text, JSONL, either compressed).
    Raises DataError E-CORPUS-EMPTY when nothing comes, SpaceError when it does not fit on the disk.
    """
    folder = run.directory / "corpus" / "standard-input"
    if not store.is_published(folder):
        with store.publish_directory(folder, manifest=True) as temporary:
            blocks = iter(lambda: source.read(_BLOCK), b"")
            for block in blocks:
                store.append_bytes(temporary / "text", block)
            if not (temporary / "text").exists():
                raise DataError(
                    "the corpus is empty: nothing came on standard input",
                    name="E-CORPUS-EMPTY",
                    next="pipe text into the command, or give files with --corpus",
                )
    return folder / "text"


def _batches(documents: Iterable[Document]) -> Iterable[list[Document]]:
    source = iter(documents)
    return iter(lambda: list(itertools.islice(source, _BATCH)), [])
