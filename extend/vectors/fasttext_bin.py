"""fastText's own binary form (`.bin`), as its fasttext.cc, args.cc, dictionary.cc, densematrix.cc write it.

Little-endian: magic and version (int32 each); twelve int32 and a double of arguments; the dictionary (three
int32 sizes, two int64, then every entry as text, NUL, int64 count, int8 type); a byte that says whether the
input matrix is quantised; the matrix (two int64 sizes, float32 rows: words first, then n-gram buckets); the
same again for the output matrix, which nothing here needs. Only the rows that are asked for are added up, a
block of the matrix at a time, so that memory is that of the result.
"""

import itertools
import os
import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from extend.errors import DataError, OutOfMemoryError, escaped
from extend.vectors.ngrams import Ints, NgramRule, ngram_buckets, summed_rows
from extend.vectors.nouns import Matrix, WordVectors
from extend.vectors.opening import Source

MAGIC = struct.pack("<i", 793712314)
_VERSIONS = (11, 12)
_SUPERVISED = 3
_ARGUMENTS, _SIZES, _MATRIX = struct.Struct("<12id"), struct.Struct("<3i2q"), struct.Struct("<2q")
_LEAST_ENTRY, _WORD_BYTES, _CHUNK = 10, 1 << 16, 1 << 20
_BLOCK = 1 << 24
_SLAB = 1 << 17
_END_OF_SENTENCE = "</s>"


@dataclass(frozen=True)
class _Model:
    path: Path
    dimension: int
    words: dict[str, int]
    entries: int
    left_out: int
    rule: NgramRule
    matrix: int
    """Where the input matrix begins, in bytes."""


def read_binary(source: Source, *, wanted: Collection[str] | None) -> WordVectors:
    """The file's own words, or `wanted` in sorted order: those it has, and those whose n-grams it can add up.

    A word's vector is the mean of its own row, if it has one, and its n-grams' rows, as fastText's
    `getWordVector`; `</s>` has no n-grams. A wanted word without either is left out. Words of the file that
    are not UTF-8 are left out and counted. Raises DataError: E-VECTORS for a supervised or quantised model,
    and, with the byte offset, for a damaged one or one that is cut off; E-NONFINITE.
    """
    model = _read_model(source)
    words = sorted(set(wanted)) if wanted is not None else list(model.words)
    words = list(filter(_encodable, words))
    try:
        vectors = np.zeros((len(words), model.dimension), dtype=np.float32)
    except MemoryError as error:
        raise OutOfMemoryError(
            f"too little memory for {len(words):,} vectors of {model.dimension:,} numbers", name="E-MEMORY"
        ) from error
    terms = np.zeros(len(words), dtype=np.int64)
    for start in range(0, len(words), _SLAB):
        part = slice(start, start + _SLAB)
        terms[part] = _add_up(source, model, words[part], vectors[part])
    kept = terms > 0
    if not kept.all():
        words, vectors, terms = (
            [w for w, keep in zip(words, kept, strict=True) if keep],
            vectors[kept],
            terms[kept],
        )
    vectors /= terms[:, None].astype(np.float32)
    return WordVectors(tuple(words), vectors, left_out=model.left_out)


