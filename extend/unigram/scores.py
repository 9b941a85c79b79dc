"""Scores for pieces that a Unigram base lacks: learned on the new language, then mixed into the base's.

Kudo 2018 (Subword Regularization, section 3.2) learns the probabilities of pieces by expectation
maximisation over all segmentations (equations 2 to 4). Here base and added pieces are learned together on
the corpus of the new language; what the base knows of its own languages is not touched, for only the added
pieces' probabilities are used. This differs from the SentencePiece trainer, whose maximisation step is
Bayesian (it takes the digamma of the counts).
"""

import heapq
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from extend.types import WordCounts
from extend.unigram.lattice import NOT_THERE, UNKNOWN_PENALTY, Floats, Lattice

ITERATIONS = 8
DEFAULT_SHARE = 0.03
"""With XLM-R's pieces the lowest fertility on Kinyarwanda; on Uyghur 0.01 to 0.3 are one."""
MAX_WORDS = 500_000
MAX_WORD_LENGTH = 100
DECIMALS = 6
_FLOOR = 1e-12


def piece_scores(
    counts: WordCounts, known: Mapping[str, float], added: Sequence[str], *, iterations: int = ITERATIONS
) -> list[float]:
    """log p of each added piece in the new language, from expectation maximisation over base and added.

    `counts` are pre-tokenized words as the tokenizer's model gets them, `known` the base's pieces with their
    scores. The start is each piece's occurrences times its length, as SentencePiece seeds its own. A piece
    that occurs in no word has -inf. Words are taken as `frequent_words` takes them. Raises ValueError when
    `added` has a known piece, or a piece twice.
    """
    if len({*known, *added}) != len(known) + len(added):
        raise ValueError("added pieces are distinct and not in the base")
    words = frequent_words(counts)
    pieces = [*known, *added]
    lattice = Lattice(words, pieces, fixed=len(pieces))
    frequencies = np.array([counts[word] for word in words], dtype=np.float64)
    logs, everything = seed(lattice, frequencies, pieces), np.ones(len(pieces), dtype=bool)
    for _ in range(iterations):
        logs = maximised(lattice, frequencies, logs, kept=everything, unknown=unknown_score(known))
    return [float(score) for score in logs[len(known) :]]


def frequent_words(counts: WordCounts, *, limit: int = MAX_WORDS) -> list[str]:
    """The `limit` most frequent words, sorted; those over a hundred characters are left out.

    What a lattice takes is bounded so: half a million words of eight letters are some fifteen million
    occurrences of pieces. Equal counts are decided by the word.
    """
    words = [word for word, count in counts.items() if 0 < len(word) <= MAX_WORD_LENGTH and count > 0]
    if len(words) > limit:
        words = heapq.nsmallest(limit, words, key=lambda word: (-counts[word], word))
    return sorted(words)


def unknown_score(known: Mapping[str, float]) -> float:
    """What an unknown character costs: the base's lowest score less ten."""
    return min(known.values(), default=0.0) - UNKNOWN_PENALTY


def seed(lattice: Lattice, frequencies: Floats, pieces: Sequence[str]) -> Floats:
    """Log-probabilities to start from: occurrences times length, normalised."""
    lengths = np.fromiter(map(len, pieces), dtype=np.float64, count=len(pieces))
    return _logs(lattice.occurrences(frequencies) * lengths)


def maximised(
    lattice: Lattice, frequencies: Floats, logs: Floats, *, kept: NDArray[np.bool_], unknown: float
) -> Floats:
    """One step of expectation and maximisation over the pieces in `kept`.

    The others keep the last log-probability they had, so that they can come back.
    """
    edges = lattice.edge_scores(np.where(kept, logs, NOT_THERE), unknown=unknown)
    expected, _ = lattice.expected(edges, frequencies)
    occurring = kept & (logs > NOT_THERE)
    return np.where(kept, _logs(np.where(occurring, np.maximum(expected, _FLOOR), 0.0)), logs)


def _logs(weights: Floats) -> Floats:
    total = weights.sum() or 1.0
    with np.errstate(divide="ignore"):
        logs: Floats = np.log(weights) - np.log(total)
    return logs


def mixed(score: float, *, share: float, lowest: float) -> float:
    """The score of an added piece in the extended tokenizer, to six decimals.

    Mixing two distributions gives `log((1 - share) exp(old) + share exp(new))`, the formula of
    SentencePiece's author (google/sentencepiece, issue 822); a piece the base lacks has no old part, so
    it is `score + log(share)`. The base's own scores stay as they are. The result is at least `lowest`, the
    base's lowest score, for a lower one would lower the penalty of unknown characters, which is counted from
    there; and under 0.0, for probabilities are. Raises ValueError unless `share` is above 0 and at most 1.
    """
    return float(mixed_all(np.array([score]), share=share, lowest=lowest)[0])


def mixed_all(scores: Floats, *, share: float, lowest: float) -> Floats:
    """`mixed` of every score."""
    if not 0.0 < share <= 1.0:
        raise ValueError(f"a share lies above 0 and is at most 1, got {share}")
    found: Floats = np.round(scores + math.log(share), DECIMALS).clip(lowest, -(10.0**-DECIMALS))
    return found
