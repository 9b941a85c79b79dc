"""The initialisers once more, by their definitions: float64, numpy, one row at a time, whole sorts."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.special

Array = npt.NDArray[np.float64]


def sparsemax(scores: Array) -> Array:
    """Martins and Astudillo 2016, algorithm 1, over one row sorted as a whole."""
    ordered = np.sort(scores)[::-1]
    best = max(k for k in range(1, len(ordered) + 1) if 1 + k * ordered[k - 1] > ordered[:k].sum())
    return np.maximum(scores - (ordered[:best].sum() - 1) / best, 0)


def cosine(one: Array, other: Array) -> float:
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def softmax_of_top(scores: Array, count: int, temperature: float) -> Array:
    """Weights over all columns; among equal scores the lower column is taken."""
    best = sorted(range(len(scores)), key=lambda column: (-scores[column], column))[:count]
    weights = np.zeros(len(scores))
    weights[best] = scipy.special.softmax(scores[best] / temperature)
    return weights


def anchors(vectors: Array, unknown: int) -> list[int]:
    return [index for index, vector in enumerate(vectors) if vector.any() and index != unknown]


def focus_weights(base: int, vectors: Array, place: int, unknown: int) -> dict[int, float]:
    """Base id to weight, for one new piece that has a vector."""
    known = anchors(vectors[:base], unknown)
    scores = np.array([cosine(vectors[base + place], vectors[index]) for index in known])
    return dict(zip(known, sparsemax(scores), strict=True))


def wechsel_weights(
    base: int, vectors: Array, base_vectors: Array, pairs: tuple[Array, Array], place: int, unknown: int
) -> dict[int, float]:
    source, target = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in pairs)
    turn, _ = scipy.linalg.orthogonal_procrustes(source, target)
    known = anchors(base_vectors, unknown)
    scores = np.array([cosine(vectors[base + place], base_vectors[index] @ turn) for index in known])
    return dict(zip(known, softmax_of_top(scores, 10, 0.1), strict=True))


def ofa_weights(base: int, vectors: Array, place: int, unknown: int) -> dict[int, float]:
    known = anchors(vectors[:base], unknown)
    scores = np.array([cosine(vectors[base + place], vectors[index]) for index in known])
    return dict(zip(known, softmax_of_top(scores, 10, 0.1), strict=True))


def truncated(base: Array, dimensions: int) -> Array:
    """The best approximation of `base` of that rank, by the SVD of the whole."""
    left, values, right = np.linalg.svd(base, full_matrices=False)
    values[dimensions:] = 0
    return left @ np.diag(values) @ right


def clp_weights(base: int, helper: Array, place: int, unknown: int, *, sparse: bool) -> dict[int, float]:
    known = anchors(helper[:base], unknown)
    scores = np.array([cosine(helper[base + place], helper[index]) for index in known])
    weights = sparsemax(scores) if sparse else scores / scores.sum()
    return dict(zip(known, weights, strict=True))


def dictionary_weights(translations: Sequence[Sequence[int]], unknown: int) -> dict[int, float]:
    known = [[index for index in ids if index != unknown] for ids in translations]
    known = [ids for ids in known if ids]
    weights: dict[int, float] = {}
    for ids in known:
        for index in ids:
            weights[index] = weights.get(index, 0) + 1 / len(ids) / len(known)
    return weights


def row(table: Array, weights: dict[int, float]) -> Array:
    """The weighted sum of the table's rows."""
    total = np.zeros(table.shape[1:])
    for index, weight in weights.items():
        total = total + weight * table[index]
    return total
