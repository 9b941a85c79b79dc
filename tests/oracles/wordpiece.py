"""The WordPiece learner as its text says it: sets of strings, every number taken anew, no lattice.

A piece is (text, continues).
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

Piece = tuple[str, bool]
Words = Mapping[str, int]

UNKNOWN_COST = 2


def longest_match(word: str, pieces: set[Piece], *, continues: bool = False) -> list[Piece] | None:
    """The segmentation of a word by the longest known prefix, again and again."""
    if not word:
        return []
    for length in range(len(word), 0, -1):
        if (word[:length], continues) in pieces:
            rest = longest_match(word[length:], pieces, continues=True)
            return None if rest is None else [(word[:length], continues), *rest]
    return None


def places(word: str, pieces: set[Piece]) -> Iterator[tuple[str, bool, int]]:
    """What is left of a word, whether that continues it, and how long the piece taken there is (0: none)."""
    left, continues = word, False
    while left:
        taken = longest(left, continues, pieces)
        yield left, continues, taken
        if not taken:
            return
        left, continues = left[taken:], True


def longest(left: str, continues: bool, pieces: set[Piece]) -> int:
    fitting = (length for length in range(len(left), 0, -1) if (left[:length], continues) in pieces)
    return next(fitting, 0)


def cost(left: str, continues: bool, pieces: set[Piece]) -> int:
    """Pieces to the end of a word."""
    taken = longest(left, continues, pieces)
    if not left:
        return 0
    return 1 + cost(left[taken:], True, pieces) if taken else UNKNOWN_COST * len(left)


def usage(words: Words, pieces: set[Piece]) -> Counter[Piece]:
    """How often each piece is taken, up to where nothing spells a word."""
    used: Counter[Piece] = Counter()
    for word, count in words.items():
        for left, continues, taken in places(word, pieces):
            if taken:
                used[left[:taken], continues] += count
    return used


def joinable(text: str) -> bool:
    return all(unicodedata.category(character)[0] not in "NPS" for character in text)


def number(piece: Piece) -> tuple[bool, int, str]:
    """Pieces are numbered, and ties go, by position, length and text."""
    return piece[1], len(piece[0]), piece[0]


def learn(
    counts: Words,
    *,
    size: int,
    known: set[Piece],
    min_count: int,
    max_length: int,
    max_word_length: int,
    forbidden: frozenset[Piece] = frozenset(),
    preferred: int = 3,
) -> list[Piece]:
    words = {word: count for word, count in counts.items() if 0 < len(word) <= max_word_length and count > 0}
    found = [piece for piece in _characters(words, min_count=min_count) if piece not in known | forbidden]
    found = found[:size]
    have, wanted, chosen = known | set(found), size - len(found), list[Piece]()
    for least in sorted({min_count, max(min_count, preferred)}, reverse=True):
        if len(chosen) < wanted:
            worth = {word: 13 if count == 1 else 10 * count for word, count in words.items()}
            offered = candidates(worth, have, 10 * least, max_length, only_closed=not forbidden) - forbidden
            chosen = _select(words, worth, have, offered, set(chosen), size=wanted, min_count=min_count)
    return found + chosen


def _characters(words: Words, *, min_count: int) -> list[Piece]:
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
    return found


def candidates(
    words: Words, known: set[Piece], least: int, max_length: int, *, only_closed: bool
) -> set[Piece]:
    texts: Counter[Piece] = Counter()
    for word, count in words.items():
        for start in range(len(word)):
            for end in range(start + 1, len(word) + 1):
                texts[word[start:end], start > 0] += count
    frequent = {
        piece
        for piece, count in texts.items()
        if count >= max(least, 1) and joinable(piece[0]) and len(piece[0]) <= max_length
    }
    if only_closed:
        followed = {
            (text[:-1], continues)
            for text, continues in frequent
            if texts[text[:-1], continues] == texts[text, continues]
        }
    else:
        followed = set()
    return {piece for piece in frequent - followed - known if len(piece[0]) > 1}


def _select(
    words: Words,
    worth: Words,
    known: set[Piece],
    offered: set[Piece],
    start: set[Piece],
    *,
    size: int,
    min_count: int,
) -> list[Piece]:
    added = set(start)
    _grow(worth, known, added, offered, goal=int(1.1 * size))
    while (surplus := len(added) - size) > 0:
        costs = removal_costs(worth, known, added)
        going = surplus if surplus <= size // 100 else (surplus + 1) // 2
        in_order = sorted(sorted(added, key=number, reverse=True), key=lambda piece: costs[piece])
        added -= set(in_order[:going])
    _drop_rare(words, known, added, offered, min_count)
    before = -1
    while before < len(added) < size:
        before = len(added)
        _grow(worth, known, added, offered, goal=size)
        _drop_rare(words, known, added, offered, min_count)
    used = usage(words, known | added)
    return sorted(sorted(added, key=number), key=lambda piece: -used[piece])


def _grow(words: Words, known: set[Piece], added: set[Piece], offered: set[Piece], *, goal: int) -> None:
    while len(added) < goal:
        gain = gains(words, known | added, offered - added)
        best = sorted(
            (piece for piece in gain if gain[piece] > 0), key=lambda piece: (-gain[piece], number(piece))
        )
        if not best:
            return
        added.update(best[: min(max(goal // 50, 20, int(0.5 * len(added))), goal - len(added))])


def gains(words: Words, pieces: set[Piece], offered: set[Piece]) -> Counter[Piece]:
    at_places: dict[tuple[str, bool], Counter[Piece]] = defaultdict(Counter)
    alone: Counter[Piece] = Counter()
    for word, count in words.items():
        for left, continues, taken in places(word, pieces):
            now = cost(left, continues, pieces)
            if now <= 1:
                continue
            for length in range(taken + 1, len(left) + 1):
                piece = left[:length], continues
                if piece in offered:
                    saved = count * (now - 1 - cost(left[length:], True, pieces))
                    at_places[left if continues else word, continues][piece] += saved
                    alone[piece] += saved
    best: Counter[Piece] = Counter()
    for here in at_places.values():
        most = max(alone[piece] for piece in here)
        for piece, saved in here.items():
            if alone[piece] == most:
                best[piece] += saved
    return best


def removal_costs(words: Words, known: set[Piece], added: set[Piece]) -> Counter[Piece]:
    pieces, costs = known | added, Counter[Piece]()
    for word, count in words.items():
        for left, continues, taken in places(word, pieces):
            piece = left[:taken], continues
            if piece in added:
                below = longest(left[: taken - 1], continues, pieces)
                other = 1 + cost(left[below:], True, pieces) if below else UNKNOWN_COST * len(left)
                costs[piece] += count * (other - cost(left, continues, pieces))
    return costs


def _drop_rare(
    words: Words, known: set[Piece], added: set[Piece], offered: set[Piece], min_count: int
) -> None:
    while True:
        used = usage(words, known | added)
        rare = {piece for piece in added if used[piece] < min_count}
        if not rare:
            return
        added -= rare
        offered -= rare
