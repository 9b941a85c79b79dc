"""All words at once as greedy longest match segments them, and what one piece more or less would do."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from extend.wordpiece.lattice import Lattice
from extend.wordpiece.order import Flags, Ints, Longs, ranges, run_sizes, run_starts, sums

UNKNOWN_COST = 2
"""Pieces that a character costs which nothing spells: more than any spelling of it."""


BLOCK = 1 << 15
"""Nodes looked at together: bounds the memory that a round takes beside the lattice."""


@dataclass(frozen=True)
class Uses:
    """Places on the words' present segmentations: node, entry in use there, and how often, one row each."""

    node: Longs
    entry: Ints
    flow: Longs


class Segmentation:
    """Words of a lattice under the pieces that are on: known ones at first.

    `longest` is the entry that longest match takes at each node (-1: none), `rest` the pieces from a node
    to the end of the word, `flow` how many counted words pass a node.
    """

    def __init__(self, lattice: Lattice, counts: Longs) -> None:
        self.lattice, self.counts = lattice, counts
        self.on: Flags = lattice.candidates.known.copy()
        self._slices = list(pairwise([*lattice.nodes.levels[1:], len(lattice.nodes)]))
        self.longest = np.full(len(lattice.nodes), -1, np.int32)
        live = np.flatnonzero(self.on[lattice.entries.piece])
        self.longest[lattice.entries.node[live]] = live  # the last of a node's entries is its longest
        self._walk()

    def add(self, pieces: Longs) -> None:
        """Turn pieces on."""
        entries = self.lattice.entries
        self.on[pieces] = True
        touched = self._entries_of(np.sort(pieces))
        node = entries.node[touched]
        longer = touched > self.longest[node]
        self.longest[node[longer]] = touched[
            longer
        ]  # shorter pieces have smaller numbers: the longest is last
        self._walk()

    def remove(self, pieces: Longs) -> None:
        """Turn pieces off."""
        self.on[pieces] = False
        touched = self._entries_of(pieces)
        node = self.lattice.entries.node[touched]
        lost = node[self.longest[node] == touched]
        self.longest[lost] = self._next_below(lost)
        self._walk()

    def _entries_of(self, pieces: Longs) -> Ints:
        starts = self.lattice.entries.piece_starts
        return self.lattice.entries.by_piece[ranges(starts[pieces], starts[pieces + 1] - starts[pieces])]

    def _next_below(self, nodes: Longs) -> Ints:
        """The longest entry that is on and shorter than the one in use; -1 where there is none."""
        entries = self.lattice.entries
        entry, first = self.longest[nodes] - 1, entries.starts[nodes]
        found = np.full(len(nodes), -1, np.int32)
        asked = np.flatnonzero(entry >= first)
        while len(asked):
            there = self.on[entries.piece[entry[asked]]]
            found[asked[there]] = entry[asked[there]]
            asked = asked[~there]
            entry[asked] -= 1
            asked = asked[entry[asked] >= first[asked]]
        return found

    def _walk(self) -> None:
        """`rest` and `flow` of every node: endings by length one way, then the other."""
        nodes, entries = self.lattice.nodes, self.lattice.entries
        stuck = self.longest < 0
        stuck[0] = False
        any_stuck = bool(stuck.any())
        target = entries.target[self.longest] if len(entries.target) else np.zeros(len(nodes), np.int32)
        rest = np.zeros(len(nodes), np.int32)
        for low, high in self._slices:
            rest[low:high] = rest[target[low:high]]
            rest[low:high] += 1
            if any_stuck:
                rest[low:high][stuck[low:high]] = UNKNOWN_COST * nodes.remaining[low:high][stuck[low:high]]
        self.rest, self._target, self._stuck = rest, target, stuck
        self.flow = self.flow_of(self.counts)

    def flow_of(self, weights: Longs) -> Longs:
        """How much of the words' `weights` passes each node."""
        flow = np.zeros(len(self.lattice.nodes), np.int64)
        flow[self.lattice.nodes.first_word :] = weights
        for low, high in reversed(self._slices):
            passing = low + np.flatnonzero((flow[low:high] > 0) & ~self._stuck[low:high])
            np.add.at(flow, self._target[passing], flow[passing])
        flow[0] = 0
        return flow

    def pieces(self) -> int:
        """Pieces that the counted words take; a character that nothing spells takes UNKNOWN_COST."""
        return sum(map(int, self.rest[self.lattice.nodes.first_word :] * self.counts))

    def words_with(self, pieces: Flags) -> Flags:
        """For each word, whether its segmentation has one of `pieces`, up to where nothing spells it."""
        entries, first = self.lattice.entries, self.lattice.nodes.first_word
        has = np.zeros(len(self.lattice.nodes), np.bool_)
        for low, high in self._slices:
            here = pieces[entries.piece[self.longest[low:high]]] | has[self._target[low:high]]
            has[low:high] = here & ~self._stuck[low:high]
        return has[first:]

    def unspelt(self) -> Flags:
        """For each word, whether some place in it has no piece: WordPiece makes such a word unknown."""
        first = self.lattice.nodes.first_word
        stuck = self._stuck.copy()
        for low, high in self._slices:
            stuck[low:high] |= stuck[self._target[low:high]]
        return stuck[first:]

    def uses(self, flow: Longs) -> Uses:
        """Where the pieces that are not known ones are in use by words with this flow."""
        nodes = np.flatnonzero((flow > 0) & (self.longest >= 0))
        entry = self.longest[nodes]
        added = ~self.lattice.candidates.known[self.lattice.entries.piece[entry]]
        nodes = nodes[added]
        return Uses(nodes, entry[added], flow[nodes])

    def usage(self, flow: Longs) -> Longs:
        """How often each piece that is not a known one is in use."""
        uses = self.uses(flow)
        return sums(self.lattice.entries.piece[uses.entry], uses.flow, len(self.lattice.candidates))

    def removal_costs(self) -> Longs:
        """For each piece, how many more pieces the words take without it alone (exact but for a word that
        has it twice)."""
        uses, entries, nodes = self.uses(self.flow), self.lattice.entries, self.lattice.nodes
        below = self._next_below(uses.node)
        otherwise = np.where(
            below >= 0, 1 + self.rest[entries.target[below]], UNKNOWN_COST * nodes.remaining[uses.node]
        )
        costs = (otherwise - self.rest[uses.node]) * uses.flow
        return sums(entries.piece[uses.entry], costs, len(self.lattice.candidates))

    def gains(self, offered: Flags) -> Longs:
        """For each of the offered pieces, about how many fewer pieces the words take with it.

        Of several pieces for one place only the one that would gain most in all is counted there, so that
        those with the largest gains can come in together.
        """
        candidate, size = offered & ~self.on, len(self.lattice.candidates)
        nodes = np.flatnonzero((self.flow > 0) & (self.rest > 1))
        alone, best, parts = np.zeros(size, np.int64), np.zeros(size, np.int64), []
        for start in range(0, len(nodes), BLOCK):
            entry, gain = self._gains_at(nodes[start : start + BLOCK], candidate)
            alone += sums(self.lattice.entries.piece[entry], gain, size)
            parts.append((entry, gain))
        for entry, gain in parts:
            winner = self._winners(entry, alone)
            best += sums(self.lattice.entries.piece[entry[winner]], gain[winner], size)
        return best

    def _gains_at(self, nodes: Longs, candidate: Flags) -> tuple[Ints, Longs]:
        """The entries of candidates that are longer than what is in use at `nodes`, and what each saves."""
        entries = self.lattice.entries
        first = np.maximum(self.longest[nodes].astype(np.int64) + 1, entries.starts[nodes])
        entry = ranges(first, entries.starts[nodes + 1] - first)
        entry = entry[candidate[entries.piece[entry]]]
        node = entries.node[entry]
        return entry, (self.rest[node] - 1 - self.rest[entries.target[entry]]) * self.flow[node]

    def _winners(self, entry: Ints, alone: Longs) -> Longs:
        """At each node, the entry whose piece would gain most in all (all of them when several would)."""
        if not len(entry):
            return np.zeros(0, np.int64)
        node, of_entry = self.lattice.entries.node[entry], alone[self.lattice.entries.piece[entry]]
        starts = run_starts(node[1:] != node[:-1])
        most = np.repeat(np.maximum.reduceat(of_entry, starts), run_sizes(starts, len(node)))
        return np.flatnonzero(of_entry == most)
