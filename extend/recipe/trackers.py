"""Experiment trackers (TensorBoard, Trackio, Weights & Biases), by accelerate's tracker classes.

Nothing is asked of a network by default: TensorBoard writes into the run folder, Trackio keeps a local
database, and Weights & Biases is offline unless its user is logged in or says otherwise by WANDB_MODE.
"""

import hashlib
import importlib.util
import netrc
import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, final

from accelerate.tracking import GeneralTracker, TensorBoardTracker, TrackioTracker, WandBTracker

from extend import store
from extend.errors import UsageError, escaped
from extend.recipe.run import Run

_UNTRACKED = {"step", "steps", "stage"}
_PROJECT = "extend"
_WANDB = "api.wandb.ai"


@final
class Trackers:
    """Every tracker of a run as one. Each step and evaluation is told once, however often it is made.

    Raises UsageError E-PLUGIN when a tracker fails; the training state is on the disk as of the last save.
    """

    def __init__(self, trackers: Sequence[GeneralTracker]) -> None:
        self.trackers = tuple(trackers)
        self._step, self._evaluation = 0, -1

    def start(self, settings: Mapping[str, Any], *, known: Container[str] = ()) -> None:
        """Open the records, with `settings` (numbers and words) beside them but where they are `known`."""
        for tracker in self.trackers:
            self._call(tracker, tracker.start)
            if tracker.name not in known:
                self._call(tracker, partial(_tell_settings, tracker, settings))

    def note(self, *, steps: int, evaluations: int) -> None:
        """What was told in an earlier sitting: steps and evaluations up to these numbers."""
        self._step, self._evaluation = max(self._step, steps), max(self._evaluation, evaluations)

    def log_step(self, step: int, values: Mapping[str, Any]) -> None:
        """Tell the numbers of a training step under `train/`."""
        if step > self._step:
            self._step = step
            self._log(step, {f"train/{name}": value for name, value in _numbers(values)})

    def log_evaluation(self, step: int, values: Mapping[str, Any]) -> None:
        """Tell what was measured after `step` steps, by its dotted place: `held_out/ug/mlm_loss`."""
        if step > self._evaluation:
            self._evaluation = step
            self._log(step, dict(_numbers(values)))

    def finish(self) -> None:
        """Close all of them."""
        for tracker in self.trackers:
            self._call(tracker, tracker.finish)

    def _log(self, step: int, values: dict[str, float]) -> None:
        for tracker in self.trackers:
            self._call(tracker, partial(tracker.log, values, step=step))

    def _call(self, tracker: GeneralTracker, told: Callable[[], Any]) -> None:
        try:
            told()
        except Exception as error:
            raise UsageError(
                f"the tracker {tracker.name} failed: {escaped(str(error), limit=100)}",
                name="E-PLUGIN",
                why=type(error).__name__,
                done="the last checkpoint is intact",
                next=f"leave {tracker.name} out of pretrain.report_to; the same command goes on",
            ) from error


def _tell_settings(tracker: GeneralTracker, settings: Mapping[str, Any]) -> None:
    if isinstance(tracker, TensorBoardTracker):  # its own way makes one more run each time it is told
        tracker.log(
            {"settings": "\n".join(f"    {name} = {value}" for name, value in settings.items())}, step=0
        )
    else:
        tracker.store_init_configuration(dict(settings))


def _numbers(values: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{place}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and name not in _UNTRACKED:
            yield f"{place}{name}", value


def check_trackers(names: Sequence[str]) -> None:
    """Raises UsageError when a tracker that is asked for is not installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"pretrain.report_to names {missing[0]}, which is not installed",
            name="E-EXTRA",
            done="nothing was read or written",
            next=f"pip install 'extend[{missing[0]}]', or leave it out of pretrain.report_to",
        )


def open_trackers(run: Run, settings: Mapping[str, Any]) -> Trackers:
    """Start, or go on with, the run's own record in every tracker of `pretrain.report_to`.

    The record is named after the language and the run's folder, so that a resumed run goes on in it.
    `settings` are shown beside it, but for those that hold paths. Raises UsageError as `check_trackers` does,
    and E-PLUGIN when one does not start.
    """
    names = run.settings.pretrain.report_to
    check_trackers(names)
    if not names:
        return Trackers(())
    folder = store.make_directory(run.pretraining / "trackers")
    known = {path.name for path in folder.iterdir()}
    opened = Trackers([_made(name, folder, record=record_of(run)) for name in names])
    opened.start({name: value for name, value in settings.items() if _may_be_shown(value)}, known=known)
    return opened


def record_of(run: Run) -> str:
    """The name of a run's record: its language, and a short sum of where its folder lies."""
    place = hashlib.sha256(str(run.directory.absolute()).encode("utf-8", "surrogateescape")).hexdigest()
    return f"{run.language.code}-{place[:12]}"


def _made(name: str, folder: Path, *, record: str) -> GeneralTracker:
    if name == "tensorboard":
        return TensorBoardTracker("tensorboard", logging_dir=folder)
    if name == "trackio":
        os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
        return TrackioTracker(_PROJECT, name=record, resume="allow")
    os.environ.setdefault("WANDB_SILENT", "true")
    return WandBTracker(
        _PROJECT, id=record, name=record, resume="allow", mode=wandb_mode(os.environ), dir=str(folder)
    )


def wandb_mode(environment: Mapping[str, str]) -> str:
    """`WANDB_MODE` where it is set, else online for a user who is logged in; offline whenever extend is."""
    wanted = environment.get("WANDB_MODE", "")
    if environment.get("HF_HUB_OFFLINE") == "1":
        return "disabled" if wanted == "disabled" else "offline"
    return wanted or ("online" if environment.get("WANDB_API_KEY") or _has_login() else "offline")


def _has_login() -> bool:
    try:
        return netrc.netrc().authenticators(_WANDB) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _may_be_shown(value: Any) -> bool:
    """Numbers, switches and words; no paths: the folders of a machine are nobody's business."""
    if isinstance(value, str):
        return "/" not in value and "\\" not in value
    return isinstance(value, bool | int | float)
