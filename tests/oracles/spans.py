"""Span scores by sets of (sentence, start, end, type), read off the tags with a small state machine."""

from collections.abc import Sequence
from functools import cache

Found = set[tuple[int, int, int, str]]


def spans(sentences: Sequence[Sequence[str]], *, strict: bool) -> Found:
    """IOB2: with `strict` only spans that open with B count, else an I that continues nothing opens one."""
    found: Found = set()
    for number, tags in enumerate(sentences):
        position = 0
        while position < len(tags):
            prefix, _, label = tags[position].partition("-")
            end = position + 1
            if prefix == "O":
                position = end
                continue
            while end < len(tags) and tags[end] == f"I-{label}":
                end += 1
            if prefix == "B" or not strict:
                found.add((number, position, end, label))
            position = end
    return found


def f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], *, strict: bool) -> float:
    wanted, found = spans(gold, strict=strict), spans(predicted, strict=strict)
    return _percent(len(wanted & found), wanted, found)


def _percent(matched: float, wanted: Found, found: Found) -> float:
    return 200 * matched / (len(wanted) + len(found)) if wanted or found else 0.0


def lenient_f1(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> tuple[float, float, float]:
    """F1 of the same words; of the same type with a word in common; of the SemEval `partial` measure.

    Every way of pairing off is tried, one gold span after the other.
    """
    wanted, found = spans(gold, strict=False), spans(predicted, strict=False)

    def worth(mine: tuple[int, int, int, str], theirs: tuple[int, int, int, str], *, typed: bool) -> float:
        if mine[0] != theirs[0] or mine[1] >= theirs[2] or theirs[1] >= mine[2]:
            return 0.0
        if typed:
            return float(mine[3] == theirs[3])
        return 1.0 if mine[1:3] == theirs[1:3] else 0.5

    def best(*, typed: bool) -> float:
        ordered = sorted(wanted)

        @cache
        def rest(index: int, free: frozenset[tuple[int, int, int, str]]) -> float:
            if index == len(ordered):
                return 0.0
            pairs = ((worth(ordered[index], other, typed=typed), other) for other in free)
            taken = [value + rest(index + 1, free - {other}) for value, other in pairs if value]
            return max([rest(index + 1, free), *taken])

        return rest(0, frozenset(found))

    same = len({one[:3] for one in wanted} & {one[:3] for one in found})
    scores = (float(same), best(typed=True), best(typed=False))
    return tuple(_percent(score, wanted, found) for score in scores)  # type: ignore[return-value]
