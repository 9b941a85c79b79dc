"""Shards: a few million tokens in files of their own, written once, verified when they are first touched.

A shard is a folder with `ids.bin` (uint32), `starts.bin` (a bit a token: does it start a word?), `lines.bin`
(uint32: where in the shard each line starts) and `documents.bin` (a bit a line: does it start a document?),
all little-endian. Shards lie in a published folder whose MANIFEST.json has the sha256 of every file.
"""

import contextlib
import hashlib
import itertools
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from extend import store
from extend.errors import DataError, ExtendError, PathError

Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
EncodedLine = tuple[Sequence[int], Sequence[bool], bool]
"""Ids without specials, whether each starts a word, and whether the line starts a document.

A line without ids is not kept; the document it starts begins with the next line that is.
"""

SHARD_TOKENS = 1 << 21
IDS, STARTS, LINES, DOCUMENTS, ACTIVE = (
    "ids.bin",
    "starts.bin",
    "lines.bin",
    "documents.bin",
    "active.bin",
)
_MOST_MAPPED = 8192


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """What a shard holds: `documents` is how many of its lines start one, `starts` whether its first does."""

    tokens: int
    lines: int
    documents: int
    starts: bool


class _Bits:
    """A file of bits, the first in the lowest bit of the first byte, written in pieces of any length."""

    def __init__(self, path: Path) -> None:
        self._path, self._rest = path, np.zeros(0, dtype=bool)

    def add(self, flags: Flags) -> None:
        flags = np.concatenate((self._rest, flags))
        whole = len(flags) & ~7
        self._rest = flags[whole:]
        store.append_bytes(self._path, np.packbits(flags[:whole], bitorder="little").tobytes())

    def close(self) -> None:
        store.append_bytes(self._path, np.packbits(self._rest, bitorder="little").tobytes())


@final
class ShardWriter:
    """Encoded lines to numbered shards below `folder`, each line ended by the token `end`.

    A shard ends with the first line that brings it to `shard_tokens`, however the lines were handed over.
    `active` says of every id whether it was written, `pending` whether a document began after the last line.
    """

    def __init__(self, folder: Path, *, end: int, vocab_size: int, shard_tokens: int = SHARD_TOKENS) -> None:
        self.active, self.pending = np.zeros(vocab_size, dtype=bool), False
        self._folder, self._end, self._most = folder, end, shard_tokens
        self._facts: list[ShardFacts] = []
        self._open: _OpenShard | None = None

    def add(self, lines: Sequence[EncodedLine]) -> None:
        """Write lines, in order."""
        kept, documents = [], []
        for line in lines:
            self.pending = self.pending or line[2]
            if len(line[0]):
                kept.append(line)
                documents.append(self.pending)
                self.pending = False
        if not kept:
            return
        ids, starts, lengths = _flatten(kept, self._end)
        self.active[ids] = True
        ends, flags = np.cumsum(lengths), np.array(documents, dtype=bool)
        first = token = 0
        while first < len(kept):
            if self._open is None:
                self._open = _OpenShard(self._folder / f"{len(self._facts):05}")
            room = self._most - self._open.tokens
            stop = min(int(np.searchsorted(ends, token + room)) + 1, len(kept))
            until = int(ends[stop - 1])
            self._open.add(ids[token:until], starts[token:until], lengths[first:stop], flags[first:stop])
            first, token = stop, until
            if self._open.tokens >= self._most:
                self._close()

    def finish(self) -> list[ShardFacts]:
        """Close the last shard, write which ids occurred, and say what each shard holds."""
        if self._open is not None:
            self._close()
        if self._facts:
            packed = np.packbits(self.active, bitorder="little")
            store.append_bytes(self._folder / ACTIVE, packed.tobytes())
        return self._facts

    def _close(self) -> None:
        assert self._open is not None
        self._facts.append(self._open.close())
        self._open = None


class _OpenShard:
    def __init__(self, folder: Path) -> None:
        self.tokens = self._lines = self._documents = 0
        self._folder, self._begins = folder, False
        self._starts, self._flags = _Bits(folder / STARTS), _Bits(folder / DOCUMENTS)

    def add(self, ids: Ids, starts: Flags, lengths: Ids, documents: Flags) -> None:
        if not self._lines:
            self._begins = bool(documents[0])
        offsets = self.tokens + np.cumsum(lengths) - lengths
        store.append_bytes(self._folder / IDS, ids.astype("<u4").tobytes())
        store.append_bytes(self._folder / LINES, offsets.astype("<u4").tobytes())
        self._starts.add(starts)
        self._flags.add(documents)
        self.tokens += len(ids)
        self._lines += len(lengths)
        self._documents += int(documents.sum())

    def close(self) -> ShardFacts:
        self._starts.close()
        self._flags.close()
        return ShardFacts(self.tokens, self._lines, self._documents, self._begins)


