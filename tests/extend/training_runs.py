"""Tiny training runs: a text with something to learn, its batches, and the loop on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from extend.architectures import new_model
from extend.blocks import Mixture, open_stream, write_stream
from extend.masking import MaskedBatch, MaskingRule, as_batch, mask_batch
from extend.pretrain import Hooks, LoopSettings, Stage, Team, train
from extend.pretrain.nouns import BatchAt
from extend.types import SpecialIds, StepReport

SPECIAL = SpecialIds(mask=4, pad=0, unk=1, start=2, end=3, unmaskable=frozenset(range(5)), vocab_size=300)
FIRST_NEW = 260
STAGES = (Stage("new-rows", 8, 1e-2, 2, "new-rows", FIRST_NEW), Stage("all", 12, 1e-3, 3))
STEPS, BATCH, LENGTH = 20, 8, 32


def tiny(kind: str = "bert", seed: int = 1) -> PreTrainedModel:
    return new_model(kind, special=SPECIAL, hidden=32, layers=2, heads=2, intermediate=64, seed=seed)


def write_text(folder: Path) -> Path:
    """A text with something to learn: low ids are frequent, and token n is mostly followed by n + 1."""
    generator = np.random.default_rng(0)
    lines = []
    for number in range(300):
        first, size = 5 + int(280 * generator.random() ** 4), int(generator.integers(4, 20))
        lines.append(([5 + (first - 5 + step) % 295 for step in range(size)], [True] * size, number % 3 == 0))
    write_stream(folder / "xx", lines, special=SPECIAL)
    return folder / "xx"


def batches(text: Path, *, read: Callable[[np.ndarray], object] = lambda _: None) -> BatchAt:
    """Masked batches of the text; `read` hears which samples are read."""
    mixture = Mixture((open_stream(text, "xx"),), (1.0,), LENGTH, seed=1)
    rule = MaskingRule()

    def batch_at(step: int, start: int = 0, stop: int | None = None) -> MaskedBatch:
        samples = np.arange(step * BATCH, (step + 1) * BATCH)[start:stop]
        read(samples)
        ids, starts = mixture.read(samples, SPECIAL)
        masked, positions = mask_batch(ids, starts, samples, rule=rule, special=SPECIAL, seed=1)
        return as_batch(ids, masked, positions, offered=rule.offered(len(samples), LENGTH))

    return batch_at


def loop(stages: tuple[Stage, ...] = STAGES, **more: Any) -> LoopSettings:
    settings: dict[str, Any] = {"seed": 1, "batch_size": BATCH, "configuration": {"a": 1}}
    return LoopSettings(stages, **{**settings, "save_every": 5, "log_every": 1, **more})


def stop_after(calls: int, signal_number: int = 15) -> Callable[[], int | None]:
    asked = iter(range(1, 10_000))
    return lambda: signal_number if next(asked) == calls else None


def run(
    folder: Path,
    text: Path,
    *,
    kind: str = "bert",
    stop: int | None = None,
    settings: LoopSettings | None = None,
    team: Team | None = None,
    **hooks: Any,
) -> tuple[PreTrainedModel, list[StepReport]]:
    """Train a tiny model in `folder`; `stop` is after how many steps SIGTERM comes."""
    model = tiny(kind)
    reports: list[StepReport] = []
    given = Hooks(reports.append, should_stop=stop_after(stop) if stop else lambda: None, **hooks)
    train(model, batches(text), settings or loop(), given, checkpoints=folder / "checkpoints", team=team)
    return model, reports


def weights(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}
