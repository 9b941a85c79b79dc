"""Every place where a piece could start in any word, and every piece that could stand there.

Words that end alike are the same from there on. So a place is a node, a node is an ending (or a whole
word), and one pass over the nodes segments all words at once. An entry is a piece that fits at a node and
leads to the node that is left after it. For 100,000 words that is some 250,000 nodes and 1.5 million
entries, held in flat arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extend.types import Subword
from extend.wordpiece.characters import joins_nothing
from extend.wordpiece.order import Codes, Flags, Ints, Longs, ranges, run_sizes, run_starts, sorted_rows
from extend.wordpiece.prefixes import Level, Places, Rules, collect_prefixes


@dataclass(frozen=True)
class Nodes:
    """Node 0 is the end of every word, then endings by length, then the words in their order.

    `following` is the node one character on, `remaining` the characters to the end. Endings of length r
    are the nodes from `levels[r]` to `levels[r + 1]`; words start at `levels[-1]`.
    """

    following: Ints
    remaining: Ints
    levels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.following)

    @property
    def first_word(self) -> int:
        return self.levels[-1]


@dataclass(frozen=True)
class Entries:
    """Pieces that fit at nodes, sorted by node and then by the piece's length.

    Known pieces are always there, so of each node's entries only the longest known one and what is longer
    can ever be taken: the others are left out.
    The entries of node n are `starts[n]` to `starts[n + 1]`. `by_piece` has the entries sorted by piece,
    those of piece p from `piece_starts[p]` to `piece_starts[p + 1]`.
    """

    node: Ints
    piece: Ints
    target: Ints
    starts: Longs
    by_piece: Ints
    piece_starts: Longs


@dataclass(frozen=True)
class Candidates:
    """Pieces by number: at the start of a word first, then inside; shorter first, then by code points.

    `count` is how often the text stands in that position in the corpus; `known` are those given as known.
    The text of a piece is `length` codes from `position`, code 1 standing for the first of `characters`.
    """

    length: Ints
    count: Longs
    known: Flags
    continues: Flags
    position: Longs
    codes: Codes
    characters: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.length)

    def subwords(self, indices: Longs) -> list[Subword]:
        """These pieces, in the order asked for."""
        lengths = self.length[indices].astype(np.int64)
        codes = self.codes[ranges(self.position[indices], lengths)]
        text = self.characters[codes.astype(np.int32) - 1].tobytes().decode("utf-32-le")
        ends = np.cumsum(lengths).tolist()
        spans = zip([0, *ends], ends, self.continues[indices].tolist(), strict=False)
        return [Subword(text[start:end], continues) for start, end, continues in spans]


@dataclass(frozen=True)
class Lattice:
    """The words of a corpus with every piece that could spell them."""

    nodes: Nodes
    entries: Entries
    candidates: Candidates


@dataclass(frozen=True)
class _Texts:
    """Strings as numbers of their characters in one row; each string is known by its start and length."""

    codes: Codes
    starts: Longs
    lengths: Ints


def build_lattice(
    words: Sequence[str],
    counts: Longs,
    known: Sequence[Subword],
    *,
    min_count: int,
    max_length: int,
    max_candidates: int | None = None,
    only_closed: bool = True,
) -> Lattice:
    """The lattice of `words` (distinct, none empty, in any order), with `known` and every text inside them.

    A text becomes a candidate when it stands `min_count` times in its position, has two to `max_length`
    characters, and no digit, punctuation or symbol; with `only_closed`, not when one longer candidate
    follows wherever it stands, which saves no less. Of more than `max_candidates`, those of the lowest counts
    are left out, all of one count or none. A count may be 0: the word is segmented and contributes no
    candidates.
    """
    text = _utf32("".join(words))
    lengths = np.fromiter(map(len, words), np.int32, len(words))
    characters = np.flatnonzero(np.bincount(text)).astype(np.uint32)
    bits = len(characters).bit_length()
    spelt, pieces, continues = _coded(text, characters, lengths, known)
    nodes, position, weight = _nodes(spelt, counts, bits)
    closed = np.array([False, *(joins_nothing(chr(character)) for character in characters)])
    codes, shift = np.concatenate([spelt.codes, pieces.codes]), len(spelt.codes)
    del text, spelt
    rules = Rules(codes, closed, bits, nodes.following, nodes.remaining, min_count, max_length, only_closed)
    found = list[Level]()
    for inside in (False, True):
        here = np.arange(1, nodes.first_word) if inside else np.arange(nodes.first_word, len(nodes))
        mine = np.flatnonzero(continues == inside)
        places = Places(
            here.astype(np.int32),
            position[here],
            weight[here],
            pieces.starts[mine] + shift,
            pieces.lengths[mine],
        )
        levels = collect_prefixes(rules, places, continues=inside)
        _leave_out_shadowed(levels, len(nodes))
        found += levels
    if max_candidates is not None:
        _leave_out_rarest(found, max_candidates)
    candidates = Candidates(
        np.repeat([level.size for level in found], [len(level.count) for level in found]).astype(np.int32),
        np.concatenate([level.count for level in found]),
        np.concatenate([level.known for level in found]),
        np.repeat([level.continues for level in found], [len(level.count) for level in found]),
        np.concatenate([level.position for level in found]),
        codes,
        characters,
    )
    entries = _entries(found, len(nodes))
    return Lattice(nodes, entries, candidates)


def _utf32(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _coded(
    text: NDArray[np.uint32], characters: NDArray[np.uint32], lengths: Ints, known: Sequence[Subword]
) -> tuple[_Texts, _Texts, Flags]:
    """Words, and those known pieces that are made of the words' characters, with their positions."""
    number: Codes = np.zeros(0x110000, np.uint16 if len(characters) < 1 << 16 else np.int32)
    number[characters] = np.arange(1, len(characters) + 1)
    words = _Texts(number[text], np.cumsum(lengths, dtype=np.int64) - lengths, lengths)
    texts = [subword.text for subword in known]
    sizes = np.fromiter(map(len, texts), np.int32, len(texts))
    starts = np.cumsum(sizes, dtype=np.int64) - sizes
    codes = number[_utf32("".join(texts))]
    fits = np.flatnonzero(np.minimum.reduceat(codes, starts) > 0) if texts else np.zeros(0, np.int64)
    continues = np.array([known[int(index)].continues for index in fits], dtype=np.bool_)
    return words, _Texts(codes, starts[fits], sizes[fits]), continues


