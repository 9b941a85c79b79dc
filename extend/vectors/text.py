"""Vectors in word2vec's text form, fastText's `.vec`: a header, then a line a word with its numbers."""

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from extend.errors import DataError, OutOfMemoryError, escaped
from extend.vectors.nouns import Matrix, WordVectors
from extend.vectors.opening import Source, lines_of

_HEADER = re.compile(rb"([0-9]{1,10})[ \t]([0-9]{1,7})[ \t]*")
_WORD_BYTES = 4096
_NUMBER_BYTES = 32
MOST_LEFT_OUT = 0.01
"""Share of words that may not be UTF-8 before the file is taken for one in another encoding."""


def read_text(source: Source, *, wanted: Collection[str] | None) -> WordVectors:
    """The words of `source`, or those in `wanted`, in the order of the file.

    The header's numbers are held against the file's size before anything is allocated. Words that are not
    UTF-8, as tools that cut words at a byte leave them, are left out and counted.
    Raises DataError with file:line: E-VECTORS for what the form does not allow, a wrong number of numbers,
    a word that comes twice, and missing or surplus lines; E-NONFINITE; E-ENCODING when over a hundredth of
    the words are not UTF-8.
    """
    count, dimension = _header(source)
    rows = _allocated(source.path, count if wanted is None else min(count, len(wanted)), dimension)
    places: dict[str, int] = {}
    words: list[str] = []
    undecodable: list[int] = []
    last = 1
    for number, line in lines_of(source, limit=_WORD_BYTES + _NUMBER_BYTES * dimension, first=2):
        if number > count + 1:
            if not line.strip():
                continue
            raise _wrong(source.path, number, f"a line more than the {count:,} that the header names")
        last = number
        fields = line.split()
        if len(fields) != dimension + 1:
            raise _wrong(
                source.path, number, f"{max(len(fields) - 1, 0):,} numbers, the header says {dimension:,}"
            )
        try:
            word = fields[0].decode("utf-8")
        except UnicodeDecodeError:
            undecodable.append(number)
            continue
        if word in places:
            raise _wrong(source.path, number, f"'{escaped(word)}' stands in line {places[word]} already")
        places[word] = number
        if wanted is None or word in wanted:
            rows[len(words)] = _numbers(source.path, number, fields[1:])
            words.append(word)
    if last < count + 1:
        raise _wrong(source.path, last, f"the file ends after {last - 1:,} of {count:,} words")
    _check_encoding(source.path, undecodable, count)
    return WordVectors(tuple(words), rows[: len(words)], left_out=len(undecodable))


def _header(source: Source) -> tuple[int, int]:
    first = next(lines_of(source, limit=_WORD_BYTES), (1, b""))[1]
    found = _HEADER.fullmatch(first)
    if not found:
        raise DataError(
            f"{source.path}:1: not a header of word vectors",
            name="E-VECTORS",
            why=f"the first line is the number of words and the dimension, got "
            f"'{escaped(first[:80].decode('utf-8', 'replace'))}'",
            next="word2vec text (.vec) and fastText's unquantised .bin are read",
        )
    count, dimension = map(int, found.groups())
    least = count * (2 * dimension + 2) - 1
    if not dimension or least > source.size:
        raise _wrong(
            source.path, 1, f"a file of this size cannot hold {count:,} vectors of {dimension:,} numbers"
        )
    return count, dimension


def _allocated(path: Path, rows: int, dimension: int) -> Matrix:
    try:
        return np.empty((rows, dimension), dtype=np.float32)
    except MemoryError as error:
        raise OutOfMemoryError(
            f"too little memory for {rows:,} vectors of {dimension:,} numbers",
            name="E-MEMORY",
            why=f"{path} holds that many",
        ) from error


def _numbers(path: Path, number: int, fields: list[bytes]) -> Matrix:
    try:
        if any(b"_" in text for text in fields):
            raise ValueError("an underscore is no part of a number")
        with np.errstate(over="ignore"):
            row = np.array(list(map(float, fields))).astype(np.float32)
    except ValueError as error:
        bad = next(text for text in fields if not _is_number(text))
        shown = escaped(bad[:80].decode("utf-8", "replace"))
        raise _wrong(path, number, f"'{shown}' is not a number") from error
    if not np.isfinite(row).all():
        place = int(np.argmin(np.isfinite(row)))
        shown = escaped(fields[place][:80].decode("utf-8", "replace"))
        raise DataError(
            f"{path}:{number}: number {place + 1} is {shown}, which is not finite", name="E-NONFINITE"
        )
    return row


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return b"_" not in text


def _check_encoding(path: Path, undecodable: list[int], count: int) -> None:
    if len(undecodable) > MOST_LEFT_OUT * count:
        raise DataError(
            f"{path}:{undecodable[0]}: the word is not UTF-8",
            name="E-ENCODING",
            why=f"{len(undecodable):,} of {count:,} words are not",
            next="bring the file to UTF-8 first",
        )


def _wrong(path: Path, number: int, why: str) -> DataError:
    return DataError(f"{path}:{number}: {why}", name="E-VECTORS")
