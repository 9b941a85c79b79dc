"""Files of vectors in both forms, written from their descriptions and not by the code that reads them."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


def as_text(vectors: Mapping[str, Sequence[float]], *, end: str = "\n", after: str = " ") -> bytes:
    """word2vec text as fastText writes it: a blank before every line end."""
    dimension = len(next(iter(vectors.values())))
    lines = [f"{len(vectors)} {dimension}"]
    lines += [f"{word} {' '.join(f'{number:.6g}' for number in row)}{after}" for word, row in vectors.items()]
    return "".join(f"{line}{end}" for line in lines).encode()


@dataclass(frozen=True)
class Model:
    """A fastText model to be written, with every field that a fault may change."""

    words: Sequence[bytes]
    dimension: int = 4
    buckets: int = 50
    shortest: int = 3
    longest: int = 5
    kind: int = 1
    version: int = 12
    labels: int = 0
    pruned: int = -1
    quantised: tuple[int, int] = (0, 0)
    entry_type: int = 0
    size: int | None = None
    rows: int | None = None
    seed: int = 0
    poison: Mapping[tuple[int, int], float] = field(default_factory=dict)

    def matrix(self) -> np.ndarray:
        drawn = np.random.default_rng(self.seed).normal(size=(len(self.words) + self.buckets, self.dimension))
        matrix = drawn.astype("<f4")
        for place, value in self.poison.items():
            matrix[place] = value
        return matrix

    def written(self) -> bytes:
        size = len(self.words) if self.size is None else self.size
        matrix, output = self.matrix(), np.zeros((len(self.words), self.dimension), "<f4")
        rows = len(matrix) if self.rows is None else self.rows
        arguments = (self.dimension, 5, 3, 1, 10, 1, 2, self.kind, self.buckets, self.shortest, self.longest)
        parts = [
            struct.pack("<2i", 793712314, self.version),
            struct.pack("<12id", *arguments, 100, 1e-4),
            struct.pack("<3i2q", size, size - self.labels, self.labels, 1000, self.pruned),
            *(word + b"\0" + struct.pack("<qb", 7, self.entry_type) for word in self.words),
            struct.pack("<b2q", self.quantised[0], rows, self.dimension),
            matrix.tobytes(),
            struct.pack("<b2q", self.quantised[1], *output.shape),
            output.tobytes(),
        ]
        return b"".join(parts)


def slow_ngram_rows(word: bytes, model: Model) -> list[int]:
    """fastText's computeSubwords, byte by byte as in its dictionary.cc."""
    marked, rows = b"<" + word + b">", []
    for start in range(len(marked)):
        if marked[start] & 0xC0 == 0x80:
            continue
        end, length = start, 1
        while end < len(marked) and length <= model.longest:
            end += 1
            while end < len(marked) and marked[end] & 0xC0 == 0x80:
                end += 1
            if length >= model.shortest and not (length == 1 and (start == 0 or end == len(marked))):
                value = 2166136261
                for byte in marked[start:end]:
                    value ^= byte | 0xFFFFFF00 if byte > 127 else byte
                    value = value * 16777619 % 2**32
                rows.append(len(model.words) + value % model.buckets)
            length += 1
    return rows


def slow_vector(word: bytes, model: Model) -> np.ndarray:
    """fastText's getWordVector: the mean over the word's own row and its n-grams'."""
    own = [model.words.index(word)] if word in model.words else []
    ngrams = slow_ngram_rows(word, model) if model.longest and word != b"</s>" else []
    return model.matrix()[own + ngrams].astype(np.float64).mean(axis=0)
