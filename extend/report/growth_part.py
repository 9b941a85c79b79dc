"""The page's part on the new rows: which initialiser made them, and how initialisers compare."""

from dataclasses import dataclass

from extend.report.nouns import Comparison, GrowthStage, NewRow
from extend.report.text import duration, number, shown
from extend.report.tracks import Stack, Start, TrackChart, stack, start_chart

SHOWN_SOURCES = 6


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A new row: its heaviest sources with their weights, and how many more there are."""

    piece: str
    method: str
    sources: tuple[tuple[str, str], ...]
    more: int
    reason: str


def shown_row(row: NewRow) -> ShownRow:
    """The heaviest sources first, ties as the file has them."""
    heaviest = sorted(row.sources, key=lambda source: -abs(source[1]))
    return ShownRow(
        row.piece,
        row.method,
        tuple((piece, number(weight, 2)) for piece, weight in heaviest[:SHOWN_SOURCES]),
        max(0, len(heaviest) - SHOWN_SOURCES),
        row.reason,
    )


def method_stack(stage: GrowthStage) -> Stack | None:
    """The rows by the method that made them; None where one method made all."""
    if len(stage.methods) < 2:
        return None
    parts = [(shown(method), float(count)) for method, count in stage.methods.items()]
    return stack(parts, label="Share of the new rows by initialiser")


def compared(comparison: Comparison) -> TrackChart | None:
    """The initialisers, the lowest loss first: after the probe where there was one."""
    told = sorted(comparison.starts, key=lambda start: start.loss if start.probed is None else start.probed)
    starts = []
    for place, start in enumerate(told):
        first, probed = number(start.loss, 2), number(start.probed, 2)
        starts.append(
            Start(
                label=shown(start.method, limit=40),
                first=start.loss,
                second=start.probed,
                value=first if start.probed is None else f"{first} → {probed}",
                aside="" if start.seconds is None else duration(start.seconds),
                best=place == 0 and len(told) > 1,
            )
        )
    return start_chart(starts, unit="nats")