def _flatten(lines: Sequence[EncodedLine], end: int) -> tuple[Ids, Flags, Ids]:
    """Ids with an end token after each line, word starts, and tokens a line."""
    lengths = np.fromiter((len(line[0]) + 1 for line in lines), dtype=np.int64, count=len(lines))
    ids = np.full(int(lengths.sum()), end, dtype=np.int64)
    starts, inside = np.ones(len(ids), dtype=bool), np.ones(len(ids), dtype=bool)
    inside[np.cumsum(lengths) - 1] = False
    count = len(ids) - len(lines)
    texts = itertools.chain.from_iterable(line[0] for line in lines)
    flags = itertools.chain.from_iterable(line[1] for line in lines)
    ids[inside] = np.fromiter(texts, dtype=np.int64, count=count)
    starts[inside] = np.fromiter(flags, dtype=bool, count=count)
    return ids, starts, lengths


def manifest_sha256(folder: Path) -> str:
    """One fingerprint of what a published folder's manifest says of its files. Raises DataError."""
    return _sha256_of(_files_of(folder))


def _files_of(folder: Path) -> Mapping[str, Any]:
    try:
        files: dict[str, Any] = store.read_json(folder / store.MANIFEST)["files"]
        return {name: (entry["size"], entry["sha256"]) for name, entry in files.items()}
    except (ExtendError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, PathError) and (folder / store.MANIFEST).exists():
            raise
        raise damaged(folder, store.MANIFEST) from error


def _sha256_of(files: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()


@final
class VerifiedFiles:
    """Files of published folders, memory-mapped; each is compared with its sha256 when it is first touched.

    `manifests` are the fingerprints that the folders' manifests must have; a folder without one is taken at
    its manifest's word. Few files stay mapped at a time: memory maps are limited, shards are not.
    """

    def __init__(self, manifests: Mapping[Path, str]) -> None:
        self._manifests = manifests
        self._expected: dict[Path, Mapping[str, Any]] = {}
        self._verified: set[tuple[Path, str]] = set()
        self._mapped: OrderedDict[tuple[Path, str], npt.NDArray[Any]] = OrderedDict()

    def map(self, folder: Path, name: str, dtype: str) -> npt.NDArray[Any]:
        """The file `name` of `folder` as an array that cannot be written.

        Raises DataError E-DATA-DAMAGED when it is not as it was written; the folder is then set aside.
        """
        key = (folder, name)
        if key not in self._mapped:
            if key not in self._verified:
                self._verify(folder, name)
                self._verified.add(key)
            if len(self._mapped) >= _MOST_MAPPED:
                self._mapped.popitem(last=False)
            self._mapped[key] = np.memmap(folder / name, dtype=dtype, mode="r")
        return self._mapped[key]

    def bits(self, folder: Path, name: str, begin: int, stop: int) -> Flags:
        """Bits [begin, stop) of a file of bits."""
        packed = self.map(folder, name, "u1")[begin >> 3 : (stop + 7) >> 3]
        bits = np.unpackbits(packed, bitorder="little")[begin & 7 : (begin & 7) + stop - begin]
        return bits.view(np.bool_)

    def touched(self) -> set[str]:
        """Which files were verified so far, as FOLDER/FILE."""
        return {f"{folder.name}/{name}" for folder, name in self._verified}

    def _verify(self, folder: Path, name: str) -> None:
        if folder not in self._expected:
            files = _files_of(folder)
            if self._manifests.get(folder, wanted := _sha256_of(files)) != wanted:
                raise damaged(folder, store.MANIFEST)
            self._expected[folder] = files
        path = folder / name
        try:
            found = (path.stat().st_size, store.sha256_file(path))
        except FileNotFoundError as error:
            raise damaged(folder, name) from error
        if self._expected[folder].get(name) != found:
            raise damaged(folder, name)


def damaged(folder: Path, name: str) -> DataError:
    """Set the folder aside (`*.bad`) and give the told form of what is wrong with it."""
    done = "nothing of it was used"
    if folder.is_dir():
        with contextlib.suppress(PathError):  # another process was faster
            done = f"it was set aside as {store.set_aside(folder).name}"
    return DataError(
        f"tokenised data {folder} is damaged: {name}",
        name="E-DATA-DAMAGED",
        why="a file is missing, or its sha256 is not what its manifest says",
        done=done,
        next="run the same command: it makes anew what was set aside, and nothing else",
    )
