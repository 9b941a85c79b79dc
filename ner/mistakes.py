"""What kind of error each wrong span is, and what was taken for what. Standard library only."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ner.tags import Span, spans_of

Kind = Literal["type", "boundary", "missed", "spurious"]
KINDS: tuple[Kind, ...] = ("type", "boundary", "missed", "spurious")
MISSED, SPURIOUS = "missed", "spurious"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One error: a gold span found with another type or other bounds, not found, or found where none is."""

    kind: Kind
    gold: Span | None
    predicted: Span | None

    @property
    def place(self) -> Span:
        span = self.gold or self.predicted
        if span is None:
            raise ValueError("a mistake has a gold or a predicted span")
        return span


def mistakes_of(gold: Sequence[str], predicted: Sequence[str]) -> list[Mistake]:
    """The errors of one sentence in IOB2, in order of place; every wrong span is in exactly one of them.

    A missed and a spurious span of the same words are one error of type; of what is left, two that share a
    word are one of boundary (of the same type if there is such a pair).
    """
    if gold == predicted:
        return []
    wanted, found = spans_of(gold), spans_of(predicted)
    lost, extra = sorted(wanted - found), sorted(found - wanted)
    mistakes: list[Mistake] = []
    for kind, alike in _PAIRINGS:
        for span in list(lost):
            partner = next((other for other in extra if alike(span, other)), None)
            if partner is not None:
                lost.remove(span)
                extra.remove(partner)
                mistakes.append(Mistake(kind, span, partner))
    mistakes += [Mistake("missed", span, None) for span in lost]
    mistakes += [Mistake("spurious", None, span) for span in extra]
    return sorted(mistakes, key=lambda mistake: mistake.place)


def taken_for(mistake: Mistake) -> tuple[str, str, bool]:
    """Gold type, predicted type, and whether both have the same words.

    A span that was not found has the predicted type `missed`, one where none is the gold type `spurious`.
    """
    gold = mistake.gold.label if mistake.gold else SPURIOUS
    predicted = mistake.predicted.label if mistake.predicted else MISSED
    return gold, predicted, mistake.kind == "type"


def error_summary(right: Mapping[str, int], mistakes: Sequence[Mistake]) -> dict[str, Any]:
    """`error_shares` by kind, and `confusion`: rows of gold and predicted type with how often.

    `right` counts, by type, the spans found as they are.
    """
    kinds = Counter(mistake.kind for mistake in mistakes)
    pairs = Counter(map(taken_for, mistakes))
    pairs.update({(label, label, True): count for label, count in right.items() if count})
    total = kinds.total()
    return {
        "error_shares": {kind: round(kinds[kind] / total, 6) if total else 0.0 for kind in KINDS},
        "confusion": [
            {"gold": gold, "predicted": predicted, "same_words": same, "count": count}
            for (gold, predicted, same), count in sorted(pairs.items())
        ],
    }


def _same_bounds(first: Span, second: Span) -> bool:
    return (first.start, first.end) == (second.start, second.end)


def _overlap(first: Span, second: Span) -> bool:
    return first.start < second.end and second.start < first.end


def _overlap_in_type(first: Span, second: Span) -> bool:
    return first.label == second.label and _overlap(first, second)


_PAIRINGS: tuple[tuple[Kind, Callable[[Span, Span], bool]], ...] = (
    ("type", _same_bounds),
    ("boundary", _overlap_in_type),
    ("boundary", _overlap),
)
