"""Frequency merges with incremental counts: the most frequent neighbours become one piece, and again."""

import heapq
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

from extend.types import Subword
from extend.wordpiece.pieces import Pieces, joins_nothing

Pair = tuple[int, int]


class _Neighbours:
    """How often two pieces stand side by side, exactly, and in which words."""

    def __init__(self, pieces: Pieces, *, max_length: int) -> None:
        self.counts: dict[Pair, int] = defaultdict(int)
        self.where: dict[Pair, set[int]] = defaultdict(set)
        self._pieces, self._max_length = pieces, max_length
        self._closed = [joins_nothing(subword.text) for subword in pieces.subwords]
        self._heap: list[tuple[int, str, bool, int, Pair]] = []

    def added(self, closed: bool = False) -> None:
        self._closed.append(closed)

    def may_join(self, pair: Pair) -> bool:
        left, right = pair
        if self._closed[left] or self._closed[right]:
            return False
        subwords = self._pieces.subwords
        return len(subwords[left].text) + len(subwords[right].text) <= self._max_length

    def push(self, pair: Pair) -> None:
        """Offer a pair at its present count. Ties: by the merged text, then the left part's length."""
        left, right = (self._pieces.subwords[index] for index in pair)
        entry = (-self.counts[pair], left.text + right.text, left.continues, len(left.text), pair)
        heapq.heappush(self._heap, entry)

    def pop(self) -> tuple[Pair, int] | None:
        """The most frequent pair. An entry made before its count fell is offered again, not taken."""
        while self._heap:
            entry = heapq.heappop(self._heap)
            pair = entry[-1]
            count = self.counts.get(pair, 0)
            if count == -entry[0]:
                return pair, count
            if count > 0:
                self.push(pair)
        return None


def merge_candidates(
    segmented: Iterable[tuple[list[int], int]],
    pieces: Pieces,
    *,
    limit: int,
    min_count: int,
    max_length: int,
) -> list[int]:
    """Numbers of at most `limit` new pieces, in the order of merging; they are added to `pieces`.

    `segmented` are words as piece numbers, with their counts. A merge that gives a piece already known
    is made and adds nothing. Stops when no pair occurs `min_count` times.
    """
    words = [(list(word), count) for word, count in segmented]
    neighbours = _Neighbours(pieces, max_length=max_length)
    counts, where = neighbours.counts, neighbours.where
    for position, (word, count) in enumerate(words):
        for pair in pairwise(word):
            if neighbours.may_join(pair):
                counts[pair] += count
                where[pair].add(position)
    for pair in counts:
        neighbours.push(pair)
    candidates: list[int] = []
    while len(candidates) < limit and (best := neighbours.pop()) is not None:
        pair, count = best
        if count < min_count:
            break
        left, right = (pieces.subwords[index] for index in pair)
        known = len(pieces.subwords)
        merged = pieces.add(Subword(left.text + right.text, left.continues))
        if merged == known:
            neighbours.added()
            candidates.append(merged)
        _replace(words, pair, merged, neighbours)
    return candidates


def _replace(words: list[tuple[list[int], int]], pair: Pair, merged: int, neighbours: _Neighbours) -> None:
    counts, where = neighbours.counts, neighbours.where
    raised: set[Pair] = set()
    for position in where.pop(pair):
        word, count = words[position]
        after = _merged(word, pair, merged)
        if len(after) == len(word):
            continue
        for old in pairwise(word):
            if old in counts:
                counts[old] -= count
        for new in pairwise(after):
            if new in counts or neighbours.may_join(new):
                counts[new] += count
                where[new].add(position)
                raised.add(new)
        words[position] = after, count
    counts.pop(pair, None)
    for changed in raised:
        if merged in changed:
            neighbours.push(changed)


def _merged(word: list[int], pair: Pair, merged: int) -> list[int]:
    left, right = pair
    after: list[int] = []
    position, last = 0, len(word) - 1
    while position <= last:
        if position < last and word[position] == left and word[position + 1] == right:
            after.append(merged)
            position += 2
        else:
            after.append(word[position])
            position += 1
    return after
