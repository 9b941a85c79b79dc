"""Candidates down to a size: those go first whose loss costs longest-match segmentation least."""

import math
from collections import defaultdict

from extend.types import WordCounts
from extend.wordpiece.pieces import Pieces


class _Corpus:
    """The words as longest match segments them now, and how often each piece is used."""

    def __init__(self, words: WordCounts, pieces: Pieces) -> None:
        self.usage: dict[int, int] = defaultdict(int)
        self._pieces = pieces
        self._words = list(words.items())
        self._segmentations: list[list[int]] = [[] for _ in self._words]
        self._where: dict[int, set[int]] = defaultdict(set)
        self._segment(range(len(self._words)))

    def _segment(self, positions: range | set[int]) -> None:
        usage, where = self.usage, self._where
        for position in positions:
            word, count = self._words[position]
            for index in self._segmentations[position]:
                usage[index] -= count
            segmentation = self._pieces.longest_match(word) or []
            for index in segmentation:
                usage[index] += count
                where[index].add(position)
            self._segmentations[position] = segmentation

    def hide(self, indices: list[int]) -> None:
        """Take pieces away; only words that had one of them change."""
        touched: set[int] = set()
        for index in indices:
            self._pieces.hide(index)
            touched |= self._where.pop(index, set())
        self._segment(touched)

    def show(self, indices: list[int]) -> None:
        """Give pieces back; any word that contains one may change."""
        for index in indices:
            self._pieces.show(index)
        self._segment(range(len(self._words)))

    def cost(self, index: int) -> int:
        """About how many more pieces the corpus takes without this one; exact when it ends its words."""
        used = self.usage[index]
        if not used:
            return 0
        subword = self._pieces.subwords[index]
        self._pieces.hide(index)
        spelt = self._pieces.longest_match(subword.text, continues=subword.continues)
        self._pieces.show(index)
        return used * (len(spelt) - 1) if spelt else used * len(subword.text)


def prune(
    words: WordCounts, pieces: Pieces, candidates: list[int], *, size: int, min_count: int
) -> list[int]:
    """At most `size` of `candidates`, in their order, each used `min_count` times or more on `words`.

    While there are too many, half of the surplus goes (all of it once it is a hundredth of `size`),
    cheapest first, later candidates first among equals; then costs are taken anew. What is too rarely
    used at the end is replaced by the dearest of those that went.
    """
    corpus = _Corpus(words, pieces)
    kept, reserve = list(candidates), list[int]()
    while (surplus := len(kept) - size) > 0:
        costs = {index: corpus.cost(index) for index in kept}
        cheapest_first = sorted(kept, key=lambda index: (costs[index], -index))
        going = cheapest_first[: surplus if surplus <= size // 100 else math.ceil(surplus / 2)]
        corpus.hide(going)
        kept = sorted(set(kept).difference(going))
        reserve += [index for index in going if costs[index] > 0]
    while rare := [index for index in kept if corpus.usage[index] < min_count]:
        corpus.hide(rare)
        back = [reserve.pop() for _ in range(min(size - len(kept) + len(rare), len(reserve)))]
        corpus.show(back)
        kept = sorted({*kept, *back}.difference(rare))
    return kept
