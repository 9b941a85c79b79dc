"""Whole documents packed into samples of fixed length, each document a sequence of its own.

A sample holds one or more pieces, each [CLS] text [SEP]; a piece is a document, or a part of one that is
longer than a sample. Pieces go, in the order of the text, into the first open sample that has room (first
fit, Johnson 1973); of the open ones only the newest `WINDOW` are tried, so that a plan needs one pass. What
is packed together is planned a shard at a time, from the places of lines and documents alone, and kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from extend import store
from extend.blocks.order import SampleOrder
from extend.blocks.shards import Flags, Ids, VerifiedFiles, manifest_sha256
from extend.blocks.stream import Stream
from extend.errors import CheckpointError, DataError
from extend.types import SpecialIds

PIECES, SAMPLES, PLAN = "pieces.bin", "samples.bin", "plan.json"
WINDOW = 64
_SCHEMA = 1
Places = npt.NDArray[np.uint32]


def plan_shard(stream: Stream, number: int, *, length: int) -> tuple[Places, Places]:
    """Pieces of the shard's documents, (begin, end) in tokens of the shard, and where each sample's start.

    A document that goes on into the next shard is taken whole when it ends there within `length` tokens;
    a longer one is cut there, as it is cut anyway.
    """
    begin, end = _reach(stream, number, length), _reach(stream, number + 1, length)
    end += stream.shards[number].facts.tokens
    starts = stream.shard_lines(number)[stream.shard_documents(number)]
    edges = np.unique(np.concatenate(([begin], starts[starts >= begin], [end])))
    pieces, sizes = _pieces(edges, length)
    sample_of = _first_fit(sizes, length)
    order = np.argsort(sample_of, kind="stable")
    samples = np.concatenate(([0], np.cumsum(np.bincount(sample_of)))) if len(sizes) else np.zeros(1)
    return pieces[order].astype(np.uint32), samples.astype(np.uint32)


def _reach(stream: Stream, number: int, length: int) -> int:
    """How far the plan of the shard before reaches into shard `number`."""
    if number in (0, len(stream.shards)):
        return 0
    starts = stream.shard_lines(number)[stream.shard_documents(number)]
    ends = int(starts[0]) if len(starts) else stream.shards[number].facts.tokens
    is_end = len(starts) > 0 or number == len(stream.shards) - 1
    return ends if is_end and ends <= length else 0


def _pieces(edges: Ids, length: int) -> tuple[Ids, Ids]:
    """Documents between the edges, cut into pieces that fit; and the cells each takes with its two ends.

    The last token of a document is its end token; a part that is cut off gets one of its own.
    """
    begins, ends = edges[:-1], edges[1:]
    texts = ends - begins - 1
    begins, ends, texts = begins[texts > 0], ends[texts > 0], texts[texts > 0]
    counts = -(-texts // (length - 2))
    document = np.repeat(np.arange(len(counts)), counts)
    part = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
    first = begins[document] + part * (length - 2)
    last = part == counts[document] - 1
    stop = np.where(last, ends[document], first + length - 2)
    return np.stack((first, stop), axis=1), stop - first + 2 - last


def _first_fit(sizes: Ids, length: int) -> Ids:
    """The sample that each piece goes into."""
    rooms: dict[int, int] = {}
    sample_of = np.empty(len(sizes), dtype=np.int64)
    samples = 0
    for number, size in enumerate(sizes.tolist()):
        chosen = next((sample for sample, room in rooms.items() if room >= size), None)
        if chosen is None:
            chosen, samples = samples, samples + 1
            rooms[chosen] = length
        sample_of[number] = chosen
        rooms[chosen] -= size
        if rooms[chosen] < 3:
            del rooms[chosen]
        elif len(rooms) > WINDOW:
            del rooms[next(iter(rooms))]
    return sample_of


def write_plan(directory: Path, stream: Stream, *, length: int) -> None:
    """Plan the packing of a stream into `directory`. After a kill the same call goes on.

    A plan of this text for this length that is whole is left as it is; any other is replaced.
    """
    question = {"schema": _SCHEMA, "text": stream.sha256, "length": length, "window": WINDOW}
    names = [f"{number:05}-{stream.sha256[:16]}" for number in range(len(stream.shards))]
    known = _read_plan(directory)
    if known.get("question") == question and all(store.is_published(directory / name) for name in names):
        return
    if directory.is_dir():
        store.recover(directory)
    counts = []
    for number, name in enumerate(names):
        if not store.is_published(directory / name) or store.verify(directory / name):
            pieces, samples = plan_shard(stream, number, length=length)
            with store.publish_directory(directory / name, manifest=True) as folder:
                store.append_bytes(folder / PIECES, pieces.astype("<u4").tobytes())
                store.append_bytes(folder / SAMPLES, samples.astype("<u4").tobytes())
        counts.append((directory / name / SAMPLES).stat().st_size // 4 - 1)
    plan = [
        {"folder": name, "samples": count, "manifest": manifest_sha256(directory / name)}
        for name, count in zip(names, counts, strict=True)
    ]
    store.write_json(directory / PLAN, {"question": question, "shards": plan})


def _read_plan(directory: Path) -> Mapping[str, Any]:
    if not (directory / PLAN).is_file():
        return {}
    try:
        known: dict[str, Any] = store.read_json(directory / PLAN)
    except CheckpointError:
        return {}
    return known


@final
class Packs:
    """The packed samples of a stream: how many there are, and the pieces of each. Raises DataError."""

    def __init__(self, directory: Path, stream: Stream) -> None:
        self.stream = stream
        shards = _read_plan(directory)["shards"]
        self._folders = [directory / shard["folder"] for shard in shards]
        manifests = {folder: shard["manifest"] for folder, shard in zip(self._folders, shards, strict=True)}
        self._files = VerifiedFiles(manifests)
        self._bounds = np.concatenate(([0], np.cumsum([shard["samples"] for shard in shards])))
        if not len(self):
            raise DataError(f"the corpus of {stream.language} holds no document", name="E-CORPUS-SMALL")

    def __len__(self) -> int:
        return int(self._bounds[-1])

    def pieces(self, number: int) -> list[tuple[int, int]]:
        """Token ranges of the stream that sample `number` holds."""
        shard = int(self._bounds.searchsorted(number, "right")) - 1
        folder, place = self._folders[shard], number - int(self._bounds[shard])
        first, last = self._files.map(folder, SAMPLES, "<u4")[place : place + 2].tolist()
        rows = self._files.map(folder, PIECES, "<u4")[2 * first : 2 * last].tolist()
        base = int(self.stream.token_bounds[shard])
        return [(base + begin, base + end) for begin, end in zip(rows[::2], rows[1::2], strict=True)]


@final
@dataclass(frozen=True)
class PackedMixture:
    """Which documents sample number g holds: packed samples of several languages, in `SampleOrder`."""

    packs: tuple[Packs, ...]
    weights: tuple[float, ...]
    length: int
    seed: int
    duplicates: int = 0
    order: SampleOrder = field(init=False)

    def __post_init__(self) -> None:
        order = SampleOrder(tuple(map(len, self.packs)), self.weights, self.seed, self.duplicates)
        object.__setattr__(self, "order", order)

    def read(self, samples: Ids, special: SpecialIds) -> tuple[Ids, Flags, Ids]:
        """Token ids, word starts and document numbers (-1: padding), all (batch, length)."""
        shape = (len(samples), self.length)
        ids, starts = np.full(shape, special.pad, dtype=np.int64), np.ones(shape, dtype=bool)
        documents = np.full(shape, -1, dtype=np.int64)
        languages, _, places = self.order.locate(samples)
        for row, (language, place) in enumerate(zip(languages.tolist(), places.tolist(), strict=True)):
            packs, cell = self.packs[language], 0
            for number, (begin, end) in enumerate(packs.pieces(place)):
                text, flags = packs.stream.read(begin, end)
                stop = cell + 1 + len(text)
                ids[row, cell], ids[row, cell + 1 : stop] = special.start, text
                starts[row, cell + 1 : stop] = flags
                if text[-1] != special.end:
                    ids[row, stop] = special.end
                    stop += 1
                documents[row, cell:stop] = number
                cell = stop
        return ids, starts, documents
