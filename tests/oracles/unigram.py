"""Unigram segmentation by listing every segmentation: exponential, and nothing to get wrong.

A segmentation is a list of pieces; where no piece is one character long, that character alone is unknown.
"""

import math
from collections.abc import Iterator, Mapping


def segmentations(word: str, pieces: Mapping[str, float]) -> Iterator[list[tuple[str, bool]]]:
    """Every way to spell `word`, as (text, whether a piece)."""
    if not word:
        yield []
        return
    for end in range(1, len(word) + 1):
        head = word[:end]
        if head in pieces or end == 1:
            for rest in segmentations(word[end:], pieces):
                yield [(head, head in pieces), *rest]


def score(segmentation: list[tuple[str, bool]], pieces: Mapping[str, float], *, unknown: float) -> float:
    return sum(pieces[text] if known else unknown for text, known in segmentation)


def expected(
    counts: Mapping[str, int], pieces: Mapping[str, float], *, unknown: float
) -> tuple[dict[str, float], float]:
    """Expected uses of every piece, and the log-likelihood of the words (Kudo 2018, equations 2 to 4)."""
    uses, likelihood = dict.fromkeys(pieces, 0.0), 0.0
    for word, count in counts.items():
        ways = list(segmentations(word, pieces))
        weights = [math.exp(score(way, pieces, unknown=unknown)) for way in ways]
        total = math.fsum(weights)
        likelihood += count * math.log(total)
        for way, weight in zip(ways, weights, strict=True):
            for text, known in way:
                if known:
                    uses[text] += count * weight / total
    return uses, likelihood


def trained(
    counts: Mapping[str, int], pieces: list[str], *, unknown: float, iterations: int
) -> dict[str, float]:
    """Log-probabilities after some steps of expectation maximisation, from occurrences times length."""
    occurrences = {
        piece: len(piece)
        * sum(
            count * sum(word.startswith(piece, at) for at in range(len(word)))
            for word, count in counts.items()
        )
        for piece in pieces
    }
    probabilities = _normalised(occurrences)
    for _ in range(iterations):
        logs = {piece: math.log(value) for piece, value in probabilities.items()}
        uses, _ = expected(counts, logs, unknown=unknown)
        probabilities = _normalised({piece: uses[piece] for piece in probabilities})
    return {
        piece: math.log(probabilities[piece]) if piece in probabilities else -math.inf for piece in pieces
    }


def _normalised(weights: Mapping[str, float]) -> dict[str, float]:
    total = math.fsum(weights.values())
    return {piece: weight / total for piece, weight in weights.items() if weight > 0.0}


def best_score(word: str, pieces: Mapping[str, float], *, unknown: float) -> float:
    return max(score(way, pieces, unknown=unknown) for way in segmentations(word, pieces))
