"""The characters a vocabulary needs so that the words of a corpus are not unknown."""

import unicodedata
from collections.abc import Sequence

import numpy as np

from extend.types import Subword
from extend.wordpiece.order import Longs, sums


def alphabet(words: Sequence[str], counts: Longs, *, min_count: int) -> list[Subword]:
    """Characters that occur at least `min_count` times, most frequent first, ties by code point.

    A character seen in a word of two characters or more comes in both forms, for words not seen yet may
    have it in the other place. One that always stands alone (punctuation, and what the splitter isolates)
    comes in the first form only.
    """
    text = np.frombuffer("".join(words).encode("utf-32-le"), np.uint32).astype(np.int32)
    lengths = np.fromiter(map(len, words), np.int32, len(words))
    characters = np.flatnonzero(np.bincount(text))
    number = np.zeros(0x110000, np.int32)
    number[characters] = np.arange(len(characters))
    codes = number[text]
    totals = sums(codes, np.repeat(counts, lengths), len(characters))
    joined = np.bincount(codes[np.repeat(lengths > 1, lengths)], minlength=len(characters)) > 0
    found: list[Subword] = []
    for index in np.argsort(-totals, kind="stable"):
        if totals[index] >= min_count:
            character = chr(characters[index])
            found.append(Subword(character, continues=False))
            if joined[index]:
                found.append(Subword(character, continues=True))
    return found


def joins_nothing(character: str) -> bool:
    """Whether a character is a digit, punctuation or a symbol, which are never part of a longer new piece."""
    return unicodedata.category(character)[0] in "NPS"
