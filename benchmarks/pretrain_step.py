"""One training step: ours (logits at masked positions, fused AdamW) beside transformers' own forward.

    python benchmarks/pretrain_step.py [--hidden 192] [--layers 3] [--vocabulary 34000] [--rounds 6]

Both sides train the same fresh ModernBERT on the same masked batches, in the same precision and thread count,
alternating step by step. Their losses at the first step must agree to 1e-4 (in fp32) before anything is
timed. Theirs is what a plain loop over `model(input_ids, labels=...)` does: logits for every position and
torch's default AdamW. Random ids: speed depends on shapes alone.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import PreTrainedModel

from extend.architectures import new_model
from extend.masking import MaskedBatch, MaskingRule, as_batch, mask_batch
from extend.pretrain import Stage
from extend.pretrain.devices import autocast_dtype
from extend.pretrain.trainer import StageTrainer
from extend.types import SpecialIds


def main() -> None:
    options = parsed()
    special = SpecialIds(4, 0, 1, 2, 3, frozenset(range(5)), options.vocabulary)
    dtype = autocast_dtype("auto", torch.device("cpu"))
    batches = [masked(options, special, step) for step in range(options.rounds + 2)]
    check_same_loss(options, special, batches[0])
    sides: dict[str, Callable[[MaskedBatch, int], float]] = {
        "extend, all weights": ours(fresh(options, special), dtype, None),
        "extend, new rows alone": ours(fresh(options, special), dtype, int(0.8 * options.vocabulary)),
        "transformers' forward": theirs(fresh(options, special), dtype),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number, batch in enumerate(batches):
        for name, step in sides.items():
            started = time.perf_counter()
            step(batch, number)
            seconds[name].append(time.perf_counter() - started)
    tokens = options.batch * options.length
    reference = statistics.median(seconds["transformers' forward"][2:])
    shape = (
        f"{options.layers} x {options.hidden}, {options.vocabulary} rows, {options.batch} x {options.length}"
    )
    print(
        f"{shape}, {torch.get_num_threads()} thread(s), {dtype or 'fp32'}; medians of {options.rounds} steps"
    )
    for name, taken in seconds.items():
        median = statistics.median(taken[2:])
        print(
            f"{name:<24} {median:7.3f} s/step {tokens / median:9.0f} tokens/s   {reference / median:5.2f} x"
        )


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in {
        "hidden": 192,
        "layers": 3,
        "vocabulary": 34_000,
        "batch": 32,
        "length": 64,
        "rounds": 6,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def fresh(options: argparse.Namespace, special: SpecialIds) -> PreTrainedModel:
    heads = max(1, options.hidden // 64)
    return new_model(
        "modernbert", special=special, hidden=options.hidden, layers=options.layers, heads=heads,
        intermediate=3 * options.hidden, seed=1,
    )  # fmt: skip


def masked(options: argparse.Namespace, special: SpecialIds, step: int) -> MaskedBatch:
    samples = np.arange(step * options.batch, (step + 1) * options.batch)
    ids = np.random.default_rng(step).integers(5, options.vocabulary, (options.batch, options.length))
    starts = np.random.default_rng(step + 1).random(ids.shape) < 0.6
    changed, positions = mask_batch(ids, starts, samples, rule=MaskingRule(), special=special, seed=1)
    return as_batch(ids, changed, positions)


def labels_of(batch: MaskedBatch) -> torch.Tensor:
    labels = torch.full_like(batch.input_ids, -100)
    labels.view(-1)[batch.positions] = batch.targets
    return labels


def check_same_loss(options: argparse.Namespace, special: SpecialIds, batch: MaskedBatch) -> None:
    mine = ours(fresh(options, special), None, None)(batch, 0)
    other = theirs(fresh(options, special), None)(batch, 0)
    if abs(mine - other) > 1e-4:
        raise SystemExit(f"the sides do different work: loss {mine} and {other}")


def ours(
    model: PreTrainedModel, dtype: torch.dtype | None, first_new: int | None
) -> Callable[[MaskedBatch, int], float]:
    stage = Stage("step", 1000, 1e-4, 10, "all" if first_new is None else "new-rows", first_new)
    trainer = StageTrainer(model, stage, seed=1, weight_decay=0.01, clip=1.0, dtype=dtype)
    return lambda batch, number: trainer.step(batch, number, step=number).loss


def theirs(model: PreTrainedModel, dtype: torch.dtype | None) -> Callable[[MaskedBatch, int], float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    model.train()

    def step(batch: MaskedBatch, _: int) -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            loss = model(input_ids=batch.input_ids, labels=labels_of(batch)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return float(loss.detach())

    return step


if __name__ == "__main__":
    main()
