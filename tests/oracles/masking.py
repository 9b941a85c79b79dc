"""Whole-word choice one row at a time, too plain to be wrong."""

from collections.abc import Sequence


def chosen_words(
    starts: Sequence[bool], maskable: Sequence[bool], priority: Sequence[float], *, rate: float
) -> set[int]:
    """Positions chosen when words are taken by priority while they fit the budget."""
    words: list[list[int]] = []
    for position, begins in enumerate(starts):
        if begins or not words:
            words.append([])
        words[-1].append(position)
    open_words = [word for word in words if maskable[word[0]]]
    budget = max(1, round(rate * sum(maskable)))
    chosen: set[int] = set()
    for word in sorted(open_words, key=lambda word: priority[word[0]]):
        if len(chosen) + len(word) <= budget:
            chosen |= set(word)
    return chosen
