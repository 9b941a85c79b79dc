"""Tokenised text on disk and fixed blocks cut from it: what sample number g holds, as pure arithmetic.

A stream is one language's tokens, one after the other, each line ended by the end token ([SEP]); ids as
uint32 and word starts as bytes, memory-mapped. Blocks are full: no padding, hence no attention mask. The
order of samples is a function of (seed, sample number) alone, so that any step can be reached at once.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from extend import store
from extend.errors import CheckpointError, DataError
from extend.masking import counter_uniform
from extend.types import SpecialIds

Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
EncodedLine = tuple[Sequence[int], Sequence[bool], bool]
"""Ids without specials, whether each starts a word, and whether the line starts a document."""

SUPERBLOCK = 1024
_BUFFER = 1 << 16


@dataclass(frozen=True)
class Stream:
    """One language's tokens. `lines` are the offsets where lines start, with the end as last entry."""

    language: str
    ids: npt.NDArray[np.uint32]
    starts: npt.NDArray[np.uint8]
    lines: npt.NDArray[np.int64]
    documents: npt.NDArray[np.bool_]


def write_stream(target: Path, lines: Iterable[EncodedLine], *, special: SpecialIds) -> None:
    """Write encoded lines to the folder `target`, which appears whole or not at all. Memory stays bounded."""
    with store.publish_directory(target, manifest=True) as folder:
        tokens = 0
        for chunk in _chunks(lines):
            ids, starts, lengths, documents = _flatten(chunk, special.end)
            offsets = tokens + np.cumsum(np.concatenate(([0], lengths)))
            tokens = int(offsets[-1])
            store.append_bytes(folder / "ids.bin", ids.astype("<u4").tobytes())
            store.append_bytes(folder / "starts.bin", starts.astype("u1").tobytes())
            store.append_bytes(folder / "lines.bin", offsets[:-1].astype("<i8").tobytes())
            store.append_bytes(folder / "documents.bin", documents.astype("u1").tobytes())
        store.append_bytes(folder / "lines.bin", np.array([tokens], dtype="<i8").tobytes())


def open_stream(directory: Path, language: str) -> Stream:
    """Map a written stream. Raises CheckpointError when a file does not match its manifest."""
    damaged = store.verify(directory)
    if damaged:
        raise CheckpointError(
            f"tokenised data {directory} is damaged: {', '.join(damaged[:5])}",
            name="E-DATA-DAMAGED",
            next=f"delete {directory} and run the same command",
        )
    if not (directory / "ids.bin").is_file() or not (directory / "ids.bin").stat().st_size:
        raise DataError(f"the corpus of {language} holds no token", name="E-CORPUS-EMPTY")
    return Stream(
        language,
        np.memmap(directory / "ids.bin", dtype="<u4", mode="r"),
        np.memmap(directory / "starts.bin", dtype="u1", mode="r"),
        np.fromfile(directory / "lines.bin", dtype="<i8"),
        np.fromfile(directory / "documents.bin", dtype="u1").astype(bool),
    )


@dataclass(frozen=True)
class Mixture:
    """Which language and which of its blocks sample number g is.

    Languages are drawn by `weights` (summing to 1): every 1,024 consecutive samples hold each language
    as often as its weight says, in an order shuffled by (seed, number of the 1,024). Within a language,
    blocks come in a permutation drawn anew each epoch, cut at an offset drawn anew each epoch.
    """

    streams: tuple[Stream, ...]
    weights: tuple[float, ...]
    length: int
    seed: int

    def __post_init__(self) -> None:
        for stream in self.streams:
            if self.blocks_of(stream) < 1:
                raise DataError(
                    f"the corpus of {stream.language} has {len(stream.ids)} tokens, "
                    f"too few for one block of {self.length}",
                    name="E-CORPUS-SMALL",
                    next="give more text, or a smaller pretrain.length",
                )

    def blocks_of(self, stream: Stream) -> int:
        """Blocks an epoch: the same for every offset."""
        return (len(stream.ids) - (self.length - 2)) // (self.length - 1)

    def locate(self, samples: Sequence[int] | Ids) -> list[tuple[int, int, int]]:
        """(language, epoch, place in the epoch) of each sample number."""
        turns = language_turns(samples, self.weights, seed=self.seed)
        blocks = [self.blocks_of(stream) for stream in self.streams]
        return [(index, *divmod(turn, blocks[index])) for index, turn in turns]

    def read(self, samples: Ids, special: SpecialIds) -> tuple[Ids, Flags]:
        """Token ids and word starts, both (batch, length): the start token, then text to the brim."""
        ids = np.full((len(samples), self.length), special.start, dtype=np.int64)
        starts = np.ones((len(samples), self.length), dtype=bool)
        for row, (index, epoch, turn) in enumerate(self.locate(samples)):
            stream = self.streams[index]
            block = _permutation(self.seed, index, epoch, self.blocks_of(stream))[turn]
            offset = int(_uniform(self.seed, 11, index, epoch) * (self.length - 1))
            begin = offset + int(block) * (self.length - 1)
            ids[row, 1:] = stream.ids[begin : begin + self.length - 1]
            starts[row, 1:] = stream.starts[begin : begin + self.length - 1] != 0
        return ids, starts


