"""What training says of itself: metrics.jsonl, held_out.jsonl, progress, and the closing report."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from extend import store
from extend.recipe.run import OnProgress
from extend.types import Progress, StepReport

HeldOut = Mapping[str, Mapping[str, float]]


class Metrics:
    """Writes one line a logged step and one an evaluation, without doubles after a resume."""

    def __init__(self, folder: Path, on_progress: OnProgress) -> None:
        self.steps, self.evaluations = folder / "metrics.jsonl", folder / "held_out.jsonl"
        self.on_progress = on_progress

    def cut(self, step: int) -> None:
        """Drop what was logged later than `step`, where training goes on from."""
        for path in (self.steps, self.evaluations):
            if path.is_file():
                kept = [line for line in _lines(path) if line["step"] <= step]
                store.write_text(path, "".join(json.dumps(line) + "\n" for line in kept))

    def step(self, report: StepReport) -> None:
        store.append_line(self.steps, json.dumps(asdict(report)))
        tokens_left = (report.steps - report.step) * report.tokens / report.step
        details: dict[str, float | str] = {
            "loss": report.loss,
            "tokens_per_second": report.tokens_per_second,
            "seconds_left": tokens_left / max(1.0, report.tokens_per_second),
        }
        self.on_progress(Progress("pretrain", report.step, report.steps, report.stage, details))

    def evaluated(self, step: int, held_out: HeldOut) -> None:
        store.append_line(self.evaluations, json.dumps({"step": step, "held_out": held_out}))

    def report(self, held_out: HeldOut, resumed_from: int) -> dict[str, Any]:
        """The content of pretrain/report.json: the last logged step, the mean speed, the held-out losses."""
        last = _lines(self.steps)[-1] if self.steps.is_file() else {}
        seconds = float(last.get("seconds", 0.0))
        return {
            "steps": last.get("step", 0),
            "tokens": last.get("tokens", 0),
            "seconds": seconds,
            "tokens_per_second": last.get("tokens", 0) / seconds if seconds else None,
            "loss": last.get("loss"),
            "held_out": held_out,
            "resumed_from": resumed_from,
        }


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; a line that a kill cut short is left out."""
    whole = path.read_bytes().rpartition(b"\n")[0]
    return [json.loads(line) for line in whole.splitlines() if line.strip()]
