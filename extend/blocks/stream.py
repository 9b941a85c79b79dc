"""A stream: one language's tokens, one after the other, over as many shards as there are."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from extend.blocks.shards import (
    ACTIVE,
    DOCUMENTS,
    IDS,
    LINES,
    STARTS,
    Flags,
    Ids,
    ShardFacts,
    VerifiedFiles,
)
from extend.errors import DataError
from extend.types import SpecialIds


@dataclass(frozen=True, slots=True)
class StoredShard:
    """Where a shard lies: `name` below the published `folder`, and what is in it."""

    folder: Path
    name: str
    facts: ShardFacts


@final
class Stream:
    """One language's tokens, memory-mapped. Every line ends with the end token; the first starts a document.

    Opening costs a constant a shard; a shard is read and verified when something of it is asked for.
    `sha256` tells one text, tokenised in one way, from another. `token_bounds`, `line_bounds` and
    `document_bounds` say how many tokens, lines and documents there are before each shard, and in all.

    Raises DataError E-CORPUS-EMPTY when there is not one token.
    """

    def __init__(
        self, language: str, shards: Sequence[StoredShard], *, files: VerifiedFiles, sha256: str
    ) -> None:
        if not shards:
            raise DataError(f"the corpus of {language} holds no token", name="E-CORPUS-EMPTY")
        self.language, self.shards, self.files, self.sha256 = language, tuple(shards), files, sha256
        self.token_bounds, self.line_bounds, self.document_bounds = (
            np.concatenate(([0], np.cumsum(counts)))
            for counts in zip(
                *((s.facts.tokens, s.facts.lines, s.facts.documents) for s in shards), strict=True
            )
        )

    @property
    def ids(self) -> "Span":
        """All tokens, to be cut or indexed as an array is."""
        return Span(self)

    def read(self, begin: int, stop: int) -> tuple[npt.NDArray[np.uint32], Flags]:
        """Tokens [begin, stop) and whether each starts a word."""
        parts = [
            (self.shard_ids(number)[first:last], self._bits(number, STARTS, first, last))
            for number, first, last in self._pieces(self.token_bounds, begin, stop)
        ]
        if len(parts) == 1:
            return parts[0]
        ids, starts = zip(*parts, strict=True) if parts else ((np.zeros(0, "<u4"),), (np.zeros(0, bool),))
        return np.concatenate(ids), np.concatenate(starts)

    def offsets(self, first: int, stop: int) -> Ids:
        """Where lines [first, stop) start, and where the last of them ends: stop - first + 1 tokens."""
        parts = [
            self.shard_lines(number)[begin:end] + self.token_bounds[number]
            for number, begin, end in self._pieces(self.line_bounds, first, min(stop + 1, self.line_count))
        ]
        if stop == self.line_count:
            parts.append(self.token_bounds[-1:])
        return np.concatenate(parts)

    @property
    def line_count(self) -> int:
        return int(self.line_bounds[-1])

    @property
    def lines(self) -> Ids:
        """Where every line starts, with the end as last entry. In memory: for streams that are not large."""
        return self.offsets(0, self.line_count)

    @property
    def documents(self) -> Flags:
        """Of every line whether it starts a document. In memory: for streams that are not large."""
        return np.concatenate([self.shard_documents(number) for number in range(len(self.shards))])

    def shard_ids(self, number: int) -> npt.NDArray[np.uint32]:
        """The tokens of one shard."""
        return self._map(number, IDS)

    def shard_lines(self, number: int) -> Ids:
        """Where in the shard each of its lines starts."""
        return self._map(number, LINES).astype(np.int64)

    def shard_documents(self, number: int) -> Flags:
        """Of each line of a shard whether it starts a document."""
        facts = self.shards[number].facts
        flags = self._bits(number, DOCUMENTS, 0, facts.lines).copy()
        flags[0] = facts.starts  # the shard before it may have ended with a start that no line took
        return flags

    def active(self, vocab_size: int) -> Flags:
        """Of every id whether it occurs."""
        found = np.zeros(vocab_size, dtype=bool)
        for folder, part in dict.fromkeys((s.folder, s.name.rpartition("/")[0]) for s in self.shards):
            found |= self.files.bits(folder, f"{part}/{ACTIVE}", 0, vocab_size)
        return found

    def _map(self, number: int, name: str) -> npt.NDArray[Any]:
        shard = self.shards[number]
        return self.files.map(shard.folder, f"{shard.name}/{name}", "<u4")

    def _bits(self, number: int, name: str, begin: int, stop: int) -> Flags:
        shard = self.shards[number]
        return self.files.bits(shard.folder, f"{shard.name}/{name}", begin, stop)

    def _pieces(self, bounds: Ids, begin: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """The shards that [begin, stop) falls into, and which part of each."""
        number = int(bounds.searchsorted(begin, "right")) - 1
        while begin < stop:
            before, after = int(bounds[number]), int(bounds[number + 1])
            yield number, begin - before, min(stop, after) - before
            begin, number = after, number + 1


@final
class Span:
    """A stream's ids as a sequence: a length, and slices that are arrays."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __len__(self) -> int:
        return int(self._stream.token_bounds[-1])

    def __getitem__(self, part: slice) -> npt.NDArray[np.uint32]:
        begin, stop, step = part.indices(len(self))
        return self._stream.read(begin, max(begin, stop))[0][::step]

    def tolist(self) -> list[int]:
        """All ids, in memory."""
        return [int(token) for token in self[:]]


def stream_sha256(parts: Iterable[str]) -> str:
    """One fingerprint of fingerprints, in order."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def in_order(stream: Stream, *, length: int, most: int, special: SpecialIds) -> Iterator[tuple[Ids, Flags]]:
    """The first `most` whole blocks of a stream, one after the other: what held-out loss is measured on."""
    for block in range(min(most, len(stream.ids) // (length - 1))):
        text, starts = stream.read(block * (length - 1), (block + 1) * (length - 1))
        ids = np.concatenate(([special.start], text.astype(np.int64)))
        yield ids, np.concatenate(([True], starts))
