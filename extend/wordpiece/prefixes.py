"""The texts that words and their endings begin with: equal ones found as neighbours in sorted order."""

from dataclasses import dataclass

import numpy as np

from extend.wordpiece.order import Codes, Flags, Ints, Longs, run_sizes, run_starts, sorted_rows


@dataclass(frozen=True)
class Rules:
    """What prefixes are cut from, and which of them are candidates.

    `codes` has every text as numbers of its characters (1 to 2**`bits` - 1), `closed` says of each number
    whether it joins nothing, `following` and `remaining` are the nodes'.
    """

    codes: Codes
    closed: Flags
    bits: int
    following: Ints
    remaining: Ints
    min_count: int
    max_length: int
    only_closed: bool


@dataclass(frozen=True)
class Places:
    """Nodes in one position of a word with where their text begins and how often they occur, and the known
    pieces of that position."""

    node: Ints
    position: Longs
    weight: Longs
    known_position: Longs
    known_length: Ints


@dataclass
class Level:
    """Pieces of `size` characters in one position, numbered from 0: facts of each, and the places they fit
    (a node comes once)."""

    size: int
    continues: bool
    count: Longs
    known: Flags
    position: Longs
    node: Ints
    piece: Ints
    target: Ints

    def only(self, keep: Flags) -> None:
        """Leave out places."""
        self.node, self.piece, self.target = self.node[keep], self.piece[keep], self.target[keep]

    def only_pieces(self, keep: Flags) -> None:
        """Leave out pieces, and their places."""
        self.only(keep[self.piece])
        self.piece = (np.cumsum(keep, dtype=np.int32) - np.int32(1))[self.piece]
        self.count, self.known, self.position = self.count[keep], self.known[keep], self.position[keep]


@dataclass
class _Runs:
    """Rows with one prefix, for every prefix of one length; `group` is the run of each node."""

    size: int
    count: Longs
    candidate: Flags
    known: Flags
    occurs: Flags
    position: Longs
    node: Ints
    group: Ints
    target: Ints


@dataclass
class _Rows:
    """Nodes, and known pieces among them (`node` 0), in the order of their texts."""

    node: Ints
    position: Longs
    weight: Longs
    length: Ints
    target: Ints
    group: Ints

    @property
    def is_node(self) -> Flags:
        return self.node > 0

    def only(self, keep: Flags) -> "_Rows":
        if keep.all():
            return self
        return _Rows(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))


def collect_prefixes(rules: Rules, places: Places, *, continues: bool) -> list[Level]:
    """Every prefix of a node that is a known piece or a candidate, shortest first.

    Nodes and known pieces are sorted together; at each length, rows with one prefix are neighbours, so
    that its count is a sum over a run and its number the run's.
    """
    rows = _sorted(rules, places)
    opened, levels, size, last = np.ones(1, np.bool_), list[Level](), 0, None
    while True:
        size += 1
        rows = rows.only(rows.length >= size)
        if not len(rows.node):
            break
        rows.target = rules.following[rows.target]
        code = rules.codes[rows.position + (size - 1)]
        first = run_starts((rows.group[1:] != rows.group[:-1]) | (code[1:] != code[:-1]))
        before = rows.group[first]
        opened = opened[before] & ~rules.closed[code[first]]
        count = np.add.reduceat(rows.weight, first)
        candidate = (count >= max(rules.min_count, 1)) & opened & (size <= rules.max_length)
        if last:
            if rules.only_closed:
                last.candidate[before[candidate & (count == last.count[before])]] = False
            levels.append(_level(last, continues=continues))
        rows.group = np.repeat(np.arange(len(first), dtype=np.int32), run_sizes(first, len(code)))
        ends = ~rows.is_node & (rows.length == size)
        here = np.flatnonzero(rows.is_node)
        last = _Runs(
            size,
            count,
            candidate & (size > 1),
            np.maximum.reduceat(ends, first),
            np.maximum.reduceat(rows.is_node, first),
            rows.position[first],
            rows.node[here],
            rows.group[here],
            rows.target[here],
        )
        rows = rows.only((candidate | np.maximum.reduceat(~rows.is_node & ~ends, first))[rows.group])
    return [*levels, _level(last, continues=continues)] if last else []


def _level(runs: _Runs, *, continues: bool) -> Level:
    """The runs that are pieces, as pieces."""
    wanted = runs.occurs & (runs.known | runs.candidate)
    number = np.cumsum(wanted, dtype=np.int32) - np.int32(1)
    here = np.flatnonzero(wanted[runs.group])
    return Level(
        runs.size,
        continues,
        runs.count[wanted],
        runs.known[wanted],
        runs.position[wanted],
        runs.node[here],
        number[runs.group[here]],
        runs.target[here],
    )


def _sorted(rules: Rules, places: Places) -> _Rows:
    none = len(places.known_length)
    node = np.concatenate([places.node, np.zeros(none, np.int32)])
    position = np.concatenate([places.position, places.known_position])
    weight = np.concatenate([places.weight, np.zeros(none, np.int64)])
    length = np.concatenate([rules.remaining[places.node], places.known_length])
    order = sorted_rows(rules.codes, position, length, bits=rules.bits, step=1)
    node = node[order]
    return _Rows(node, position[order], weight[order], length[order], node, np.zeros(len(order), np.int32))
