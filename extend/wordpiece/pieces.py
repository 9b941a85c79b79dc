"""Numbered pieces, and the segmentation WordPiece gives a word with them."""

import unicodedata
from collections.abc import Iterable

from extend.types import Subword


class Pieces:
    """Subwords by number, and two tables from text to number: at the start of a word and inside it."""

    def __init__(self, known: Iterable[Subword] = ()) -> None:
        self.subwords: list[Subword] = []
        self.initial: dict[str, int] = {}
        self.inside: dict[str, int] = {}
        self.longest = 0
        for subword in known:
            self.add(subword)

    def __contains__(self, subword: Subword) -> bool:
        return subword.text in (self.inside if subword.continues else self.initial)

    def add(self, subword: Subword) -> int:
        """The number of `subword`, a new one when it has none yet."""
        table = self.inside if subword.continues else self.initial
        index = table.setdefault(subword.text, len(self.subwords))
        if index == len(self.subwords):
            self.subwords.append(subword)
            self.longest = max(self.longest, len(subword.text))
        return index

    def hide(self, index: int) -> None:
        """Take a piece out of segmentation; it keeps its number."""
        subword = self.subwords[index]
        del (self.inside if subword.continues else self.initial)[subword.text]

    def show(self, index: int) -> None:
        """Undo `hide`."""
        subword = self.subwords[index]
        (self.inside if subword.continues else self.initial)[subword.text] = index

    def longest_match(self, text: str, *, continues: bool = False) -> list[int] | None:
        """Greedy longest-match-first segmentation, left to right; None when a place has no piece."""
        table = self.inside if continues else self.initial
        start, length, found = 0, len(text), list[int]()
        while start < length:
            for end in range(min(length, start + self.longest), start, -1):
                index = table.get(text[start:end])
                if index is not None:
                    break
            else:
                return None
            found.append(index)
            start, table = end, self.inside
        return found


def joins_nothing(text: str) -> bool:
    """Whether a piece has a digit, punctuation or a symbol in it and is therefore never merged."""
    return any(unicodedata.category(character)[0] in "NPS" for character in text)
