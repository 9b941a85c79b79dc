"""From counts to chosen pieces: lattice, growth, pruning, in that order."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from extend.types import Subword, WordCounts
from extend.wordpiece.characters import alphabet
from extend.wordpiece.lattice import Lattice, build_lattice
from extend.wordpiece.order import Flags, Longs
from extend.wordpiece.protection import protect_, withdraw_harmful_
from extend.wordpiece.segmentation import Segmentation
from extend.wordpiece.selection import OVERSHOOT, drop_rare_, grow_, shrink_, taken

PREFERRED_COUNT = 3
CANDIDATES, MORE_CANDIDATES = 5, 20_000
SCALE, ONCE = 10, 13
"""What a word is worth: ten times its count, thirteen when it was seen once, for such words stand for those
that were not seen, too. Good and Turing's estimate is 14 for Kinyarwanda; 13 did best on held-out text."""
MAX_WORDS = 1 << 48
"""Words in all: what can be multiplied by the pieces of a word and summed in 64 bits."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a piece must be: uses in the corpus, characters at most, none of `forbidden`; the characters of a
    word that is learned from at most; and the share of protected words that may be cut otherwise."""

    min_count: int = 2
    max_length: int = 64
    max_word_length: int = 100
    forbidden: frozenset[Subword] = frozenset()
    max_drift: float = 0.001

    def __post_init__(self) -> None:
        if min(self.min_count, self.max_length, self.max_word_length) < 1:
            raise ValueError("min_count, max_length and max_word_length are at least 1")
        if not 0 <= self.max_drift <= 1:
            raise ValueError("max_drift is a share: 0 to 1")


@dataclass(frozen=True)
class Words:
    """Words: how often each was counted, and how often each protected text has it (a row a text)."""

    texts: Sequence[str]
    counts: Longs
    guarded: Longs

    @staticmethod
    def of(counts: WordCounts, *, protected: Sequence[WordCounts] = (), max_length: int) -> "Words":
        """Counted and protected words of at most `max_length` characters. ValueError beyond MAX_WORDS."""
        given = counts
        for guarded in protected:
            given = {**given, **{word: count for word, count in guarded.items() if count > 0}}
        texts = [word for word, count in given.items() if count > 0 and 0 < len(word) <= max_length]
        if max(sum(table.values()) for table in (counts, *protected)) > MAX_WORDS:
            raise ValueError(f"at most {MAX_WORDS:,} words can be counted")
        guard = [_column(guarded, texts) for guarded in protected]
        return Words(
            texts, _column(counts, texts), np.array(guard, np.int64).reshape(len(protected), len(texts))
        )

    @property
    def weights(self) -> Longs:
        """What a piece fewer in each word is worth."""
        return np.where(self.counts == 1, ONCE, SCALE * self.counts)

    def counted(self) -> tuple[Sequence[str], Longs]:
        """The words that were counted, and their counts."""
        if self.counts.all():
            return self.texts, self.counts
        there = np.flatnonzero(self.counts)
        return [self.texts[int(index)] for index in there], self.counts[there]

    def without_guard_on(self, letters: Collection[Subword]) -> "Words":
        """The words that hold one of `letters`, which the base could not spell, are guarded no longer."""
        new = {letter.text for letter in letters}
        held = np.array([new.isdisjoint(word) for word in self.texts], np.bool_)
        return Words(self.texts, self.counts, self.guarded * held)


def _column(counts: WordCounts, texts: Sequence[str]) -> Longs:
    if not counts:
        return np.zeros(len(texts), np.int64)
    return np.fromiter((counts.get(word, 0) for word in texts), np.int64, len(texts))


def first_characters(words: Words, known: Collection[Subword], rules: Rules, *, size: int) -> list[Subword]:
    """The characters that `known` lacks, the most frequent first, `size` of them at most."""
    have = {subword for subword in known if len(subword.text) == 1}
    letters = alphabet(*words.counted(), min_count=rules.min_count)
    return [letter for letter in letters if letter not in have and letter not in rules.forbidden][:size]


def select(
    words: Words, known: Sequence[Subword], rules: Rules, *, size: int, least: int, start: Collection[Subword]
) -> list[Subword]:
    """At most `size` new pieces that occur `least` times or are in `start`, most used first."""
    lattice = build_lattice(
        words.texts,
        words.weights,
        known,
        min_count=SCALE * least,
        max_length=rules.max_length,
        max_candidates=CANDIDATES * size + MORE_CANDIDATES,
        only_closed=not (rules.forbidden or words.guarded.any()),
    )
    segmentation, offered = Segmentation(lattice, words.weights), offered_by(lattice, rules)
    if start:
        segmentation.add(numbers_of(lattice, start))
    grow_(segmentation, goal=int(OVERSHOOT * size), offered=offered)
    shrink_(segmentation, size=size)
    drop_rare_(segmentation, words.counts, min_count=rules.min_count, offered=offered)
    if words.guarded.any():
        for guarded in words.guarded:
            protect_(segmentation, guarded=guarded, max_share=rules.max_drift, offered=offered)
        drop_rare_(segmentation, words.counts, min_count=rules.min_count, offered=offered)
        withdraw_harmful_(segmentation, guarded=words.guarded.sum(axis=0), offered=offered)
    before = -1
    while before < taken(segmentation) < size:
        before = taken(segmentation)
        grow_(segmentation, goal=size, offered=offered)
        drop_rare_(segmentation, words.counts, min_count=rules.min_count, offered=offered)
    return most_used(segmentation, words.counts)


def offered_by(lattice: Lattice, rules: Rules) -> Flags:
    """The candidates that may be taken."""
    offered = ~lattice.candidates.known
    offered[numbers_of(lattice, rules.forbidden)] = False
    return offered


def numbers_of(lattice: Lattice, subwords: Collection[Subword]) -> Longs:
    """The candidates that are among `subwords`."""
    added = np.flatnonzero(~lattice.candidates.known)
    if not subwords:
        return added[:0]
    return added[[subword in subwords for subword in lattice.candidates.subwords(added)]]


def most_used(segmentation: Segmentation, counts: Longs) -> list[Subword]:
    """The pieces that are on beyond the known ones, most used by words so often counted first, ties by
    number."""
    candidates = segmentation.lattice.candidates
    usage = segmentation.usage(segmentation.flow_of(counts))
    chosen = np.flatnonzero(segmentation.on & ~candidates.known)
    return candidates.subwords(chosen[np.argsort(-usage[chosen], kind="stable")])
