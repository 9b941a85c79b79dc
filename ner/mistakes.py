"""What kind of error each wrong span is. Standard library only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ner.tags import Span, spans_of

Kind = Literal["type", "boundary", "missed", "spurious"]
KINDS: tuple[Kind, ...] = ("type", "boundary", "missed", "spurious")


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
    """The errors of one sentence in IOB2, in order of place; every wrong span is in exactly one of them."""
    wanted, found = spans_of(gold), spans_of(predicted)
    lost, extra = sorted(wanted - found), sorted(found - wanted)
    mistakes: list[Mistake] = []
    for kind, alike in (("type", _same_bounds), ("boundary", _overlap)):
        for span in list(lost):
            partner = next((other for other in extra if alike(span, other)), None)
            if partner is not None:
                lost.remove(span)
                extra.remove(partner)
                mistakes.append(Mistake("type" if kind == "type" else "boundary", span, partner))
    mistakes += [Mistake("missed", span, None) for span in lost]
    mistakes += [Mistake("spurious", None, span) for span in extra]
    return sorted(mistakes, key=lambda mistake: mistake.place)


def _same_bounds(first: Span, second: Span) -> bool:
    return (first.start, first.end) == (second.start, second.end)


def _overlap(first: Span, second: Span) -> bool:
    return first.start < second.end and second.start < first.end
