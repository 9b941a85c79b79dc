"""Charts of rows: a name, a track of one scale for all rows, a number. Differences, starts, shares, times."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from extend.report.plots import HEIGHT, WIDTH, Tick, drawing_of, line_shape, nice_ticks, tick_digits
from extend.report.text import number, percent

COLOURS = 6


@dataclass(frozen=True, slots=True)
class TrackRow:
    """One row: `value` in figures, an `aside` such as its interval, and its `kind` (gain, loss, noise, ...)
    with the word that is shown for it."""

    label: str
    drawing: Markup
    value: str
    aside: str = ""
    kind: str = ""
    word: str = ""


@dataclass(frozen=True, slots=True)
class TrackChart:
    """Rows over one axis, named by its `unit`; no ticks where shares of a whole are drawn."""

    rows: tuple[TrackRow, ...]
    ticks: tuple[Tick, ...]
    unit: str


@dataclass(frozen=True, slots=True)
class Change:
    """A measured change with its 95 % interval; `told` and `aside` are both in figures.

    `kind` is gain, loss, noise, kept or note; `word` is shown for it where another word fits better.
    """

    label: str
    value: float
    interval: tuple[float, float] | None
    kind: str
    told: str
    aside: str
    word: str = ""


def change_chart(changes: Sequence[Change], *, unit: str, digits: int = 0) -> TrackChart | None:
    """Changes around zero: a dot, a line over the interval, the line of no change through all rows."""
    if not changes:
        return None
    ends = [end for change in changes for end in (*(change.interval or ()), change.value)]
    ticks = nice_ticks(min(0.0, *ends), max(0.0, *ends)) if any(ends) else [-1.0, 0.0, 1.0]
    digits = max(digits, tick_digits(ticks))

    def place(value: float) -> float:
        return (value - ticks[0]) / (ticks[-1] - ticks[0])

    rows = []
    for change in changes:
        kind = change.kind if change.kind in ("gain", "loss") else "noise"
        shapes = _grid([place(tick) for tick in ticks]) + line_shape(place(0), 0, place(0), 1, "zero")
        if change.interval:
            low, high = map(place, change.interval)
            shapes += line_shape(low, 0.5, high, 0.5, f"reach {kind}")
            shapes += "".join(line_shape(end, 0.36, end, 0.64, f"reach {kind}") for end in (low, high))
        shapes += line_shape(place(change.value), 0.5, place(change.value), 0.5, f"dot {kind}")
        drawing = drawing_of(shapes, f"change {number(change.value, 3)} {unit}, {change.kind}")
        word = change.word or change.kind
        rows.append(TrackRow(change.label, drawing, change.told, change.aside, change.kind, word))
    return TrackChart(tuple(rows), _labels(ticks, digits), unit)


@dataclass(frozen=True, slots=True)
class Start:
    """A loss at the start and, where it was measured, after a little training."""

    label: str
    first: float
    second: float | None
    value: str
    aside: str
    best: bool


def start_chart(starts: Sequence[Start], *, unit: str) -> TrackChart | None:
    """A hollow dot at the start and a full one after, joined. The axis need not begin at 0."""
    if not starts:
        return None
    losses = [loss for start in starts for loss in (start.first, start.second) if loss is not None]
    ticks = nice_ticks(min(losses), max(losses))

    def place(value: float) -> float:
        return (value - ticks[0]) / (ticks[-1] - ticks[0])

    rows = []
    for start in starts:
        shapes = _grid([place(tick) for tick in ticks])
        kind = "gain" if start.best else "noise"
        if start.second is not None:
            shapes += line_shape(place(start.first), 0.5, place(start.second), 0.5, f"reach {kind}")
        shapes += line_shape(place(start.first), 0.5, place(start.first), 0.5, f"dot {kind}")
        if start.second is not None:
            shapes += line_shape(place(start.first), 0.5, place(start.first), 0.5, "dot hollow")
            shapes += line_shape(place(start.second), 0.5, place(start.second), 0.5, f"dot {kind}")
        after = "" if start.second is None else f", {number(start.second, 3)} after training"
        drawing = drawing_of(shapes, f"loss {number(start.first, 3)}{after}")
        word = "lowest" if start.best else ""
        rows.append(TrackRow(start.label, drawing, start.value, start.aside, word, word))
    return TrackChart(tuple(rows), _labels(ticks, tick_digits(ticks)), unit)


@dataclass(frozen=True, slots=True)
class Stack:
    """One bar of a whole, cut into named parts; `colour` is the class of a part's key in the legend."""

    drawing: Markup
    parts: tuple[tuple[str, str, str], ...]


def stack(parts: Sequence[tuple[str, float]], *, label: str, whole: float | None = None) -> Stack | None:
    """Parts of `whole` (by default of their sum) as one bar; None when there is nothing to divide.

    `label` and the names stand in HTML, so that their script is kept; names are in `parts` as (class, name,
    share).
    """
    total = whole if whole is not None else sum(count for _, count in parts)
    if total <= 0:
        return None
    shapes, start, told = "", 0.0, []
    for index, (name, count) in enumerate(parts):
        colour, width = f"s{min(index, COLOURS - 1)}", count / total
        if count > 0:
            gap = 3.0 if start else 0.0
            shapes += (
                f'<rect class="part {colour}" x="{start * WIDTH + gap:.1f}" y="{HEIGHT * 0.14:g}" '
                f'width="{max(width * WIDTH - gap, 1.0):.1f}" height="{HEIGHT * 0.72:g}"/>'
            )
        told.append((colour, name, percent(width)))
        start += width
    return Stack(drawing_of(shapes, label), tuple(told))


def share_bar(share: float, label: str) -> Markup:
    """A bar as long as `share` of the track."""
    width = max(2.0, WIDTH * min(max(share, 0.0), 1.0))
    shape = (
        f'<rect class="bar time" x="0" y="{HEIGHT * 0.24:g}" width="{width:.1f}" height="{HEIGHT * 0.52:g}"/>'
    )
    return drawing_of(shape, label)


def _grid(places: Sequence[float]) -> str:
    return "".join(line_shape(place, 0, place, 1, "grid") for place in places)


def _labels(ticks: Sequence[float], digits: int) -> tuple[Tick, ...]:
    width = ticks[-1] - ticks[0]
    return tuple(Tick(100 * (tick - ticks[0]) / width, number(tick, digits)) for tick in ticks)