def _nodes(words: _Texts, counts: Longs, bits: int) -> tuple[Nodes, Longs, Longs]:
    """The nodes, where in the words' text each of them stands once, and how often it occurs."""
    last = words.starts + words.lengths - 1
    order = sorted_rows(words.codes, last, words.lengths, bits=bits, step=-1)
    last, lengths, weight = last[order], words.lengths[order], counts[order]
    follows_word = np.zeros(len(order), np.int32)
    above, active = np.zeros(len(order), np.int32), np.arange(len(order))
    following, positions = [np.zeros(1, np.int32)], [np.zeros(1, np.int64)]
    weights, levels, length = [np.zeros(1, np.int64)], [0, 1], 0
    while True:
        length += 1
        whole = lengths[active] == length
        follows_word[order[active[whole]]] = above[whole]
        active, above = active[~whole], above[~whole]
        if not len(active):
            break
        code = words.codes[last[active] - length + 1]
        first = run_starts((above[1:] != above[:-1]) | (code[1:] != code[:-1]))
        following.append(above[first])
        positions.append(last[active[first]] - length + 1)
        weights.append(np.add.reduceat(weight[active], first))
        own = np.arange(levels[-1], levels[-1] + len(first), dtype=np.int32)
        above = np.repeat(own, run_sizes(first, len(active)))
        levels.append(levels[-1] + len(first))
    remaining = np.repeat(np.arange(len(levels) - 1, dtype=np.int32), np.diff(levels))
    nodes = Nodes(
        np.concatenate([*following, follows_word]), np.concatenate([remaining, words.lengths]), tuple(levels)
    )
    return nodes, np.concatenate([*positions, words.starts]), np.concatenate([*weights, counts])


def _leave_out_shadowed(levels: list[Level], nodes: int) -> None:
    """At each node, leave out what is shorter than its longest known piece."""
    longest_known = np.zeros(nodes, np.int32)
    for level in levels:
        longest_known[level.node[level.known[level.piece]]] = level.size
    for level in levels:
        level.only(longest_known[level.node] <= level.size)


def _leave_out_rarest(levels: Sequence[Level], most: int) -> None:
    counts = np.concatenate([level.count[~level.known] for level in levels])
    if len(counts) > most:
        bound = np.partition(counts, len(counts) - most - 1)[len(counts) - most - 1]
        for level in levels:
            level.only_pieces(level.known | (level.count > bound))


def _entries(levels: list[Level], nodes: int) -> Entries:
    """Entries by node from levels by piece. Empties `levels` on the way, so that they are not held twice."""
    size = np.zeros(nodes + 1, np.int64)
    for level in levels:
        size[level.node + 1] += 1
    starts, piece_sizes, numbered = np.cumsum(size), [np.zeros(1, np.int64)], 0
    free, total, done = starts[:-1].copy(), int(starts[-1]), 0
    at_node, at_piece, leads_to, by_piece = (np.empty(total, np.int32) for _ in range(4))
    while levels:
        level = levels.pop(0)
        place = free[level.node]
        free[level.node] += 1
        at_node[place], leads_to[place] = level.node, level.target
        at_piece[place] = level.piece + np.int32(numbered)
        by_piece[done : done + len(place)] = place
        done, numbered = done + len(place), numbered + len(level.count)
        piece_sizes.append(np.bincount(level.piece, minlength=len(level.count)))
    return Entries(at_node, at_piece, leads_to, starts, by_piece, np.cumsum(np.concatenate(piece_sizes)))
