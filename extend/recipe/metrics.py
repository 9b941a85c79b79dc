"""What training says of itself: metrics.jsonl, held_out.jsonl, events.jsonl, progress, the closing report."""

import json
import statistics
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from extend import store
from extend.errors import PathError, SpaceError
from extend.recipe.run import OnProgress
from extend.recipe.trackers import Trackers
from extend.types import Progress, StepReport

Line = dict[str, Any]
_LAPS = 9
"""Logged steps whose median speed says how long the rest takes: a pause among them does not count."""

HeldOut = Mapping[str, Mapping[str, Any]]


class Log:
    """A file of JSON lines, each with its `step`, that grows while training goes on.

    A line that cannot be written (a full disk) is kept and written later, in its place: training does not end
    for its log. `broken` is the first such failure.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken: SpaceError | PathError | None = None
        self._waiting: list[str] = []

    def lines(self) -> list[Line]:
        """Every whole line with a step; one that a kill cut short, or that is damaged, is left out."""
        if not self.path.is_file():
            return []
        whole = self.path.read_bytes().rpartition(b"\n")[0]
        return [line for text in whole.splitlines() if (line := _parsed(text)) is not None]

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line, and those that wait for room before it."""
        text = json.dumps(line, allow_nan=False)
        try:
            if self._waiting:
                self.replace([*self.lines(), *map(json.loads, self._waiting), line])
            else:
                store.append_line(self.path, text)
        except (SpaceError, PathError) as error:
            self.broken = self.broken or error
            self._waiting.append(text)

    def replace(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Make these the file's lines, all or nothing. Raises SpaceError and PathError."""
        store.write_text(self.path, "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))
        self._waiting = []

    def cut(self, step: int) -> None:
        """Drop what is later than `step`. Raises SpaceError and PathError."""
        self._waiting = [text for text in self._waiting if json.loads(text)["step"] <= step]
        if self.path.is_file():
            self.replace([line for line in self.lines() if line["step"] <= step])


class Metrics:
    """Writes one line a logged step, an evaluation and an event, without doubles after a resume.

    `trackers` hear of every step once, also where a resumed run makes it again. Without `writes` (a process
    that is not the first) nothing is written, shown or tracked.
    """

    def __init__(
        self,
        folder: Path,
        on_progress: OnProgress,
        *,
        trackers: Trackers | None = None,
        writes: bool = True,
    ) -> None:
        self.steps, self.evaluations = Log(folder / "metrics.jsonl"), Log(folder / "held_out.jsonl")
        self.events = Log(folder / "events.jsonl")
        self.on_progress, self.trackers, self.writes = on_progress, trackers or Trackers(()), writes
        self._told_broken = False
        self._last: Line | None = None
        self._held_out: dict[str, float] = {}
        self._speeds: deque[float] = deque(maxlen=_LAPS)

    def cut(self, step: int) -> None:
        """Drop what was logged later than `step`, where training goes on from."""
        if not self.writes:
            return
        self._note_tracked()
        for log in (self.steps, self.evaluations, self.events):
            log.cut(step)
        self._recall()

    def rewind(self, step: int) -> None:
        """Drop what was logged of the steps after `step`, which will be made anew; events stay."""
        if self.writes:
            self._note_tracked()
            self.steps.cut(step)
            self.evaluations.cut(step)
            self._recall()

    def _note_tracked(self) -> None:
        self.trackers.note(
            steps=max((line["step"] for line in self.steps.lines()), default=0),
            evaluations=max((line["step"] for line in self.evaluations.lines()), default=-1),
        )

    def _recall(self) -> None:
        logged, evaluations = self.steps.lines(), self.evaluations.lines()
        self._last = logged[-1] if logged else None
        self._held_out = _losses(evaluations[-1]["held_out"]) if evaluations else {}

    def step(self, report: StepReport) -> None:
        """Log, track and show a step."""
        if not self.writes:
            return
        self._last = asdict(report)
        self._append(self.steps, self._last)
        self.trackers.log_step(report.step, self._last)
        self._speeds.append(report.tokens_per_second)
        tokens_left = (report.steps - report.step) * report.tokens / max(1, report.step)
        details: dict[str, float | str] = {
            "loss": report.loss,
            "tokens_per_second": report.tokens_per_second,
            "seconds_left": tokens_left / max(1.0, statistics.median(self._speeds)),
            **{f"held-out {language}": loss for language, loss in self._held_out.items()},
        }
        self.on_progress(Progress("pretrain", report.step, report.steps, report.stage, details))

    def evaluated(self, step: int, held_out: HeldOut, **more: Any) -> None:
        """Log and track held-out losses (`mlm_loss` and more, by language) after `step` steps."""
        if not self.writes:
            return
        self._held_out = _losses(held_out)
        self._append(self.evaluations, {"step": step, "held_out": held_out, **more})
        self.trackers.log_evaluation(step, {"held_out": held_out, **more})

    def event(self, step: int, event: str, **facts: Any) -> None:
        """Log what happened at `step`, once: steps that are made again tell the same again."""
        line = {"step": step, "event": event, **facts}
        if self.writes and line not in self.events.lines():
            self._append(self.events, line)

    def warn(self, name: str, text: str) -> None:
        """Show a warning at once, `W-NAME` and its text."""
        if self.writes:
            self.on_progress(Progress(name, 0, 0, text))

    def report(
        self,
        resumed_from: int,
        held_out: Mapping[str, Any],
        *,
        warnings: Sequence[Mapping[str, str]] = (),
        **facts: Any,
    ) -> dict[str, Any]:
        """The content of pretrain/report.json: the last logged step, the mean speed, the held-out losses.

        `held_out` has `held_out` by language and what else was measured; `facts` are added as they are.
        """
        last = self._last or (self.steps.lines() or [{}])[-1]
        seconds = float(last.get("seconds", 0.0))
        return {
            "steps": last.get("step", 0),
            "tokens": last.get("tokens", 0),
            "seconds": seconds,
            "tokens_per_second": last.get("tokens", 0) / seconds if seconds else None,
            "loss": last.get("loss"),
            **held_out,
            "resumed_from": resumed_from,
            "events": self.events.lines(),
            "warnings": [*warnings, *self._broken_logs()],
            **facts,
        }

    def _append(self, log: Log, line: Mapping[str, Any]) -> None:
        log.append(line)
        if log.broken and not self._told_broken:
            self._told_broken = True
            self.warn("W-METRICS", f"{log.broken.what}; training goes on, lines are written when they can be")

    def _broken_logs(self) -> list[dict[str, str]]:
        logs = (self.steps, self.evaluations, self.events)
        return [
            {"name": "W-METRICS", "text": f"while training: {log.broken.what}"} for log in logs if log.broken
        ]


def _losses(held_out: HeldOut) -> dict[str, float]:
    return {language: float(measured["mlm_loss"]) for language, measured in held_out.items()}


def _parsed(text: bytes) -> Line | None:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    step = line.get("step") if isinstance(line, dict) else None
    return line if isinstance(step, int) and not isinstance(step, bool) else None
