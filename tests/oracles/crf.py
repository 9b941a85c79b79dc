"""A CRF by enumeration of every path, in plain Python: too slow to be wrong."""

import itertools
import math
from collections.abc import Iterator, Sequence

Matrix = Sequence[Sequence[float]]


def path_scores(
    emissions: Matrix, start: Sequence[float], transitions: Matrix, end: Sequence[float]
) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every path through the lattice with its score."""
    for path in itertools.product(range(len(start)), repeat=len(emissions)):
        score = start[path[0]] + end[path[-1]]
        score += sum(row[tag] for row, tag in zip(emissions, path, strict=True))
        score += sum(transitions[first][second] for first, second in itertools.pairwise(path))
        yield path, score


def log_likelihood(
    tags: Sequence[int], emissions: Matrix, start: Sequence[float], transitions: Matrix, end: Sequence[float]
) -> float:
    scores = dict(path_scores(emissions, start, transitions, end))
    return scores[tuple(tags)] - _log_sum(list(scores.values()))


def best_path(
    emissions: Matrix, start: Sequence[float], transitions: Matrix, end: Sequence[float]
) -> tuple[int, ...]:
    return max(path_scores(emissions, start, transitions, end), key=lambda pair: pair[1])[0]


def marginals(
    emissions: Matrix, start: Sequence[float], transitions: Matrix, end: Sequence[float]
) -> list[list[float]]:
    scores = list(path_scores(emissions, start, transitions, end))
    total = _log_sum([score for _, score in scores])
    result = [[0.0] * len(start) for _ in emissions]
    for path, score in scores:
        for place, tag in enumerate(path):
            result[place][tag] += math.exp(score - total)
    return result


def _log_sum(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))
