"""Vectors from a file, whatever its form."""

from collections.abc import Collection
from pathlib import Path

from extend.errors import DataError
from extend.vectors.fasttext_bin import MAGIC, read_binary
from extend.vectors.nouns import WordVectors
from extend.vectors.opening import opened
from extend.vectors.text import read_text


def is_fasttext_model(path: Path) -> bool:
    """Whether `path` is a fastText `.bin`, which has a vector for any text. Raises PathError."""
    with opened(path) as source:
        return source.file.read(len(MAGIC)) == MAGIC


def read_vectors(
    path: Path, *, wanted: Collection[str] | None = None, dimension: int | None = None
) -> WordVectors:
    """Word vectors of word2vec text (`.vec`, `.txt`, either `.gz`) or a fastText `.bin`; the content decides.

    With `wanted`, only those words: memory is theirs alone, and a fastText model also gives the ones it does
    not have, from their n-grams. With `dimension`, vectors of another one are refused. Raises PathError for
    what cannot be read, DataError (file:line for text, byte for binary) for what the form does not allow: see
    `read_text` and `read_binary`; OutOfMemoryError when the vectors do not fit.
    """
    chosen = wanted if wanted is None else frozenset(wanted)
    with opened(path) as source:
        begin = source.file.read(len(MAGIC))
        source.file.seek(0)
        found = (read_binary if begin == MAGIC else read_text)(source, wanted=chosen)
    if dimension is not None and found.vectors.shape[1] != dimension:
        raise DataError(
            f"{path}: vectors of {found.vectors.shape[1]:,} numbers, {dimension:,} are wanted",
            name="E-VECTORS",
            next="give vectors that were made together",
        )
    return found
