"""The characters a vocabulary needs so that the words of a corpus are not unknown."""

from collections import Counter

from extend.types import Subword, WordCounts


def alphabet(words: WordCounts, *, min_count: int) -> list[Subword]:
    """Characters that occur at least `min_count` times, most frequent first, ties by code point.

    A character seen in a word of two characters or more comes in both forms, for words not seen yet may
    have it in the other place. One that always stands alone (punctuation, and what the splitter isolates)
    comes in the first form only.
    """
    counts: Counter[str] = Counter()
    joined: set[str] = set()
    for word, count in words.items():
        for character in word:
            counts[character] += count
        if len(word) > 1:
            joined.update(word)
    found: list[Subword] = []
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if count >= min_count:
            found.append(Subword(character, continues=False))
            if character in joined:
                found.append(Subword(character, continues=True))
    return found