def _encodable(word: str) -> bool:
    try:
        word.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _add_up(source: Source, model: _Model, words: Sequence[str], out: Matrix) -> Ints:
    """Add the rows of every word to its row of `out`; returns how many they are."""
    owners, rows = _rows_of(model, words)
    order = np.argsort(rows, kind="stable")
    owners, rows = owners[order], rows[order]
    each = max(1, _BLOCK // (4 * model.dimension))
    last = int(rows[-1]) if len(rows) else -1
    edges = np.searchsorted(rows, np.arange(0, last + each + 1, each))
    for low, high in itertools.pairwise(edges.tolist()):
        if low == high:
            continue
        used, place = np.unique(rows[low:high], return_inverse=True)
        block = _block(source, model, int(used[0]), int(used[-1]) + 1)
        _check_finite(model, block[used - used[0]], used)
        by_owner = np.argsort(owners[low:high], kind="stable")
        summed_rows(owners[low:high][by_owner], block[(used - used[0])[place[by_owner]]], out)
    return np.bincount(owners, minlength=len(words))


def _rows_of(model: _Model, words: Sequence[str]) -> tuple[Ints, Ints]:
    own = np.array([model.words.get(word, -1) for word in words], dtype=np.int64)
    owners, buckets = ngram_buckets([word if word != _END_OF_SENTENCE else "" for word in words], model.rule)
    sentence_end = np.array([word == _END_OF_SENTENCE for word in words], dtype=np.bool_)
    spelt = ~sentence_end[owners]
    known = np.flatnonzero(own >= 0)
    return (
        np.concatenate([known, owners[spelt]]),
        np.concatenate([own[known], buckets[spelt] + model.entries]),
    )


def _block(source: Source, model: _Model, first: int, end: int) -> Matrix:
    width = 4 * model.dimension
    source.file.seek(model.matrix + first * width)
    content = source.file.read((end - first) * width)
    if len(content) < (end - first) * width:
        raise _wrong(model.path, model.matrix + first * width + len(content), "the file became shorter")
    return np.frombuffer(content, dtype="<f4").astype(np.float32, copy=False).reshape(-1, model.dimension)


def _check_finite(model: _Model, rows: Matrix, numbers: Ints) -> None:
    finite = np.isfinite(rows)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        offset = model.matrix + 4 * (int(numbers[row]) * model.dimension + int(column))
        raise DataError(f"{model.path}: byte {offset}: a number that is not finite", name="E-NONFINITE")


def _read_model(source: Source) -> _Model:
    if source.compressed:
        raise DataError(
            f"{source.path}: a compressed fastText model",
            name="E-VECTORS",
            why="its rows are read from all over the file",
            next="unpack it first (gunzip)",
        )
    reader = _Reader(source)
    reader.take(len(MAGIC))
    (version,) = struct.unpack("<i", reader.take(4))
    if version not in _VERSIONS:
        raise _wrong(source.path, 4, f"version {version} of fastText's form; 11 and 12 are read")
    arguments = _ARGUMENTS.unpack(reader.take(_ARGUMENTS.size))
    dimension, kind, buckets, shortest, longest = (arguments[place] for place in (0, 7, 8, 9, 10))
    if kind == _SUPERVISED:
        raise _refused(source.path, "a supervised model (a classifier)")
    if dimension < 1 or min(buckets, shortest, longest) < 0 or longest > _WORD_BYTES:
        raise _wrong(
            source.path, 8, f"arguments that no model has: dimension {dimension:,}, {buckets:,} buckets"
        )
    words, entries, left_out = _dictionary(reader)
    if reader.take(1) != b"\0":
        raise _refused(source.path, "a quantised model")
    matrix = _matrix(reader, rows=entries + buckets, columns=dimension)
    reader.skip(4 * dimension * (entries + buckets))
    if reader.take(1) != b"\0":
        raise _refused(source.path, "a quantised model")
    rows, columns = _MATRIX.unpack(reader.take(_MATRIX.size))
    if rows < 0 or columns != dimension or reader.offset + 4 * rows * columns != source.size:
        raise _wrong(source.path, reader.offset, "the output matrix is cut off or followed by something else")
    return _Model(
        source.path, dimension, words, entries, left_out, NgramRule(shortest, longest, buckets), matrix
    )


def _dictionary(reader: "_Reader") -> tuple[dict[str, int], int, int]:
    """Row of every word, the number of entries, and how many are not UTF-8."""
    begin = reader.offset
    size, number, labels, _, pruned = _SIZES.unpack(reader.take(_SIZES.size))
    if labels > 0:
        raise _refused(reader.path, "a supervised model (a classifier)")
    if pruned >= 0:
        raise _refused(reader.path, "a quantised model")
    if size < 0 or labels < 0 or number != size or size * _LEAST_ENTRY > reader.left:
        raise _wrong(reader.path, begin, f"a file of this size cannot hold {size:,} words")
    words: dict[str, int] = {}
    undecodable = 0
    for entry in range(size):
        offset = reader.offset
        text = reader.text()
        if reader.take(9)[8]:
            raise _refused(reader.path, "a supervised model (a classifier)")
        try:
            word = text.decode("utf-8")
        except UnicodeDecodeError:
            undecodable += 1
            continue
        if word in words:
            raise _wrong(reader.path, offset, f"'{escaped(word)}' is in the dictionary already")
        words[word] = entry
    return words, size, undecodable


def _matrix(reader: "_Reader", *, rows: int, columns: int) -> int:
    begin = reader.offset
    sizes = _MATRIX.unpack(reader.take(_MATRIX.size))
    if sizes != (rows, columns):
        raise _wrong(
            reader.path, begin, f"a matrix of {sizes[0]:,} x {sizes[1]:,}; {rows:,} x {columns:,} belong here"
        )
    if 4 * rows * columns > reader.left:
        raise _wrong(reader.path, begin, f"the file is cut off: {rows:,} rows of {columns:,} numbers follow")
    return reader.offset


class _Reader:
    """Reads forward through a buffer and tells where the file ends too early."""

    def __init__(self, source: Source) -> None:
        self.path, self._file, self._size = source.path, source.file, source.size
        self._buffer, self._place, self._end = b"", 0, 0

    @property
    def offset(self) -> int:
        return self._end - len(self._buffer) + self._place

    @property
    def left(self) -> int:
        return self._size - self.offset

    def take(self, count: int) -> bytes:
        if not self._fill(count):
            raise _wrong(self.path, self.offset, "the file is cut off")
        self._place += count
        return self._buffer[self._place - count : self._place]

    def text(self) -> bytes:
        """Up to a NUL, which is taken too."""
        self._fill(_WORD_BYTES)
        end = self._buffer.find(b"\0", self._place, self._place + _WORD_BYTES)
        if end < 0:
            raise _wrong(self.path, self.offset, f"a word without an end in {_WORD_BYTES:,} bytes")
        found = self._buffer[self._place : end]
        self._place = end + 1
        return found

    def skip(self, count: int) -> None:
        self._end = self.offset + count
        self._buffer, self._place = b"", 0
        self._file.seek(self._end, os.SEEK_SET)

    def _fill(self, count: int) -> bool:
        if len(self._buffer) - self._place < count:
            more = self._file.read(_CHUNK)
            self._buffer, self._place = self._buffer[self._place :] + more, 0
            self._end += len(more)
        return len(self._buffer) - self._place >= count


def _wrong(path: Path, offset: int, why: str) -> DataError:
    return DataError(f"{path}: byte {offset}: {why}", name="E-VECTORS", next="fetch the file again")


def _refused(path: Path, what: str) -> DataError:
    return DataError(
        f"{path}: {what}, not word vectors",
        name="E-VECTORS",
        next="give an unsupervised, unquantised fastText model, or its .vec",
    )
