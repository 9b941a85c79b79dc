"""What reaches stdout: one JSON object, or text and tables for people."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table

Render = Callable[[Mapping[str, Any]], Iterable[RenderableType]]

_WIDE = 160


def print_json(value: Mapping[str, Any]) -> None:
    """Exactly one object on stdout, in ASCII where stdout cannot carry more."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    sys.stdout.write(json.dumps(value, ensure_ascii=not unicode, allow_nan=False, default=str) + "\n")
    sys.stdout.flush()


def print_text(parts: Iterable[RenderableType]) -> None:
    """Lines and tables; plain and wide when stdout is not a terminal."""
    terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, width=None if terminal else _WIDE, highlight=False, markup=False)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))
    sys.stdout.flush()


def close_quietly() -> int:
    """The reader of our output went away (`| head`): not an error worth a word. Returns the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> Table:
    """The first column is names; the others are figures, set right."""
    made = Table(title=title or None, title_justify="left")
    for index, name in enumerate(header):
        made.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*map(figure, row))
    return made


def figure(value: object) -> str:
    """A number as people read it; a missing one is a dash, never invented."""
    if value is None:
        return "—"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.4f}" if abs(value) < 1 else f"{value:.3f}"


def with_interval(percent: float, ends: Sequence[float] | None) -> str:
    """`43.0 [41.2, 44.9]`; the interval only where there is one."""
    return f"{percent:.1f}" + (f" [{ends[0]:.1f}, {ends[1]:.1f}]" if ends else "")


def facts(result: Mapping[str, Any], *names: str) -> list[RenderableType]:
    """`name: value` lines of those names that the result has."""
    return [f"{name.replace('_', ' ')}: {figure(result[name])}" for name in names if name in result]


def every_value(result: Mapping[str, Any], prefix: str = "") -> Iterable[RenderableType]:
    """Every value of a result on its own line, `pretrain.steps: 2,000`."""
    for name, value in result.items():
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from every_value(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{label}: {', '.join(map(figure, value))}"
        else:
            yield f"{label}: {figure(value)}"
