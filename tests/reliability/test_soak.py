"""The soak sees what it is there to see."""

import json
import os
from pathlib import Path

import pytest

from tests.reliability.soak import LARGEST_SLOPE, Sample, look, slope


@pytest.mark.parametrize("leak", [0.0, 0.5, 3.0])
def test_a_leak_is_its_slope_in_the_second_half(leak: float) -> None:
    """Warm-up in the first half, a saw of ten megabytes all along."""
    samples = [
        Sample(step, 500 + min(step, 2000) / 10 + step % 100 / 10 + leak * step / 1000, 12)
        for step in range(0, 10_000, 7)
    ]
    assert slope(samples) == pytest.approx(leak, abs=0.2)
    assert (slope(samples) >= LARGEST_SLOPE) == (leak > 1)


def test_a_process_is_looked_at(tmp_path: Path) -> None:
    assert look(os.getpid(), tmp_path) is None
    (tmp_path / "pretrain").mkdir()
    (tmp_path / "pretrain" / "metrics.jsonl").write_text(json.dumps({"step": 35}) + "\n")
    seen = look(os.getpid(), tmp_path)
    assert seen is not None
    with open(tmp_path / "pretrain" / "metrics.jsonl"):
        more = look(os.getpid(), tmp_path)
    assert more is not None
    assert (seen.step, more.descriptors - seen.descriptors) == (35, 1)
    assert seen.megabytes > 10
