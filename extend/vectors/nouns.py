"""Vectors of words and of pieces, as a corpus or a file gives them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]


def _check(vectors: Matrix) -> None:
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise ValueError(f"vectors are a float32 matrix, got {vectors.dtype} with {vectors.ndim} dimensions")


@final
@dataclass(frozen=True, eq=False)
class PieceVectors:
    """One vector a piece of the extended vocabulary: (pieces, dimension), float32, row i for id i.

    A row of zeros says that the piece has none. Raises ValueError for another type or shape.
    """

    vectors: Matrix

    def __post_init__(self) -> None:
        _check(self.vectors)

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which pieces have a vector: (pieces,)."""
        return np.asarray(self.vectors.any(axis=1))


@final
@dataclass(frozen=True, eq=False)
class WordVectors:
    """Words and their vectors: (words, dimension), float32, row i for word i; each word once.

    `left_out` counts entries of the file that no text can ask for, because they are not UTF-8.
    Raises ValueError when the numbers of words and rows differ, or for another type or shape.
    """

    words: tuple[str, ...]
    vectors: Matrix = field(repr=False)
    left_out: int = 0

    def __post_init__(self) -> None:
        _check(self.vectors)
        if len(self.words) != len(self.vectors):
            raise ValueError(f"one row a word, got {len(self.words)} words and {len(self.vectors)} rows")

    @cached_property
    def rows(self) -> dict[str, int]:
        """Each word's row."""
        return {word: row for row, word in enumerate(self.words)}

    def of(self, texts: Iterable[Sequence[str]]) -> Matrix:
        """One row for each group of texts: the vector of the first of them that has one, else zeros.

        A group lists what to try in turn, such as a word as it is and in lower case. Groups in the order of
        an extended vocabulary's ids give the rows of `PieceVectors`.
        """
        groups = list(texts)
        found = np.zeros((len(groups), self.vectors.shape[1]), dtype=np.float32)
        for place, group in enumerate(groups):
            row = next((self.rows[text] for text in group if text in self.rows), None)
            if row is not None:
                found[place] = self.vectors[row]
        return found
