"""Trackers: what goes out, once a step, through accelerate's own interface; the missing one is told first."""

import json
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from accelerate.tracking import GeneralTracker, TrackioTracker, WandBTracker

from extend import recipe
from extend.config import load_settings
from extend.errors import UsageError
from extend.languages import resolve
from extend.recipe.metrics import Metrics
from extend.recipe.run import silent
from extend.recipe.trackers import Trackers, _made, check_trackers, open_trackers, record_of, wandb_mode
from tests.extend.test_metrics import entry, report


class JsonTracker(GeneralTracker):  # type: ignore[misc]
    """A tracker of accelerate's kind that writes what it is told, a line a call."""

    name = "json"
    requires_logging_directory = True
    failing: ClassVar[bool] = False

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    @property
    def tracker(self) -> Path:
        return self.path

    def _write(self, value: Any) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(value) + "\n")

    def start(self) -> None:
        self._write("start")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self._write({"settings": values})

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        if self.failing:
            raise ConnectionError("the line is dead")
        self._write({"step": step, **values})

    def finish(self) -> None:
        self._write("finish")


def told(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_goes_out_is_numbers_by_their_place(tmp_path: Path) -> None:
    trackers = Trackers([JsonTracker(tmp_path / "out.jsonl")])
    trackers.start({"steps": 100, "lang": "ka"})
    metrics = Metrics(tmp_path, silent, trackers=trackers)
    metrics.step(report(20))
    forgetting = {"en": {"before": 3.0, "now": 3.1, "change": 0.1, "standard_error": None}}
    metrics.evaluated(20, {"ka": entry(4.0)}, forgetting=forgetting)
    trackers.finish()
    start, settings, step, evaluation, finish = told(tmp_path / "out.jsonl")
    assert (start, settings, finish) == ("start", {"settings": {"steps": 100, "lang": "ka"}}, "finish")
    assert step["step"] == 20
    assert step["train/loss"] == 3.5
    assert step["train/learning_rate"] == 1e-3
    assert not {"train/step", "train/steps", "train/stage", "train/nsp_loss"} & step.keys()
    assert evaluation["held_out/ka/mlm_loss"] == 4.0
    assert evaluation["held_out/ka/perplexity"] == 2.0
    assert evaluation["forgetting/en/change"] == 0.1


def test_a_resumed_run_tells_no_step_twice(tmp_path: Path) -> None:
    for resumed, until in ((0, 7), (5, 10), (0, 10)):  # killed after step 7, then again, then from the start
        metrics = Metrics(tmp_path, silent, trackers=Trackers([JsonTracker(tmp_path / "out.jsonl")]))
        metrics.cut(resumed)
        for step in range(resumed + 1, until + 1):
            metrics.step(report(step))
            if step % 5 == 0:
                metrics.evaluated(step, {"ka": entry(4.0)})
    steps = [line["step"] for line in told(tmp_path / "out.jsonl") if "train/loss" in line]
    evaluations = [line["step"] for line in told(tmp_path / "out.jsonl") if "train/loss" not in line]
    assert steps == list(range(1, 11))
    assert evaluations == [5, 10]


def test_a_tracker_that_fails_is_named_and_the_log_has_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JsonTracker, "failing", True)
    metrics = Metrics(tmp_path, silent, trackers=Trackers([JsonTracker(tmp_path / "out.jsonl")]))
    with pytest.raises(UsageError, match="the tracker json failed: the line is dead") as raised:
        metrics.step(report(1))
    assert raised.value.name == "E-PLUGIN"
    assert "checkpoint is intact" in raised.value.done
    assert [line["step"] for line in told(tmp_path / "metrics.jsonl")] == [1]


def opened(directory: Path, *names: str) -> recipe.Run:
    given = {"lang": "ka", "corpus": ["ka.txt"], "pretrain.report_to": list(names)}
    return recipe.open_run(load_settings(None, given), directory, resolve("ka"))


def test_one_that_is_not_installed_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(UsageError, match="trackio, which is not installed") as raised:
        check_trackers(["trackio"])
    assert raised.value.exit_code == 2
    assert "extend[trackio]" in raised.value.next
    with pytest.raises(UsageError):
        open_trackers(opened(tmp_path / "ka", "trackio"), {})
    assert not (tmp_path / "ka").exists()
    check_trackers([])


def test_a_run_goes_on_in_its_own_record(tmp_path: Path) -> None:
    first, again = opened(tmp_path / "ka"), opened(tmp_path / "ka")
    assert record_of(first) == record_of(again)
    assert record_of(first) != record_of(opened(tmp_path / "other"))
    trackio, wandb = (_made(name, tmp_path, record=record_of(first)) for name in ("trackio", "wandb"))
    assert isinstance(trackio, TrackioTracker)
    assert trackio.init_kwargs == {"name": record_of(first), "resume": "allow"}
    assert isinstance(wandb, WandBTracker)
    assert wandb.init_kwargs["id"] == record_of(first)
    assert wandb.init_kwargs["resume"] == "allow"
    assert wandb.init_kwargs["dir"] == str(tmp_path)
    assert not set("/\\#?%:") & set(record_of(first))  # what Weights & Biases refuses in an id


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": "x"}, "online"),
        ({"WANDB_API_KEY": "x", "HF_HUB_OFFLINE": "1"}, "offline"),
        ({"WANDB_MODE": "online", "HF_HUB_OFFLINE": "1"}, "offline"),
        ({"WANDB_MODE": "disabled", "HF_HUB_OFFLINE": "1"}, "disabled"),
        ({"WANDB_MODE": "offline", "WANDB_API_KEY": "x"}, "offline"),
    ],
)
def test_the_network_is_not_asked_unless_the_user_is_logged_in(
    environment: dict[str, str], mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert wandb_mode(environment) == mode


def test_a_login_kept_by_wandb_is_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password none\n")
    os.chmod(tmp_path / ".netrc", 0o600)
    assert wandb_mode({}) == "online"
    (tmp_path / ".netrc").write_text("machine example.org login user password none\n")
    assert wandb_mode({}) == "offline"


def test_tensorboard_really_has_every_step_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = opened(tmp_path / "ka", "tensorboard")
    for resumed, until in ((0, 7), (5, 10)):
        trackers = open_trackers(run, {"steps": 10, "corpus": "/somebody/private"})
        metrics = Metrics(run.pretraining, silent, trackers=trackers)
        metrics.cut(resumed)
        for step in range(resumed + 1, until + 1):
            metrics.step(report(step, loss=10.0 - step))
        trackers.finish()
    events = EventAccumulator(str(run.pretraining / "trackers" / "tensorboard"))
    events.Reload()
    losses = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert losses == [(step, 10.0 - step) for step in range(1, 11)]
    (settings,) = events.Tensors("settings/text_summary")
    assert b"steps = 10" in settings.tensor_proto.string_val[0]
    assert b"private" not in settings.tensor_proto.string_val[0]
