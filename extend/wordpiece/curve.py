"""What each number of new pieces would give, from one growth instead of a training for each size."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from extend.types import Subword, WordCounts
from extend.wordpiece.lattice import build_lattice
from extend.wordpiece.learner import (
    CANDIDATES,
    MORE_CANDIDATES,
    PREFERRED_COUNT,
    SCALE,
    Rules,
    Words,
    first_characters,
    numbers_of,
    offered_by,
)
from extend.wordpiece.segmentation import Segmentation
from extend.wordpiece.selection import grow_, taken

SIZES = (1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000, 40_000, 50_000)


@dataclass(frozen=True, slots=True)
class SizePoint:
    """`size` new pieces, and with them the pieces a word takes and the share of words that are unknown."""

    size: int
    fertility: float
    unk_rate: float


def size_curve(
    counts: WordCounts,
    held_out: WordCounts,
    *,
    known: Collection[Subword],
    rules: Rules,
    sizes: Sequence[int],
) -> list[SizePoint]:
    """Fertility and UNK rate of the `held_out` words at each of `sizes` that the corpus gives.

    Pieces are put in the order in which growth takes them, and a size has the first so many. Learning for
    one size also prunes, and takes one to two hundredths fewer pieces a word than its point here. When the
    corpus gives fewer pieces than a size, the last point is at what it gives. An unknown word is one piece.
    """
    words = Words.of(counts, max_length=rules.max_word_length)
    if not words.texts:
        return []
    characters = first_characters(words, known, rules, size=max(sizes))
    base = [*known, *characters]
    path = _growth(words, base, rules, size=max(sizes) - len(characters))
    ends = sorted({min(size, len(characters) + len(path)) for size in sizes if size >= len(characters)})
    return _measured(held_out, base, path, rules, ends=ends, fixed=len(characters))


def _growth(words: Words, known: Sequence[Subword], rules: Rules, *, size: int) -> list[Subword]:
    """Up to `size` pieces in the order in which they come in, those that occur three times first."""
    path: list[Subword] = []
    for least in sorted({rules.min_count, max(rules.min_count, PREFERRED_COUNT)}, reverse=True):
        if len(path) < size:
            lattice = build_lattice(
                words.texts,
                words.weights,
                known,
                min_count=SCALE * least,
                max_length=rules.max_length,
                max_candidates=CANDIDATES * size + MORE_CANDIDATES,
            )
            segmentation, offered = Segmentation(lattice, words.weights), offered_by(lattice, rules)
            if path:
                segmentation.add(numbers_of(lattice, set(path)))
            for coming in grow_(segmentation, goal=taken(segmentation) + size - len(path), offered=offered):
                path += lattice.candidates.subwords(coming)
    return path[:size]


def _measured(
    words: WordCounts,
    known: Sequence[Subword],
    path: Sequence[Subword],
    rules: Rules,
    *,
    ends: Sequence[int],
    fixed: int,
) -> list[SizePoint]:
    held = Words.of(words, max_length=rules.max_word_length)
    total = sum(words.values())
    too_long = total - int(held.counts.sum())
    if not held.texts:
        return []
    longest = max(map(len, held.texts))
    lattice = build_lattice(
        held.texts, held.counts, known, min_count=1, max_length=longest, only_closed=False
    )
    segmentation = Segmentation(lattice, held.counts)
    rank = {subword: index for index, subword in enumerate(path)}
    there = numbers_of(lattice, rank.keys())
    ranks = np.array([rank[subword] for subword in lattice.candidates.subwords(there)], np.int64)
    points, before = list[SizePoint](), 0
    for size in ends:
        now = size - fixed
        segmentation.add(there[(ranks >= before) & (ranks < now)])
        unknown = segmentation.unspelt()
        rest = segmentation.rest[lattice.nodes.first_word :]
        pieces = int((np.where(unknown, 1, rest) * held.counts).sum()) + too_long
        unknown_words = int(held.counts[unknown].sum()) + too_long
        points.append(SizePoint(size, pieces / total, unknown_words / total))
        before = now
    return points


def knee(points: Sequence[SizePoint]) -> SizePoint:
    """The point after which more pieces give least for what they cost: the largest distance below the chord
    from the first point to the last (Kneedle: Satopaa et al. 2011, for a convex decreasing curve, without
    smoothing). Raises ValueError without points."""
    if not points:
        raise ValueError("a knee needs points")
    first, last = points[0], points[-1]
    width, height = last.size - first.size, first.fertility - last.fertility
    if not width or height <= 0:
        return first

    def below_chord(point: SizePoint) -> float:
        along = (point.size - first.size) / width
        return (1 - along) - (point.fertility - last.fertility) / height

    return max(points, key=lambda point: (below_chord(point), -point.size))
