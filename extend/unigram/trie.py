"""All pieces that begin at each place of many words, found at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


class PieceTrie:
    """A prefix tree of pieces as sorted arrays of edges, walked from many places at the same time."""

    def __init__(self, pieces: Sequence[str]) -> None:
        """`pieces` are distinct and not empty; a piece is known by its position."""
        characters, lengths = code_points(pieces)
        self.alphabet: Integers = np.unique(characters)
        symbols = np.searchsorted(self.alphabet, characters)
        starts = np.cumsum(lengths) - lengths
        nodes = np.zeros(len(lengths), dtype=np.int64)
        self._edges: list[Integers] = []
        self._first_node: list[int] = []
        self._piece_at: list[Integers] = []
        count = 1
        for depth in range(int(lengths.max(initial=0))):
            alive = np.flatnonzero(lengths > depth)
            keys = nodes[alive] * len(self.alphabet) + symbols[starts[alive] + depth]
            edges, reached = np.unique(keys, return_inverse=True)
            nodes[alive] = count + reached
            ending = np.full(len(edges), -1, dtype=np.int64)
            complete = lengths[alive] == depth + 1
            ending[reached[complete]] = alive[complete]
            self._edges.append(edges)
            self._first_node.append(count)
            self._piece_at.append(ending)
            count += len(edges)

    def symbols(self, characters: Integers) -> Integers:
        """Positions of code points in the alphabet; -1 for those no piece has."""
        found = np.searchsorted(self.alphabet, characters).clip(max=max(len(self.alphabet) - 1, 0))
        return np.where(self.alphabet[found] == characters, found, -1) if len(self.alphabet) else found - 1

    def occurrences(self, symbols: Integers, ends: Integers) -> tuple[Integers, Integers, Integers]:
        """Every occurrence as (first place, place after the last, piece).

        `symbols` are the places of all words one after another, `ends` gives for each place where its word
        stops. Not sorted.
        """
        place = np.flatnonzero(symbols >= 0)
        node = np.zeros(len(place), dtype=np.int64)
        starts, stops, pieces = list[Integers](), list[Integers](), list[Integers]()
        levels = zip(self._edges, self._first_node, self._piece_at, strict=True)
        for depth, (edges, first, piece_at) in enumerate(levels):
            inside = place + depth < ends[place]
            place, node = place[inside], node[inside]
            symbol = symbols[place + depth]
            keys = node * len(self.alphabet) + symbol
            found = np.searchsorted(edges, keys).clip(max=len(edges) - 1)
            there = (edges[found] == keys) & (symbol >= 0)
            place, found = place[there], found[there]
            node = first + found
            piece = piece_at[found]
            complete = piece >= 0
            starts.append(place[complete])
            stops.append(place[complete] + depth + 1)
            pieces.append(piece[complete])
        if not starts:
            empty = np.zeros(0, dtype=np.int64)
            return empty, empty, empty
        return np.concatenate(starts), np.concatenate(stops), np.concatenate(pieces)


def code_points(texts: Sequence[str]) -> tuple[Integers, Integers]:
    """The code points of all texts one after another, and the length of each text."""
    joined = "".join(texts).encode("utf-32-le", "surrogatepass")
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    return np.frombuffer(joined, dtype="<u4").astype(np.int64), lengths
