"""Tags as numbers: one pass over lists of strings, then arrays with a place for every word."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt

from ner.tags import OUTSIDE, Scheme, split_tag

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int32]
Roles = npt.NDArray[np.int8]

BEGIN, INSIDE, END, SINGLE = 1, 2, 3, 4
ROLES = (
    {"O": 0, "B": BEGIN}
    | dict.fromkeys("IM", INSIDE)
    | dict.fromkeys("EL", END)
    | dict.fromkeys("SUW", SINGLE)
)
OPEN_SCHEMES = frozenset({"IO", "IOB1", "IOB2"})
"""Schemes in which nothing marks the end of a span."""


class _Numbers(dict[str, int]):
    """Numbers in the order in which tags are first met; `O` is 0."""

    def __missing__(self, tag: str) -> int:
        self[tag] = number = len(self)
        return number


@dataclass(frozen=True)
class Spans:
    """Spans of one side in order: first place, place after the last, index of the type; each [spans]."""

    start: Codes
    end: Codes
    kind: Codes


@dataclass(frozen=True)
class EncodedTags:
    """One side: the number of each place's tag. A place is a word; one more, outside, ends every sentence.

    `roles` and `kinds` give, by number, what a tag does (0 outside) and the index of its type (-1 none).
    """

    scheme: Scheme
    tags: tuple[str, ...]
    numbers: Codes
    roles: Roles
    kinds: Codes

    def spans(self, *, strict: bool) -> Spans:
        """The spans that the tags spell, the same as `ner.tags.spans_of` finds sentence by sentence."""
        found, legal = self._found
        return Spans(found.start[legal], found.end[legal], found.kind[legal]) if strict else found

    @cached_property
    def _found(self) -> tuple[Spans, Flags]:
        """Every span, illegal tags repaired, and whether it stands without repair."""
        role, kind = self.roles[self.numbers], self.kinds[self.numbers]
        is_open = (role != 0) if self.scheme in OPEN_SCHEMES else (role == BEGIN) | (role == INSIDE)
        breaks = np.ones(len(role), dtype=bool)
        inside = (role[1:] == INSIDE) | (role[1:] == END)
        breaks[1:] = ~(inside & is_open[:-1] & (kind[1:] == kind[:-1]))
        places = np.flatnonzero(breaks).astype(np.int32)
        opens = role[places] != 0
        starts, ends = places[opens], np.append(places[1:], np.int32(len(role)))[opens]
        return Spans(starts, ends, kind[starts]), _legal(role, starts, ends, self.scheme)

    def transitions(self) -> dict[tuple[str, str], int]:
        """How often one tag follows another; every sentence starts after, and ends before, an `O`."""
        size = len(self.tags)
        before = np.concatenate([np.zeros(1, dtype=np.int32), self.numbers[:-1]])
        counts = np.bincount(before.astype(np.int64) * size + self.numbers, minlength=size * size)
        return {
            (self.tags[cell // size], self.tags[cell % size]): int(counts[cell])
            for cell in np.flatnonzero(counts).tolist()
        }


def _legal(role: Roles, starts: Codes, ends: Codes, scheme: Scheme) -> Flags:
    if scheme == "IOB2":
        return np.asarray(role[starts] == BEGIN)
    if scheme in OPEN_SCHEMES:
        return np.ones(len(starts), dtype=bool)
    whole = (role[starts] == BEGIN) & (role[ends - 1] == END)
    return np.asarray(whole | (role[starts] == SINGLE))


def encode(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], schemes: Sequence[Scheme]
) -> tuple[EncodedTags, EncodedTags, tuple[str, ...], Codes]:
    """Both sides as numbers, each in its scheme; the entity types in order of text; the sentence of a place.

    Raises ValueError when the two differ in sentences or words, or a tag is not one of its scheme.
    """
    lengths, others = (np.fromiter(map(len, side), np.int32, count=len(side)) for side in (gold, predicted))
    if not np.array_equal(lengths, others):
        raise ValueError("gold and predicted have the same sentences and words")
    numbers = _Numbers({OUTSIDE: 0})
    words = int(lengths.sum())
    sentence = np.arange(len(gold), dtype=np.int32)
    word_places = np.arange(words, dtype=np.int32) + np.repeat(sentence, lengths)
    sides, used = [], []
    for side in (gold, predicted):
        found = np.fromiter(map(numbers.__getitem__, chain.from_iterable(side)), np.int32, count=words)
        places = np.zeros(words + len(gold), dtype=np.int32)
        places[word_places] = found
        sides.append(places)
        used.append(np.flatnonzero(np.bincount(found, minlength=len(numbers))).tolist())
    tags = tuple(numbers)
    for some, scheme in zip(used, schemes, strict=True):
        _check([tags[number] for number in some], scheme)
    roles, kinds, labels = _meanings(tags)
    first, second = (
        EncodedTags(scheme, tags, side, roles, kinds) for side, scheme in zip(sides, schemes, strict=True)
    )
    return first, second, labels, np.repeat(sentence, lengths + 1)


def _check(tags: Iterable[str], scheme: Scheme) -> None:
    for tag in tags:
        if scheme in OPEN_SCHEMES and split_tag(tag)[0] not in "OBI":
            raise ValueError(f"{scheme} tags expected, got {tag!r}")


def _meanings(tags: Iterable[str]) -> tuple[Roles, Codes, tuple[str, ...]]:
    parts = [split_tag(tag) for tag in tags]
    labels = tuple(sorted({label for _, label in parts} - {""}))
    index = {label: place for place, label in enumerate(labels)} | {"": -1}
    roles = np.array([ROLES[prefix] for prefix, _ in parts], dtype=np.int8)
    return roles, np.array([index[label] for _, label in parts], dtype=np.int32), labels
