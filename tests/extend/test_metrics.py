"""The logs of training: no step twice or missing after a resume, a full disk ends nothing, words at once."""

import dataclasses
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from extend import store
from extend.config import PretrainSettings
from extend.errors import SpaceError
from extend.pretrain import LeftOut
from extend.recipe.metrics import Log, Metrics
from extend.recipe.run import silent
from extend.recipe.spikes import Spikes
from extend.types import Progress, StepReport


def report(step: int, loss: float = 3.5) -> StepReport:
    return StepReport(step, 100, "all", loss, loss, None, 1e-3, 0.5, 1000 * step, 2000.0, step / 2)


def entry(loss: float) -> dict[str, Any]:
    return {"mlm_loss": loss, "perplexity": 2.0, "standard_error": 0.1, "blocks": 3, "predictions": 9}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def steps(folder: Path) -> list[int]:
    return [line["step"] for line in lines(folder / "metrics.jsonl")]


def test_a_line_has_what_the_product_promises(tmp_path: Path) -> None:
    Metrics(tmp_path, silent).step(report(20))
    (line,) = lines(tmp_path / "metrics.jsonl")
    promised = "step loss mlm_loss nsp_loss learning_rate grad_norm tokens tokens_per_second seconds"
    assert set(promised.split()) <= line.keys()


def test_after_a_kill_no_step_is_missing_or_doubled(tmp_path: Path) -> None:
    first = Metrics(tmp_path, silent)
    first.cut(0)
    for step in range(1, 8):
        first.step(report(step))
    first.evaluated(6, {"ka": entry(4.0)})
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 8, "lo')  # the kill
    second = Metrics(tmp_path, silent)
    second.cut(5)
    assert steps(tmp_path) == [1, 2, 3, 4, 5]
    assert lines(tmp_path / "held_out.jsonl") == []
    for step in range(6, 11):
        second.step(report(step))
    assert steps(tmp_path) == list(range(1, 11))