def language_turns(
    samples: Sequence[int] | Ids, weights: tuple[float, ...], *, seed: int
) -> list[tuple[int, int]]:
    """For each sample number, the language it is drawn from and how many of that language came before."""
    turns = []
    for sample in map(int, samples):
        group, place = divmod(sample, SUPERBLOCK)
        language, within = _order(seed, weights, group)
        turns.append((int(language[place]), int(within[place])))
    return turns


def mixture_weights(sizes: Mapping[str, int], *, exponent: float) -> dict[str, float]:
    """p_l = n_l^exponent / sum (EXTEND's release and mBERT mix languages so, with exponent 0.7)."""
    raised = {language: float(size) ** exponent for language, size in sizes.items()}
    total = sum(raised.values())
    return {language: value / total for language, value in raised.items()}


def in_order(stream: Stream, *, length: int, most: int, special: SpecialIds) -> Iterator[tuple[Ids, Flags]]:
    """The first `most` whole blocks of a stream, one after the other: what held-out loss is measured on."""
    for block in range(min(most, len(stream.ids) // (length - 1))):
        part = slice(block * (length - 1), (block + 1) * (length - 1))
        ids = np.concatenate(([special.start], stream.ids[part].astype(np.int64)))
        yield ids, np.concatenate(([True], stream.starts[part] != 0))


@functools.lru_cache(maxsize=8)
def _order(seed: int, weights: tuple[float, ...], group: int) -> tuple[Ids, Ids]:
    """Language of each of the group's 1,024 samples, and how many of that language came before it."""
    bounds = np.cumsum(weights)
    bounds[-1] = 1.0
    until = [np.floor(bounds * (count * SUPERBLOCK)).astype(np.int64) for count in (group, group + 1)]
    before, after = (np.diff(counts, prepend=0) for counts in until)
    language = np.repeat(np.arange(len(weights)), after - before)
    language = language[
        np.argsort(counter_uniform(seed, 12, np.array([group]), SUPERBLOCK)[0], kind="stable")
    ]
    within = np.empty(SUPERBLOCK, dtype=np.int64)
    for index in range(len(weights)):
        here = np.flatnonzero(language == index)
        within[here] = before[index] + np.arange(len(here))
    return language, within


@functools.lru_cache(maxsize=64)
def _permutation(seed: int, language: int, epoch: int, blocks: int) -> Ids:
    key = (seed & 0xFFFFFFFF) | (epoch << 32)
    return np.random.Generator(np.random.Philox(key=[key, 13 + language])).permutation(blocks)


def _uniform(seed: int, purpose: int, language: int, epoch: int) -> float:
    return float(counter_uniform(seed, purpose + 1000 * language, np.array([epoch]), 1)[0, 0])


def _chunks(lines: Iterable[EncodedLine]) -> Iterator[list[EncodedLine]]:
    chunk: list[EncodedLine] = []
    for line in lines:
        if len(line[0]):
            chunk.append(line)
        if len(chunk) >= _BUFFER:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _flatten(chunk: list[EncodedLine], end: int) -> tuple[Ids, Flags, Ids, Flags]:
    lengths = np.array([len(line[0]) + 1 for line in chunk], dtype=np.int64)
    ids = np.full(int(lengths.sum()), end, dtype=np.int64)
    starts = np.ones(len(ids), dtype=bool)
    inside = np.ones(len(ids), dtype=bool)
    inside[np.cumsum(lengths) - 1] = False
    ids[inside] = np.fromiter((token for line in chunk for token in line[0]), dtype=np.int64)
    starts[inside] = np.fromiter((start for line in chunk for start in line[1]), dtype=bool)
    return ids, starts, lengths, np.array([line[2] for line in chunk], dtype=bool)
