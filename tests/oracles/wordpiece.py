"""The WordPiece learner as its text says it, with every count taken anew: quadratic, no index, no heap.

A piece is (text, continues).
"""

import unicodedata
from collections import Counter
from itertools import pairwise

Piece = tuple[str, bool]


def longest_match(word: str, pieces: set[Piece], *, continues: bool = False) -> list[Piece] | None:
    """The segmentation of a word by the longest known prefix, again and again."""
    if not word:
        return []
    for length in range(len(word), 0, -1):
        if (word[:length], continues) in pieces:
            rest = longest_match(word[length:], pieces, continues=True)
            return None if rest is None else [(word[:length], continues), *rest]
    return None


def usage(words: dict[str, int], pieces: set[Piece]) -> Counter[Piece]:
    used: Counter[Piece] = Counter()
    for word, count in words.items():
        for piece in longest_match(word, pieces) or []:
            used[piece] += count
    return used


def joinable(piece: Piece) -> bool:
    return all(unicodedata.category(character)[0] not in "NPS" for character in piece[0])


def learn(
    counts: dict[str, int],
    *,
    size: int,
    known: set[Piece],
    min_count: int,
    max_length: int,
    max_word_length: int,
    overshoot: int,
) -> list[Piece]:
    words = {word: count for word, count in counts.items() if word and len(word) <= max_word_length}
    found = _characters(words, min_count=min_count, known=known)[:size]
    size -= len(found)
    candidates = _merges(words, known | set(found), overshoot * size, min_count, max_length)
    return found + _prune(words, known | set(found), candidates, size=size, min_count=min_count)


def _characters(words: dict[str, int], *, min_count: int, known: set[Piece]) -> list[Piece]:
    totals = {
        character: sum(word.count(character) * count for word, count in words.items())
        for character in set("".join(words))
    }
    found: list[Piece] = []
    for character in sorted(sorted(totals), key=lambda character: totals[character], reverse=True):
        if totals[character] >= min_count:
            found.append((character, False))
            if any(character in word and len(word) > 1 for word in words):
                found.append((character, True))
    return [piece for piece in found if piece not in known]


def _merges(
    words: dict[str, int], pieces: set[Piece], limit: int, min_count: int, max_length: int
) -> list[Piece]:
    split = {word: longest_match(word, pieces) for word in words}
    spelt = {word: segmentation for word, segmentation in split.items() if segmentation}
    candidates: list[Piece] = []
    while len(candidates) < limit:
        pairs: Counter[tuple[Piece, Piece]] = Counter()
        for word, segmentation in spelt.items():
            for left, right in pairwise(segmentation):
                if joinable(left) and joinable(right) and len(left[0]) + len(right[0]) <= max_length:
                    pairs[left, right] += words[word]
        pairs = Counter({pair: count for pair, count in pairs.items() if count >= min_count})
        if not pairs:
            break
        left, right = min(
            pairs,
            key=lambda pair: (-pairs[pair], pair[0][0] + pair[1][0], pair[0][1], len(pair[0][0])),
        )
        merged = (left[0] + right[0], left[1])
        if merged not in pieces and merged not in candidates:
            candidates.append(merged)
        for word, segmentation in spelt.items():
            spelt[word] = _joined(segmentation, left, right, merged)
    return candidates


def _joined(segmentation: list[Piece], left: Piece, right: Piece, merged: Piece) -> list[Piece]:
    if len(segmentation) < 2:
        return segmentation
    if segmentation[:2] == [left, right]:
        return [merged, *_joined(segmentation[2:], left, right, merged)]
    return [segmentation[0], *_joined(segmentation[1:], left, right, merged)]


def _prune(
    words: dict[str, int], fixed: set[Piece], candidates: list[Piece], *, size: int, min_count: int
) -> list[Piece]:
    kept, dropped = set(candidates), list[Piece]()

    def in_order(pieces: set[Piece]) -> list[Piece]:
        return sorted(pieces, key=candidates.index)

    while len(kept) > size:
        used = usage(words, fixed | kept)
        costs = {}
        for piece in kept:
            without = longest_match(piece[0], (fixed | kept) - {piece}, continues=piece[1])
            costs[piece] = used[piece] * (len(without) - 1 if without else len(piece[0]))
        surplus = len(kept) - size
        number = surplus if surplus <= size // 100 else (surplus + 1) // 2
        going = sorted(kept, key=lambda piece: (costs[piece], -candidates.index(piece)))[:number]
        kept -= set(going)
        dropped += [piece for piece in going if costs[piece]]
    while True:
        used = usage(words, fixed | kept)
        rare = {piece for piece in kept if used[piece] < min_count}
        if not rare:
            return in_order(kept)
        kept -= rare
        while dropped and len(kept) < size:
            kept.add(dropped.pop())
