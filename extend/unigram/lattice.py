"""The lattice of all segmentations of many words, and maxima and sums over its paths.

A word of n characters has n + 1 nodes; an occurrence of a piece is an edge between two of them. Sweeps go
over one distance from the start of the words after another, all words at once: numpy does the work.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extend.unigram.trie import Integers, PieceTrie, code_points

Floats = NDArray[np.float64]
Indices = NDArray[np.int32]
UNKNOWN = -1
UNKNOWN_PENALTY = 10.0
"""An unknown character scores the lowest score less this: `kUnkPenalty` of SentencePiece and tokenizers."""
NOT_THERE = -np.inf
"""The score of a piece that is taken away."""


@dataclass(frozen=True, slots=True)
class _Sweep:
    """Edges `first` to `last`; those that share a node follow one another, from each of `groups` on."""

    first: int
    last: int
    groups: Integers
    nodes: Integers


@dataclass(frozen=True, slots=True)
class Paths:
    """The best segmentation of every word, its pieces one after another; a stretch unknown is `UNKNOWN`."""

    pieces: Integers
    words: Integers

    def lengths(self, words: int) -> Integers:
        """Pieces of each of `words` words."""
        return np.bincount(self.words, minlength=words)

    def unknown(self, words: int) -> NDArray[np.bool_]:
        """Whether each of `words` words has an unknown stretch."""
        return np.bincount(self.words[self.pieces == UNKNOWN], minlength=words) > 0


class Lattice:
    """Every occurrence of `pieces` in `words`, both distinct and not empty, ready for any scores.

    Of the pieces after the first `fixed` any may be taken away by the score `NOT_THERE`. A character that
    no piece is left for is unknown. Memory is about 50 bytes an occurrence.
    """

    def __init__(self, words: Sequence[str], pieces: Sequence[str], *, fixed: int) -> None:
        characters, lengths = code_points(words)
        trie = PieceTrie(pieces)
        place_after = np.cumsum(lengths)
        symbols, ends = trie.symbols(characters), np.repeat(place_after, lengths)
        start, stop, piece = trie.occurrences(symbols, ends)
        single = stop - start == 1
        self._single = np.full(len(characters), UNKNOWN, dtype=np.int32)
        self._single[start[single]] = piece[single]
        unsure = np.flatnonzero((self._single < 0) | (self._single >= fixed))
        self._single = self._single[unsure]
        start, stop = np.concatenate([start, unsure]), np.concatenate([stop, unsure + 1])
        piece = np.concatenate([piece, -1 - np.arange(len(unsure))])
        # Places count characters, nodes also the end of each word before.
        word = np.repeat(np.arange(len(words)), lengths)[start]
        first_place = place_after - lengths
        order = np.lexsort((start, stop, stop - first_place[word]))
        start, stop, piece, word = start[order], stop[order], piece[order], word[order]
        self.words, self.pieces = len(words), len(pieces)
        self.start, self.stop = (start + word).astype(np.int32), (stop + word).astype(np.int32)
        self.word, self._piece = word.astype(np.int32), piece.astype(np.int32)
        self._first = first_place + np.arange(len(words))
        self._last = self._first + lengths
        self._nodes = len(characters) + len(words)
        self._forward = _sweeps(stop - first_place[word], self.stop)
        remaining = first_place[word] - start
        self._backward_order = np.lexsort((start, remaining)).astype(np.int32)
        backward = self._backward_order
        self._backward = _sweeps(remaining[backward], self.start[backward])

    def edge_scores(self, scores: Floats, *, unknown: float) -> Floats:
        """The score of every edge, from the score of every piece and that of an unknown character."""
        single = np.append(scores, NOT_THERE)[self._single]
        unsure = np.where(single == NOT_THERE, unknown, NOT_THERE)
        return np.concatenate([scores, unsure[::-1]])[self._piece]

    def best(self, edges: Floats) -> Paths:
        """The segmentation of highest summed edge score; among equals, at every node the longer last piece.

        The sums and the choice among equals are those of `tokenizers`, to the last bit.
        """
        sums = np.zeros(self._nodes)
        chosen = np.full(self._nodes, -1, dtype=np.int64)
        for sweep in self._forward:
            found = sums[self.start[sweep.first : sweep.last]] + edges[sweep.first : sweep.last]
            highest = np.maximum.reduceat(found, sweep.groups)
            sizes = np.diff(sweep.groups, append=len(found))
            equal = np.flatnonzero(found == np.repeat(highest, sizes))
            group = np.searchsorted(sweep.groups, equal, side="right")
            first = np.diff(group, prepend=0) > 0
            sums[sweep.nodes], chosen[sweep.nodes] = highest, sweep.first + equal[first]
        return self._paths(chosen)

    def _paths(self, chosen: Integers) -> Paths:
        node, taken = self._last, list[Integers]()
        while len(node):
            edge = chosen[node]
            taken.append(edge)
            node = self.start[edge]
            node = node[chosen[node] >= 0]
        path = np.concatenate(taken) if taken else np.zeros(0, dtype=np.int64)
        path = path[np.argsort(self.start[path])]
        pieces, words = self._piece[path].astype(np.int64), self.word[path].astype(np.int64)
        pieces[pieces < 0] = UNKNOWN
        fused = (pieces[1:] == UNKNOWN) & (pieces[:-1] == UNKNOWN) & (words[1:] == words[:-1])
        kept = np.append(True, ~fused)[: len(path)]
        return Paths(pieces[kept], words[kept])

    def whole_words(self) -> NDArray[np.bool_]:
        """Whether each edge spans its word from end to end."""
        whole: NDArray[np.bool_] = (self.stop - self.start) == (self._last - self._first)[self.word]
        return whole

    def occurrences(self, counts: Floats) -> Floats:
        """How often each piece occurs in the words, whatever the segmentation."""
        known = self._piece >= 0
        return _weighted(self._piece[known], counts[self.word[known]], size=self.pieces)

    def expected(self, edges: Floats, counts: Floats) -> tuple[Floats, float]:
        """How often each piece is expected when words occur `counts` times, and the log-likelihood.

        Forward-backward over all segmentations (Kudo 2018, section 3.2), in logarithms.
        """
        forward = np.full(self._nodes, 0.0)
        for sweep in self._forward:
            found = forward[self.start[sweep.first : sweep.last]] + edges[sweep.first : sweep.last]
            forward[sweep.nodes] = _log_sums(found, sweep.groups)
        backward = np.full(self._nodes, 0.0)
        order = self._backward_order
        for sweep in self._backward:
            edge = order[sweep.first : sweep.last]
            backward[sweep.nodes] = _log_sums(backward[self.stop[edge]] + edges[edge], sweep.groups)
        total = forward[self._last]
        posterior = forward[self.start] + edges + backward[self.stop] - total[self.word]
        known = self._piece >= 0
        weights = np.exp(posterior[known]) * counts[self.word[known]]
        return _weighted(self._piece[known], weights, size=self.pieces), float(total @ counts)


def _weighted(indices: Indices, weights: Floats, *, size: int) -> Floats:
    return np.bincount(indices, weights=weights, minlength=size).astype(np.float64)


def _log_sums(values: Floats, groups: Integers) -> Floats:
    highest = np.maximum.reduceat(values, groups)
    sizes = np.diff(groups, append=len(values))
    return highest + np.log(np.add.reduceat(np.exp(values - np.repeat(highest, sizes)), groups))


def _sweeps(distances: Integers, nodes: Indices) -> list[_Sweep]:
    """One sweep for each run of equal distances, in the order given; equal nodes stand together."""
    if not len(distances):
        return []
    bounds = np.append(np.flatnonzero(np.diff(distances, prepend=distances[0] - 1)), len(distances))
    starts = np.flatnonzero(np.diff(nodes, prepend=nodes[0] - 1))
    split = np.searchsorted(starts, bounds)
    return [
        _Sweep(first, last, starts[a:b] - first, nodes[starts[a:b]].astype(np.int64))
        for first, last, a, b in zip(bounds[:-1], bounds[1:], split[:-1], split[1:], strict=True)
    ]
