"""Which folders make a language's streams, what they were made from, and whether that still holds.

Text is tokenised range by range. A range's folder holds the shards of both of its parts (`training`,
`held-out`) and appears whole or not at all; `index.json` is written when all of them are there.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extend import store
from extend.blocks.shards import (
    SHARD_TOKENS,
    EncodedLine,
    ShardFacts,
    ShardWriter,
    VerifiedFiles,
    damaged,
    manifest_sha256,
)
from extend.blocks.stream import StoredShard, Stream, stream_sha256
from extend.errors import CheckpointError, ExtendError
from extend.types import SpecialIds

TRAINING, HELD_OUT = "training", "held-out"
PARTS = (TRAINING, HELD_OUT)
INDEX, FACTS, RANGES = "index.json", "facts.json", "shards"
SCHEMA = 1


@dataclass(frozen=True)
class RangeEntry:
    """One range: its folder's name, its manifest's fingerprint, and what its facts.json says."""

    folder: str
    manifest: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class DataIndex:
    """A language's tokenised text. `made_from` is all that the tokens depend on, `files` the text itself."""

    made_from: Mapping[str, Any]
    files: Sequence[Mapping[str, Any]]
    ranges: Sequence[RangeEntry]

    def missing(self, directory: Path) -> list[int]:
        """Numbers of the ranges whose folders are not there (one that is damaged is set aside when found)."""
        return [
            number
            for number, entry in enumerate(self.ranges)
            if not store.is_published(directory / RANGES / entry.folder)
        ]

    def stream(self, directory: Path, language: str, part: str) -> Stream:
        """One part of the text as a stream. Raises DataError E-CORPUS-EMPTY when it holds nothing."""
        folders = [directory / RANGES / entry.folder for entry in self.ranges]
        manifests = {folder: entry.manifest for folder, entry in zip(folders, self.ranges, strict=True)}
        facts = [entry.facts for entry in self.ranges]
        sha256 = stream_sha256([part, *(entry.manifest for entry in self.ranges)])
        shards = stored_shards(folders, facts, part)
        return Stream(language, shards, files=VerifiedFiles(manifests), sha256=sha256)


def write_range(
    target: Path,
    lines: Iterable[Mapping[str, Sequence[EncodedLine]]],
    *,
    special: SpecialIds,
    shard_tokens: int = SHARD_TOKENS,
) -> None:
    """Write encoded lines, given by part, to the folder `target`, which appears whole or not at all."""
    with store.publish_directory(target, manifest=True) as folder:
        writers = {
            part: ShardWriter(
                folder / part, end=special.end, vocab_size=special.vocab_size, shard_tokens=shard_tokens
            )
            for part in PARTS
        }
        for some in lines:
            for part, encoded in some.items():
                writers[part].add(encoded)
        facts = {
            part: {
                "shards": [list(dataclasses.astuple(shard)) for shard in writer.finish()],
                "pending": writer.pending,
            }
            for part, writer in writers.items()
        }
        store.write_json(folder / FACTS, facts)


def stored_shards(
    folders: Sequence[Path], facts: Sequence[Mapping[str, Any]], part: str
) -> list[StoredShard]:
    """The shards of one part of all ranges, in order.

    A document that began in one range with a line that this part lacks starts with the part's next line,
    wherever that is.
    """
    shards, pending = [], True
    for folder, known in zip(folders, facts, strict=True):
        for number, (tokens, lines, documents, starts) in enumerate(known[part]["shards"]):
            carried = pending and not starts
            shard = ShardFacts(tokens, lines, documents + carried, starts or carried)
            shards.append(StoredShard(folder, f"{part}/{number:05}", shard))
            pending = False
        pending = pending or known[part]["pending"]
    return shards


def range_entry(folder: Path) -> RangeEntry:
    """What the index keeps of a finished range."""
    try:
        return RangeEntry(folder.name, manifest_sha256(folder), store.read_json(folder / FACTS))
    except CheckpointError as error:
        raise damaged(folder, FACTS) from error


def write_index(directory: Path, index: DataIndex) -> None:
    """Write index.json, which makes the ranges a text."""
    store.write_json(directory / INDEX, {"schema": SCHEMA, **dataclasses.asdict(index)})


def read_index(directory: Path) -> DataIndex | None:
    """The index of a text that is tokenised, None for one that is not (yet).

    Raises CheckpointError E-DATA-DAMAGED when it cannot be read, E-SCHEMA when a newer release wrote it.
    """
    if not (directory / INDEX).is_file():
        return None
    try:
        known: dict[str, Any] = store.read_json(directory / INDEX)
        if known["schema"] > SCHEMA:
            raise CheckpointError(
                f"{directory / INDEX} was written by a newer release",
                name="E-SCHEMA",
                next="update extend, or give another --run DIR",
            )
        ranges = [RangeEntry(**entry) for entry in known["ranges"]]
        return DataIndex(known["made_from"], known["files"], ranges)
    except (ExtendError, KeyError, TypeError) as error:
        if isinstance(error, ExtendError) and error.name != "E-JSON":
            raise
        raise CheckpointError(
            f"{directory / INDEX} is damaged",
            name="E-DATA-DAMAGED",
            next="delete this file and run the same command: sound shards are kept",
        ) from error


def write_stream(target: Path, lines: Iterable[EncodedLine], *, special: SpecialIds) -> None:
    """Write encoded lines to the folder `target` as one stream. Memory stays bounded."""
    write_range(target, ({TRAINING: chunk} for chunk in _chunks(lines)), special=special)


def open_stream(directory: Path, language: str) -> Stream:
    """The stream that `write_stream` wrote. Raises DataError E-DATA-DAMAGED, E-CORPUS-EMPTY."""
    entry = range_entry(directory)
    shards = stored_shards([directory], [entry.facts], TRAINING)
    files = VerifiedFiles({directory: entry.manifest})
    return Stream(language, shards, files=files, sha256=stream_sha256([TRAINING, entry.manifest]))


def _chunks(lines: Iterable[EncodedLine], size: int = 1 << 12) -> Iterable[list[EncodedLine]]:
    chunk: list[EncodedLine] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == size:
            yield chunk
            chunk = []
    yield chunk
