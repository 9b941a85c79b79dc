"""Progress on stderr: a bar on a terminal, one plain line about every thirty seconds elsewhere."""

import re
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from extend.types import Progress

PLAIN_EVERY_SECONDS = 30.0
MOST_AT_ONCE = 5
_WARNING = re.compile(r"(?:(?P<under>.+): )?(?P<name>W-[A-Z-]+)")


class Display:
    """Shows each `Progress` it is called with. Use it as a context, so that the terminal is left tidy.

    A stage that is the name of a warning (`W-SPIKE`) is a warning: its text is said at once, five of a kind.
    A quiet one shows nothing.
    """

    def __init__(self, stream: TextIO, *, every: float = PLAIN_EVERY_SECONDS, quiet: bool = False) -> None:
        self._stream, self._every, self._quiet = stream, every, quiet
        self._bars = _bars(stream) if stream.isatty() and not quiet else None
        self._tasks: dict[str, TaskID] = {}
        self._begun: dict[str, tuple[float, int]] = {}
        self._last: tuple[str, float] = ("", 0.0)
        self._warned: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars and self._tasks:
            self._bars.stop()

    def __call__(self, progress: Progress) -> None:
        if self._quiet:
            return
        if warning := _WARNING.fullmatch(progress.stage):
            self._warn(warning["name"], f"{warning['under']}: " if warning["under"] else "", progress.text)
        elif self._bars:
            self._show_bar(progress)
        else:
            self._write_line(progress)

    def _warn(self, name: str, under: str, text: str) -> None:
        self._warned[name] += 1
        if self._warned[name] <= MOST_AT_ONCE:
            more = "; more of these are only counted" if self._warned[name] == MOST_AT_ONCE else ""
            self.say(f"{under}warning[{name}]: {text}{more}")

    def say(self, line: str) -> None:
        """One line of talk, above the bars if there are any."""
        if self._quiet:
            return
        if self._bars and self._tasks:
            self._bars.console.print(line, markup=False, highlight=False)
        else:
            self._stream.write(line + "\n")
            self._stream.flush()

    def _show_bar(self, progress: Progress) -> None:
        assert self._bars is not None
        self._bars.start()
        total = progress.total or None
        if progress.stage not in self._tasks:
            self._tasks[progress.stage] = self._bars.add_task(progress.stage, total=total, said="")
        self._bars.update(
            self._tasks[progress.stage], completed=progress.done, total=total, said=_said(progress)
        )

    def _write_line(self, progress: Progress) -> None:
        now = time.monotonic()
        begun, first = self._begun.setdefault(progress.stage, (now, progress.done))
        stage, last = self._last
        finished = bool(progress.total) and progress.done >= progress.total
        if stage == progress.stage and not finished and now - last < self._every:
            return
        self._last = (progress.stage, now)
        parts = [
            f"{progress.stage}: {progress.done:,}" + (f" of {progress.total:,}" if progress.total else "")
        ]
        if said := _said(progress):
            parts.append(said)
        if (
            progress.done > first
            and not finished
            and progress.total
            and "seconds_left" not in progress.details
        ):
            left = (now - begun) / (progress.done - first) * (progress.total - progress.done)
            parts.append(f"{clock(left)} left")
        self.say(" · ".join(parts))


def _bars(stream: TextIO) -> Bars:
    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(file=stream),
        refresh_per_second=4,
    )


def _said(progress: Progress) -> str:
    return " · ".join([*([progress.text] if progress.text else []), *_details(progress.details)])


def _details(details: Mapping[str, float | str]) -> list[str]:
    shown = []
    for name, value in details.items():
        spoken = name.replace("_", " ")
        if name == "seconds_left" and not isinstance(value, str):
            shown += [f"{clock(value)} left"] if value else []
        elif name.endswith("_per_second") and not isinstance(value, str):
            shown.append(f"{value:,.0f} {name.removesuffix('_per_second')}/s")
        else:
            shown.append(f"{spoken} {value:.4g}" if isinstance(value, float) else f"{spoken} {value}")
    return shown


def clock(seconds: float) -> str:
    """`1:02:03`, or `2:03` under an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
