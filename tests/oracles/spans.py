"""Span scores by sets of (sentence, start, end, type), read off the tags with a small state machine."""

from collections.abc import Sequence

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
    return 200 * len(wanted & found) / (len(wanted) + len(found)) if wanted or found else 0.0