def test_a_damaged_line_is_left_out_and_the_others_stay(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n\xff\xfe\n[2]\n{"step": "3"}\n{"step": 4}\n')
    assert Log(tmp_path / "metrics.jsonl").lines() == [{"step": 1}, {"step": 4}]


def test_cutting_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics(tmp_path, silent)
    for step in range(1, 6):
        metrics.step(report(step))
    before = (tmp_path / "metrics.jsonl").read_bytes()
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(SpaceError):
        Metrics(tmp_path, silent).cut(2)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def _full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_warned_of_once_and_its_lines_come_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real append that tears: half of a line reaches the file, then the disk is full for a while."""
    told: list[Progress] = []
    metrics, append = Metrics(tmp_path, told.append), store.append_line
    metrics.step(report(1))

    def torn(path: Path, line: str) -> None:
        store.append_bytes(path, line.encode()[:20])
        _told_full(path)

    def _told_full(path: Path, *_: Any) -> None:
        raise SpaceError(f"cannot write {path}: No space left on device", name="E-NO-SPACE")

    monkeypatch.setattr(store, "append_line", torn)
    monkeypatch.setattr(store, "write_text", _told_full)
    for step in (2, 3, 4):
        metrics.step(report(step))
    metrics.evaluated(4, {"ka": entry(4.0)})
    monkeypatch.undo()
    assert store.append_line is append
    metrics.step(report(5))
    assert steps(tmp_path) == [1, 2, 3, 4, 5]
    metrics.evaluated(5, {"ka": entry(3.9)})
    assert [line["step"] for line in lines(tmp_path / "held_out.jsonl")] == [4, 5]
    warned = [one for one in told if one.stage == "W-METRICS"]
    assert len(warned) == 1
    assert "training goes on" in warned[0].text
    closing = metrics.report(0, {"held_out": {}})
    assert {warning["name"] for warning in closing["warnings"]} == {"W-METRICS"}
    assert closing["steps"] == 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_device_that_is_full_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    metrics = Metrics(tmp_path, silent)
    for step in (1, 2, 3):
        metrics.step(report(step))
    assert metrics.report(0, {})["steps"] == 3


def test_what_waits_for_room_is_cut_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(tmp_path / "metrics.jsonl")
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", _full)
        full.setattr(store, "append_line", lambda path, _: _raise(path))
        log.append({"step": 1})
        log.append({"step": 2})
    log.cut(1)
    log.append({"step": 3})
    assert [line["step"] for line in log.lines()] == [1, 3]


def _raise(path: Path) -> None:
    raise store.as_extend_error(OSError(errno.ENOSPC, "full"), path)


def test_a_process_that_is_not_the_first_writes_and_shows_nothing(tmp_path: Path) -> None:
    told: list[Progress] = []
    metrics = Metrics(tmp_path, told.append, writes=False)
    metrics.cut(0)
    metrics.step(report(1))
    metrics.evaluated(1, {"ka": entry(4.0)})
    metrics.event(1, "left-out", why="not finite")
    metrics.warn("W-SPIKE", "a jump")
    metrics.rewind(0)
    assert told == []
    assert list(tmp_path.iterdir()) == []


def test_progress_has_the_loss_the_speed_the_time_left_and_the_held_out_losses(tmp_path: Path) -> None:
    told: list[Progress] = []
    metrics = Metrics(tmp_path, told.append)
    metrics.evaluated(10, {"ka": entry(4.25), "en": entry(3.0)})
    metrics.step(report(20))
    details = told[-1].details
    assert details["loss"] == 3.5
    assert details["tokens_per_second"] == 2000.0
    assert details["seconds_left"] == pytest.approx(80 * 1000 / 2000)
    assert (details["held-out ka"], details["held-out en"]) == (4.25, 3.0)
    again = Metrics(tmp_path, told.append)
    again.cut(20)
    again.step(report(21))
    assert told[-1].details["held-out ka"] == 4.25


def test_a_pause_does_not_change_the_time_left(tmp_path: Path) -> None:
    told: list[Progress] = []
    metrics = Metrics(tmp_path, told.append)
    for step, speed in (
        (10, 2000.0),
        (20, 2100.0),
        (30, 2000.0),
        (40, 50.0),
    ):  # an evaluation lies in the last
        metrics.step(dataclasses.replace(report(step), tokens_per_second=speed))
    assert told[-1].details["seconds_left"] == pytest.approx(60 * 1000 / 2000)
    assert told[-1].details["tokens_per_second"] == 50.0


def test_events_of_steps_made_again_are_told_once(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path, silent)
    for step in (3, 9, 9):
        metrics.event(step, "left-out", why="not finite", samples=[24, 31])
    assert [line["step"] for line in lines(tmp_path / "events.jsonl")] == [3, 9]
    metrics.cut(5)
    assert [line["step"] for line in lines(tmp_path / "events.jsonl")] == [3]
    metrics.event(9, "left-out", why="not finite", samples=[24, 31])
    assert [event["step"] for event in metrics.report(0, {})["events"]] == [3, 9]


LEVEL = [3.0, 3.1] * 64


def spikes_of(folder: Path, told: list[Progress], **settings: Any) -> Spikes:
    return Spikes(PretrainSettings(batch_size=8, **settings), Metrics(folder, told.append))


@pytest.mark.parametrize(
    ("on_spike", "verdict"), [("warn", "go"), ("skip", "skip"), ("stop", "stop"), ("rewind", "rewind")]
)
def test_a_spike_is_told_with_its_samples_and_decided_by_the_setting(
    tmp_path: Path, on_spike: str, verdict: str
) -> None:
    told: list[Progress] = []
    spikes = spikes_of(tmp_path, told, on_spike=on_spike)
    assert {spikes.judge(step, loss) for step, loss in enumerate(LEVEL, 1)} == {"go"}
    assert told == []
    assert spikes.judge(129, 9.0) == verdict
    if on_spike == "rewind":
        assert not (tmp_path / "events.jsonl").exists()
        spikes.rewound(100)
    (event,) = lines(tmp_path / "events.jsonl")
    assert (event["event"], event["at"], event["samples"]) == ("spike", 129, [1024, 1031])
    assert (event["step"], event["action"]) == (100 if on_spike == "rewind" else 129, on_spike)
    (warning,) = told
    assert warning.stage == "W-SPIKE"
    assert "step 129" in warning.text
    assert "samples 1024 to 1031" in warning.text


def test_a_resumed_judge_is_the_same_judge(tmp_path: Path) -> None:
    first = spikes_of(tmp_path, [])
    for step, loss in enumerate(LEVEL, 1):
        first.judge(step, loss)
    memory = json.loads(json.dumps(first.remember()))
    second, fresh = spikes_of(tmp_path, [], on_spike="skip"), spikes_of(tmp_path, [], on_spike="skip")
    second.recall(memory)
    fresh.recall(None)
    assert second.judge(129, 9.0) == "skip"
    assert fresh.judge(129, 9.0) == "go"


def test_a_step_that_is_not_finite_is_noted_and_a_skipped_spike_not_twice(tmp_path: Path) -> None:
    told: list[Progress] = []
    spikes = spikes_of(tmp_path, told)
    spikes.left_out(LeftOut(5, "not finite", range(32, 40), None))
    spikes.left_out(LeftOut(6, "spike", range(40, 48), None))
    spikes.left_out(LeftOut(7, "rewound", range(48, 56), None))
    assert [(line["step"], line["why"]) for line in lines(tmp_path / "events.jsonl")] == [
        (5, "not finite"),
        (7, "rewound"),
    ]
    assert [one.stage for one in told] == ["W-NOT-FINITE"]
    assert "samples 32 to 39" in told[0].text
