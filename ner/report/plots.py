"""Two pictures of the matrix as SVG: a heat map, and every mean with its interval."""

import io
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ner.screen import languages_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, GRID, PAPER = "#1d2226", "#5b646b", "#e3e0d8", "#ffffff"
COLOURS = ("#9aa3ab", "#0b6b63", "#c07c16", "#6f5fa8", "#b3362b", "#3c6fb0")

Results = Mapping[str, Any]


def heatmap_svg(results: Results) -> str:
    """F1 by encoder (rows) and test language (columns), from 0 to 100 in one scale."""
    languages, encoders = languages_of(results), list(results["encoders"])
    figure, axes = _figure(1.6 + 1.05 * len(languages), 0.9 + 0.55 * len(encoders))
    means = [[_mean(results, encoder, language) for language in languages] for encoder in encoders]
    filled = [[float("nan") if value is None else value for value in row] for row in means]
    axes.pcolormesh(filled, cmap="YlGnBu", vmin=0, vmax=100, edgecolors=PAPER, linewidth=3)
    axes.invert_yaxis()
    for row, values in enumerate(means):
        for column, value in enumerate(values):
            told = "" if value is None else f"{value:.1f}"
            colour = PAPER if value is not None and value > 60 else INK
            axes.text(column + 0.5, row + 0.5, told, ha="center", va="center", color=colour, fontsize=11)
    names = [f"{language} (source)" if language == results["source"] else language for language in languages]
    axes.set_xticks([column + 0.5 for column in range(len(languages))], names)
    axes.set_yticks([row + 0.5 for row in range(len(encoders))], encoders)
    axes.tick_params(length=0, labelcolor=INK, top=True, labeltop=True, bottom=False, labelbottom=False)
    for side in axes.spines.values():
        side.set_visible(False)
    return _svg(figure, f"F1 by encoder and language, {results['protocol']}")


def intervals_svg(results: Results) -> str:
    """For each language and encoder: the mean, its 95 % interval as a line, every seed as a dot above it."""
    languages, encoders = languages_of(results), list(results["encoders"])
    rows = len(languages) * (len(encoders) + 1)
    figure, axes = _figure(7.2, 0.9 + 0.24 * rows)
    for place, language in enumerate(languages):
        top = place * (len(encoders) + 1)
        for index, encoder in enumerate(encoders):
            cell = results["encoders"][encoder].get(language)
            if cell is not None:
                _interval(axes, cell, top + index, COLOURS[index % len(COLOURS)])
        if place:
            axes.axhline(top - 1, color=GRID, linewidth=0.8)
    for index, encoder in enumerate(encoders):
        axes.plot([], [], "o-", color=COLOURS[index % len(COLOURS)], label=encoder)
    middle = (len(encoders) - 1) / 2
    names = [f"{language} (source)" if language == results["source"] else language for language in languages]
    axes.set_yticks([place * (len(encoders) + 1) + middle for place in range(len(languages))], names)
    axes.set_ylim(rows - 1.3, -0.8)
    axes.set_xlim(0, 100)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(
        "F1 in percent, mean over seeds with its 95 % interval; small dots are single seeds", color=SOFT
    )
    axes.tick_params(length=0, labelcolor=INK)
    for name, side in axes.spines.items():
        side.set_visible(name == "bottom")
        side.set_color(GRID)
    figure.legend(loc="outside upper center", ncols=min(4, len(encoders)), frameon=False, labelcolor=INK)
    return _svg(figure, f"F1 with 95 % intervals, {results['protocol']}")


def _interval(axes: "Axes", cell: Results, row: int, colour: str) -> None:
    axes.plot(cell["ci95"], [row, row], color=colour, linewidth=2.4, solid_capstyle="round")
    above = [row - 0.32] * len(cell["f1"])
    axes.plot(cell["f1"], above, "o", color=colour, alpha=0.55, markersize=4, mec="none")
    axes.plot([cell["f1_mean"]], [row], "o", color=colour, markersize=7, mec=PAPER, mew=1)


def _mean(results: Results, encoder: str, language: str) -> float | None:
    cell = results["encoders"][encoder].get(language)
    return None if cell is None else float(cell["f1_mean"])


def _figure(width: float, height: float) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure  # half a second, and only for the pictures

    figure = Figure(figsize=(max(3.2, width), max(1.6, height)), layout="constrained", facecolor=PAPER)
    return figure, figure.add_subplot()


def _svg(figure: "Figure", title: str) -> str:
    """The same bytes for the same numbers: no date, seeded ids, letters as text in the reader's fonts."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    settings = {"svg.hashsalt": "ner", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}
    with rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a name in letters that our font lacks
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Title": title})
    return buffer.getvalue()
