"""Which candidates to add: those go first that spare the fewest pieces when words are spelt by best score.

Like the SentencePiece trainer (Kudo 2018, section 3.2) this starts from too many pieces and takes away the
least useful in rounds, with new probabilities each round. The use of a piece is counted in what is wanted
of it, pieces spared on the corpus with the scores it will really have, and not in likelihood.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from extend.types import WordCounts
from extend.unigram.lattice import NOT_THERE, UNKNOWN, Floats, Lattice
from extend.unigram.scores import DEFAULT_SHARE, frequent_words, maximised, mixed_all, seed, unknown_score
from extend.unigram.trie import Integers

ROUNDS_OF_SCORES = 2
PREFERRED_COUNT = 3


@dataclass(frozen=True, slots=True)
class ScoredPieces:
    """Pieces in the order of the candidates.

    `logs` are their log-probabilities in the new language, `scores` those of the extended tokenizer.
    """

    pieces: tuple[str, ...]
    logs: tuple[float, ...]
    scores: tuple[float, ...]


def choose_pieces(
    counts: WordCounts,
    known: Mapping[str, float],
    candidates: Sequence[str],
    *,
    size: int,
    min_count: int = 2,
    share: float = DEFAULT_SHARE,
) -> ScoredPieces:
    """At most `size` of `candidates` with their scores: single characters first, the others in their order.

    `counts` are pre-tokenized words, taken as `frequent_words` takes them; `known` are the base's pieces with
    their scores. Characters are all kept as far as `size` allows, so that no new script is unknown. Every
    other piece is used `min_count` times or more when the words are spelt with the base and the result.
    Candidates that occur less than three times are taken when there are no others; among equal costs the
    later one goes first. Two to three times `size` candidates are enough, if what would be learned for
    `size` alone is among them. Raises ValueError when a candidate is known or comes twice.
    """
    if size < 0 or min_count < 1:
        raise ValueError("size is at least 0, min_count at least 1")
    if len({*known, *candidates}) != len(known) + len(candidates):
        raise ValueError("candidates are distinct and not in the base")
    characters = [piece for piece in candidates if len(piece) == 1][:size]
    longer = [piece for piece in candidates if len(piece) > 1]
    corpus = _Corpus(counts, known, [*characters, *longer], fixed=len(characters), share=share)
    corpus.shrink(size)
    corpus.replace_rare(size, min_count=min_count)
    return corpus.result()


class _Corpus:
    """The words as the base and the candidates kept so far spell them."""

    def __init__(
        self,
        counts: WordCounts,
        known: Mapping[str, float],
        candidates: Sequence[str],
        *,
        fixed: int,
        share: float,
    ) -> None:
        words = frequent_words(counts)
        pieces = [*known, *candidates]
        self._candidates, self._fixed, self._share = candidates, fixed, share
        self._base = np.fromiter(known.values(), dtype=np.float64, count=len(known))
        self._unknown, self._lowest = unknown_score(known), min(known.values(), default=-np.inf)
        self._frequencies = np.array([counts[word] for word in words], dtype=np.float64)
        self._words = Lattice(words, pieces, fixed=len(known))
        self._alternatives = Lattice(candidates[fixed:], pieces, fixed=len(known))
        self._whole = self._alternatives.whole_words()
        self._logs = seed(self._words, self._frequencies, pieces)
        self._kept = np.ones(len(candidates), dtype=bool)
        self._reserve: list[int] = []
        self._usage = self._used()

    def shrink(self, size: int) -> None:
        """Take candidates away until `size` are left, half of the surplus at a time, cheapest first.

        Those that hardly occur go before all others that can be spared: they are chance.
        """
        occurrences = self._words.occurrences(self._frequencies)[len(self._base) :]
        while (surplus := int(self._kept.sum()) - size) > 0:
            costs = self._costs()
            chance = (occurrences < PREFERRED_COUNT) & np.isfinite(costs)
            order = np.lexsort((-np.arange(len(costs)), costs, ~chance))
            going = order[self._kept[order]][: surplus if surplus <= size // 100 else math.ceil(surplus / 2)]
            self._kept[going] = False
            self._reserve += [int(index) for index in going if costs[index] > 0]
            self._usage = self._used()

    def replace_rare(self, size: int, *, min_count: int) -> None:
        """Take away what is used too rarely, and give back the dearest of those that went before."""
        while True:
            rare = self._kept & (self._usage < min_count)
            rare[: self._fixed] = False
            if not rare.any():
                return
            self._kept &= ~rare
            free = min(size - int(self._kept.sum()), len(self._reserve))
            self._kept[[self._reserve.pop() for _ in range(free)]] = True
            self._usage = self._used()

    def result(self) -> ScoredPieces:
        chosen = [int(index) for index in np.flatnonzero(self._kept)]
        added = len(self._base)
        return ScoredPieces(
            tuple(self._candidates[index] for index in chosen),
            tuple(self._logs[added + np.array(chosen, dtype=np.int64)].tolist()),
            tuple(self._scores()[added + np.array(chosen, dtype=np.int64)].tolist()),
        )

    def _scores(self) -> Floats:
        added = mixed_all(self._logs[len(self._base) :], share=self._share, lowest=self._lowest)
        return np.concatenate([self._base, np.where(self._kept, added, NOT_THERE)])

    def _used(self) -> Integers:
        """New probabilities for what is kept, and how often each candidate is then used."""
        kept = np.concatenate([np.ones(len(self._base), dtype=bool), self._kept])
        for _ in range(ROUNDS_OF_SCORES):
            self._logs = maximised(
                self._words, self._frequencies, self._logs, kept=kept, unknown=self._unknown
            )
        paths = self._words.best(self._words.edge_scores(self._scores(), unknown=self._unknown))
        known = paths.pieces != UNKNOWN
        used = np.bincount(
            paths.pieces[known],
            weights=self._frequencies[paths.words[known]],
            minlength=len(self._base) + len(self._candidates),
        )
        return used[len(self._base) :].astype(np.int64)

    def _costs(self) -> Floats:
        """How many more pieces the corpus takes without each candidate; without bound when it is needed."""
        edges = self._alternatives.edge_scores(self._scores(), unknown=self._unknown)
        edges[self._whole] = NOT_THERE
        paths, number = self._alternatives.best(edges), len(self._candidates) - self._fixed
        costs = np.full(len(self._candidates), np.inf)
        longer = self._usage[self._fixed :] * (paths.lengths(number) - 1.0)
        costs[self._fixed :] = np.where(paths.unknown(number), np.inf, longer)
        return costs
