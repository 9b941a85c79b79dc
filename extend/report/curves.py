"""Curves through a few measured points with one of them chosen: the size curve and the frontier."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from extend.report.plots import Tick, drawing_of, line_shape, nice_ticks, path_shape, tick_digits

LEAST_GAP = 20.0
MOST_DOTS = 40
LOGARITHMIC_FROM = 8.0
Label = Callable[[float, int], str]
"""Writes a number with so many decimals."""


@dataclass(frozen=True, slots=True)
class MarkedCurve:
    """A drawing with its labels; the chosen point, named `mark`, is at `place` percent from the left."""

    title: str
    drawing: Markup
    horizontal: tuple[Tick, ...]
    vertical: tuple[Tick, ...]
    place: float | None
    mark: str


def marked_curve(
    points: Sequence[tuple[float, float]],
    *,
    title: str,
    chosen: int | None,
    mark: str = "",
    across: Label,
    up: Label,
    ticks_at_points: bool = False,
    least_span: float = 0.0,
) -> MarkedCurve | None:
    """The points joined in the order given, `points[chosen]` marked and named; None when all have one x.

    `across` writes the labels of x and `up` those of y. `ticks_at_points` labels the x measured, as far as
    the labels have room, and spreads them by their logarithm when the largest is eight times the smallest
    or more; otherwise round numbers from 0 are labelled. The axis of y spans at least `least_span`, so that
    noise does not look like a slope. Each point has its dot as long as there is room for dots. `title` is
    our own text, never a file's.
    """
    if len({x for x, _ in points}) < 2:
        return None
    sides = sorted({x for x, _ in points}) if ticks_at_points else _round_ticks([x for x, _ in points])
    first, last = sides[0], sides[-1]
    logarithmic = ticks_at_points and first > 0 and last >= LOGARITHMIC_FROM * first
    lowest, highest = min(y for _, y in points), max(y for _, y in points)
    room = max(0.0, least_span - (highest - lowest)) / 2
    heights = nice_ticks(lowest - room, highest + room)

    def place(x: float) -> float:
        return math.log(x / first) / math.log(last / first) if logarithmic else (x - first) / (last - first)

    def height(y: float) -> float:
        return (y - heights[0]) / (heights[-1] - heights[0])

    spots = [(place(x), height(y)) for x, y in points]
    marked = None if chosen is None else spots[chosen]
    shapes = "".join(line_shape(0, height(tick), 1, height(tick), "grid") for tick in heights)
    shapes += line_shape(marked[0], 0, marked[0], 1, "taken") if marked else ""
    shapes += path_shape(spots, "mean")
    shapes += "".join(line_shape(*spot, *spot, "point") for spot in spots if len(spots) <= MOST_DOTS)
    shapes += line_shape(*marked, *marked, "held") if marked else ""
    digits = 0 if ticks_at_points else tick_digits(sides)
    return MarkedCurve(
        title=title,
        drawing=drawing_of(shapes, title),
        horizontal=_with_room([Tick(100 * place(x), across(x, digits)) for x in sides]),
        vertical=tuple(Tick(100 * height(tick), up(tick, tick_digits(heights))) for tick in heights),
        place=None if marked is None else 100 * marked[0],
        mark=mark,
    )


def _round_ticks(values: Sequence[float]) -> list[float]:
    return nice_ticks(min(0.0, *values), max(values))


def _with_room(ticks: Sequence[Tick]) -> tuple[Tick, ...]:
    """The last label and, from the right, those that stand clear of it."""
    kept: list[Tick] = []
    for tick in reversed(ticks):
        if not kept or kept[-1].place - tick.place >= LEAST_GAP:
            kept.append(tick)
    return tuple(reversed(kept))
