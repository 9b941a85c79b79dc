"""Plots as inline SVG shapes. Words stay in HTML, so that they keep their size on a phone and their script.

Every drawing is stretched to its box (`preserveAspectRatio="none"`) and every stroke keeps its width
(`vector-effect`), so one drawing serves all screens. Colours come from the page's style sheet by class.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from extend.report.nouns import LoggedStep
from extend.report.text import number, span, whole

WIDTH, HEIGHT = 1000, 300
MAX_POINTS = 800


@dataclass(frozen=True, slots=True)
class Tick:
    """A label and where it stands, in percent of the axis from its start."""

    place: float
    label: str


@dataclass(frozen=True, slots=True)
class Band:
    """A stage of training: where it starts and how wide it is, in percent."""

    start: float
    width: float
    name: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A drawing with the HTML labels that stand around it."""

    drawing: Markup
    horizontal: tuple[Tick, ...]
    vertical: tuple[Tick, ...]
    bands: tuple[Band, ...]
    window: int
    last: float
    dots: int


def loss_curve(log: Sequence[LoggedStep], held_out: Sequence[tuple[int, float]] = ()) -> Curve | None:
    """The logged MLM loss by step: each value thin, the running mean of the last `window` values bold.

    `held_out` are steps and held-out losses, drawn as dots. None when fewer than two losses were logged.
    """
    points = [(step.step, step.mlm_loss, step.stage) for step in log if step.mlm_loss is not None]
    if len(points) < 2 or points[0][0] == points[-1][0]:
        return None
    window = max(1, len(points) // 20)
    first, last = points[0][0], points[-1][0]
    means = _running_mean([loss for _, loss, _ in points], window)
    inside = [(step, loss) for step, loss in held_out if first <= step <= last]
    losses = [*(loss for _, loss, _ in points), *(loss for _, loss in inside)]
    ticks = nice_ticks(min(losses), max(losses))
    low, high = ticks[0], ticks[-1]

    def across(step: float) -> float:
        return (step - first) / (last - first)

    def up(loss: float) -> float:
        return (loss - low) / (high - low)

    kept = thinned(len(points))
    raw = [(across(points[index][0]), up(points[index][1])) for index in kept]
    smooth = [(across(points[index][0]), up(means[index])) for index in kept]
    bands = _bands([(step, stage) for step, _, stage in points], first, last)
    grid = "".join(line_shape(0, up(tick), 1, up(tick), "grid") for tick in ticks)
    shapes = grid + _stage_shapes(bands) + path_shape(raw, "raw") + path_shape(smooth, "mean")
    shapes += "".join(
        line_shape(across(step), up(loss), across(step), up(loss), "held") for step, loss in inside
    )
    return Curve(
        drawing=drawing_of(
            shapes,
            f"MLM loss {number(means[0], 2)} at step {whole(first)}, "
            f"{number(means[-1], 2)} at step {whole(last)}",
        ),
        horizontal=tuple(
            Tick(100 * across(step), whole(step)) for step in nice_ticks(first, last) if first <= step <= last
        ),
        vertical=tuple(Tick(100 * up(tick), number(tick, tick_digits(ticks))) for tick in ticks),
        bands=bands if len(bands) > 1 else (),
        window=window,
        last=means[-1],
        dots=len(inside),
    )


def score_bar(
    encoder: str, value: float | None, bounds: tuple[float, float] | None, seeds: Sequence[float]
) -> Markup:
    """F1 from 0 to 100: a bar to the mean, its 95 % interval as a line, each seed as a dot."""
    grid = "".join(line_shape(tick / 100, 0, tick / 100, 1, "grid") for tick in (25, 50, 75, 100))
    shapes = grid
    if value is not None:
        width = WIDTH * min(max(value, 0.0), 100.0) / 100
        shapes += (
            f'<rect class="bar {_class(encoder)}" x="0" y="{HEIGHT * 0.18:g}" width="{width:.1f}" '
            f'height="{HEIGHT * 0.64:g}"/>'
        )
    shapes += "".join(line_shape(seed / 100, 0.5, seed / 100, 0.5, "seed") for seed in seeds)
    if bounds is not None:
        low, high = (min(max(bound / 100, 0.0), 1.0) for bound in bounds)
        shapes += line_shape(low, 0.5, high, 0.5, "whisker")
        shapes += line_shape(low, 0.3, low, 0.7, "whisker") + line_shape(high, 0.3, high, 0.7, "whisker")
    return drawing_of(shapes, f"F1 {number(value)} {span(bounds)}".strip())


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers that reach from at most `low` to at least `high`."""
    if high - low < 1e-9 * max(1.0, abs(low), abs(high)):
        low, high = (max(0.0, low - 0.5) if low >= 0 else low - 0.5), high + 0.5
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    start = math.floor(low / step)
    return [step * index for index in range(start, math.ceil(high / step - 1e-9) + 1)]


def tick_digits(ticks: Sequence[float]) -> int:
    """The fewest decimals, at most four, that tell the ticks apart exactly."""
    return next((n for n in range(4) if all(abs(round(tick, n) - tick) < 1e-9 for tick in ticks)), 4)


def _class(encoder: str) -> str:
    return encoder if encoder in ("base", "extended", "bilingual") else "other"


def _running_mean(values: Sequence[float], window: int) -> list[float]:
    total, means = 0.0, []
    for index, value in enumerate(values):
        total += value - (values[index - window] if index >= window else 0.0)
        means.append(total / min(index + 1, window))
    return means


def thinned(count: int) -> list[int]:
    """At most 800 of `count` indices, evenly spread, the first and the last among them."""
    if count <= MAX_POINTS:
        return list(range(count))
    return sorted({round(index * (count - 1) / (MAX_POINTS - 1)) for index in range(MAX_POINTS)})


def _bands(points: Sequence[tuple[int, str]], first: int, last: int) -> tuple[Band, ...]:
    groups = [list(group) for _, group in itertools.groupby(points, key=lambda point: point[1])]
    starts = [group[0][0] for group in groups] + [last]
    scale = 100 / (last - first)
    return tuple(
        Band((start - first) * scale, (end - start) * scale, group[0][1])
        for group, (start, end) in zip(groups, itertools.pairwise(starts), strict=True)
    )


def _stage_shapes(bands: Sequence[Band]) -> str:
    if len(bands) < 2:
        return ""
    return "".join(
        f'<rect class="stage" x="{band.start * WIDTH / 100:.1f}" y="0" '
        f'width="{band.width * WIDTH / 100:.1f}" height="{HEIGHT}"/>'
        for band in bands[::2]
    )


def path_shape(points: Sequence[tuple[float, float]], name: str) -> str:
    """A line through points given as fractions of width and height, from the lower left."""
    steps = "L".join(f"{x * WIDTH:.1f} {(1 - y) * HEIGHT:.1f}" for x, y in points)
    return f'<path class="{name}" d="M{steps}"/>'


def line_shape(x1: float, y1: float, x2: float, y2: float, name: str) -> str:
    """A line between two points, given as fractions from the lower left."""
    return path_shape([(x1, y1), (x2, y2)], name)


def drawing_of(shapes: str, label: str) -> Markup:
    """The shapes in a box that stretches; `label` is our own text, never a file's."""
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f"{shapes}</svg>"
    )
