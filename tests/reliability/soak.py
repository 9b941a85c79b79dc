"""A long run that is killed every few seconds: the same end, no memory or file descriptor lost.

    python -m tests.reliability.soak MINUTES

A third of the time goes to a run that nobody touches, whose memory and descriptors are watched; the rest to
the same run with kills. It ends with exit code 1 when the two differ, when memory grows in the second half by
1 MB or more in 1,000 steps (runs of fewer steps tell nothing of that), or when descriptors do.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression
from typing import Any

from extend import recipe
from tests.reliability import trials

LARGEST_SLOPE = 1.0
"""Megabytes in 1,000 steps."""
_LOOK_EVERY = 0.2


@dataclass(frozen=True)
class Sample:
    """One look at the training process: steps logged, resident megabytes, open descriptors."""

    step: int
    megabytes: float
    descriptors: int


def look(process: int, directory: Path) -> Sample | None:
    """None while nothing is logged, or when the process has gone."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
        lines = (directory / "pretrain" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        descriptors = len(os.listdir(f"/proc/{process}/fd"))
        return Sample(
            json.loads(lines[-1])["step"], int(status.split("VmRSS:")[1].split()[0]) / 1024, descriptors
        )
    except (OSError, IndexError, ValueError):
        return None


def sitting(directory: Path, settings: dict[str, Any], until: Callable[[], bool]) -> tuple[int, list[Sample]]:
    """Train in a child until it ends or `until` says to kill it; its exit code and what was seen of it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            recipe.pretrain(trials.open_run(directory, **settings))
            code = 0
        finally:
            os._exit(code)
    samples: list[Sample] = []
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), samples
        if until():
            os.kill(child, signal.SIGKILL)
        if sample := look(child, directory):
            samples.append(sample)
        time.sleep(_LOOK_EVERY)


def slope(samples: list[Sample]) -> float:
    """Megabytes gained in 1,000 steps in the second half, by least squares."""
    later = samples[len(samples) // 2 :]
    steps = [sample.step / 1000 for sample in later]
    return linear_regression(steps, [sample.megabytes for sample in later]).slope


def kill_times(draw: random.Random) -> Iterator[float]:
    """Seconds of each sitting: most get far enough to save, some do not."""
    while True:
        yield draw.uniform(0.5, 8.0)


def soak(folder: Path, minutes: float, seed: int) -> int:
    """The exit code: 0 when all held."""
    prepared = trials.prepare(folder)
    steps = max(50, int(minutes * 60 / 3 * trials.STEPS / prepared.seconds))
    settings = {"steps": steps, "save_every": max(10, steps // 200), "log_every": 5, "eval_every": 0}
    straight = prepared.copy("straight")
    code, samples = sitting(straight, settings, lambda: False)
    assert code == 0, "the run that nobody touched failed"
    expected, killed = trials.results(straight), prepared.copy("killed")
    draw, code, kills = random.Random(seed), -signal.SIGKILL, 0
    for seconds in kill_times(draw):
        end = time.monotonic() + seconds
        code, _ = sitting(killed, settings, lambda end=end: time.monotonic() > end)  # type: ignore[misc]
        if code != -signal.SIGKILL:
            break
        kills += 1
    found = trials.results(killed) if code == 0 else {}
    odd = [
        f"{name} {trials.shown(expected[name], found.get(name))}"
        for name in expected
        if expected[name] != found.get(name)
    ]
    growth, descriptors = slope(samples), {sample.descriptors for sample in samples[len(samples) // 10 :]}
    print(
        f"seed {seed}: {steps} steps, {kills} kills, exit {code}, "
        f"{'the same bits' if not odd else 'different: ' + ', '.join(odd)}; "
        f"{growth:+.3f} MB in 1,000 steps ({len(samples)} looks); "
        f"{min(descriptors)} to {max(descriptors)} descriptors"
    )
    grows = steps >= 1000 and growth >= LARGEST_SLOPE
    return 1 if odd or code or grows or max(descriptors) - min(descriptors) > 3 else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("minutes", type=float, nargs="?", default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="extend-soak-"))
    try:
        return soak(folder, given.minutes, given.seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
