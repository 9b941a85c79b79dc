"""A training step of `extend pretrain` beside `transformers.Trainer`, each side a process of its own.

    python benchmarks/pretrain.py [--shape mbert|small|toy] [--rounds 4] [--threads 2] [--dropout 0.1]
    python benchmarks/pretrain.py --device cuda --batch 32 --length 128 --sides ours,new-rows,trainer-bf16

The other side is `Trainer` with `DataCollatorForLanguageModeling(whole_word_mask=True)`, at its defaults
(float32, fused AdamW, no worker processes, sdpa attention) and with `bf16=True`. It differs from its defaults
in what whole words need (`remove_unused_columns=False`), and shows and saves nothing. Both sides train the
same random `BertForMaskedLM` on the same random ids with the same words, and make their own masks within the
step that is timed. All processes live at once and take turns, one step each a round, so that what else the
machine does meets all of them; the median counts. Before anything is timed, both must give the same loss to
1e-4 on the first batch that Trainer masked (float32, dropout off). Memory is the most that a process ever
held (VmHWM, libraries included), on a GPU the most that torch had allocated. Shapes: `mbert` is
google-bert/bert-base-multilingual-cased grown to 149,547 rows; `toy`, with `--batch 1 --length 32`, is so
small that a step is all host time.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

SHAPES = {
    "mbert": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "vocab_size": 149_547},
    "small": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 60_000},
    "toy": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 300},
}
OURS = ("ours", "new-rows", "active")
SIDES = ("ours", "trainer", "trainer-bf16")
SPECIAL = 5
PEAK_TFLOPS = 989.0
"""Of an H200 SXM in dense bfloat16, by NVIDIA's data sheet."""

PAPER_STEPS, PAPER_TOKENS = 500_000, 32 * 128


@dataclass(frozen=True)
class Work:
    """What all sides do alike."""

    shape: str
    batch: int
    length: int
    rounds: int
    warmup: int
    dropout: float
    device: str
    threads: int

    @property
    def vocab_size(self) -> int:
        return SHAPES[self.shape]["vocab_size"]

    @property
    def steps(self) -> int:
        return self.rounds + self.warmup


def main() -> None:
    work, sides, peak = parsed()
    context = multiprocessing.get_context("spawn")
    ends: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in sides:
            ends[side], theirs = context.Pipe()
            context.Process(target=run_side, args=(side, work, folder, theirs), daemon=True).start()
            theirs.close()
        check_same_loss(ends)
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(work.steps):
            for side, end in ends.items():
                end.send("step")
                seconds[side].append(end.recv())
        memory = {side: asked(end, "memory") for side, end in ends.items()}
    show(work, {side: taken[work.warmup :] for side, taken in seconds.items()}, memory, peak)


def parsed() -> tuple[Work, list[str], float]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="mbert")
    parser.add_argument("--sides", default=",".join(SIDES), help=f"of {', '.join((*SIDES, *OURS[1:]))}")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.1, help="of both sides (mBERT's own is 0.1)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peak-tflops", type=float, default=PEAK_TFLOPS, help="of the GPU, dense bfloat16")
    found = vars(parser.parse_args())
    sides, peak = found.pop("sides").split(","), found.pop("peak_tflops")
    return Work(**found), sides, peak


def asked(end: Any, question: str) -> Any:
    end.send(question)
    return end.recv()


def check_same_loss(ends: dict[str, Any]) -> None:
    """Every side's loss on the first batch that a Trainer masked; where there is none, on our first."""
    source = next(
        (end for side, end in ends.items() if side.startswith("trainer")), next(iter(ends.values()))
    )
    batch = asked(source, "batch")
    losses = {}
    for side, end in ends.items():
        end.send(batch)
        losses[side] = end.recv()
    compared = [loss for side, loss in losses.items() if side != "active"]  # another softmax, another loss
    print("first loss: " + ", ".join(f"{side} {loss:.6f}" for side, loss in losses.items()))
    if not max(compared) - min(compared) <= 1e-4:  # NaN is no agreement
        raise SystemExit("the sides do different work")


def show(work: Work, seconds: dict[str, list[float]], memory: dict[str, float], peak: float) -> None:
    tokens = work.batch * work.length
    print(
        f"{work.shape}, {work.batch} x {work.length}, dropout {work.dropout}, {work.device}, "
        f"{work.threads} thread(s); medians of {work.rounds} steps"
    )
    reference = "trainer" if "trainer" in seconds else next(iter(seconds))
    print(f"{'side':<14}{'s/step':>9}{'tokens/s':>10}{'ratio':>7}{'peak MiB':>10}{'ratio':>7}")
    for side, taken in seconds.items():
        median = statistics.median(taken)
        faster, larger = statistics.median(seconds[reference]) / median, memory[side] / memory[reference]
        print(f"{side:<14}{median:9.4f}{tokens / median:10.0f}{faster:7.2f}{memory[side]:10.0f}{larger:7.2f}")
        if work.device == "cuda":
            share = useful_work(work) / median / (peak * 1e12)
            minutes = PAPER_STEPS * PAPER_TOKENS * median / tokens / 60
            print(
                f"{'':<14}{share:.1%} of {peak:.0f} TFLOP/s on useful work; "
                f"{PAPER_STEPS:,} steps of 32 x 128 in {minutes:.0f} min"
            )


def useful_work(work: Work) -> float:
    """Operations of a step that trains all weights, with the decoder at 15 % of the positions."""
    shape = SHAPES[work.shape]
    width, layers, tokens = shape["hidden_size"], shape["num_hidden_layers"], work.batch * work.length
    encoder = 6 * layers * 12 * width * width + layers * 3 * 4 * work.length * width
    return tokens * (encoder + 0.15 * 6 * work.vocab_size * width)


def run_side(side: str, work: Work, folder: str, end: Connection) -> None:
    """One process: its first batch and loss when asked, then a step for every "step", then its memory."""
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(work.threads)
    if side in OURS:
        serve(ours(side, work, end), work, end)
    else:
        trainer(work, Path(folder) / side, end, bf16=side.endswith("bf16"))
    if end.recv() == "memory":
        end.send(peak_memory(work))


def serve(steps: Iterator[float], work: Work, end: Connection) -> None:
    for _ in range(work.steps):
        end.recv()
        end.send(next(steps))


def peak_memory(work: Work) -> float:
    """MiB."""
    import torch

    if work.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def fresh(work: Work) -> Any:
    import torch
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    sizes = SHAPES[work.shape]
    model = BertForMaskedLM(
        BertConfig(
            **sizes,
            intermediate_size=4 * sizes["hidden_size"],
            hidden_dropout_prob=work.dropout,
            attention_probs_dropout_prob=work.dropout,
        )
    )
    return model.to(work.device)


def text(work: Work, step: int) -> tuple[Any, Any]:
    """Random ids and word starts, shape (batch, length), framed as BERT frames its inputs."""
    generator = np.random.default_rng(step)
    ids = generator.integers(SPECIAL, work.vocab_size, (work.batch, work.length))
    ids[:, 0], ids[:, -1] = 2, 3
    return ids, generator.random(ids.shape) < 0.6


def ours(side: str, work: Work, end: Connection) -> Iterator[float]:
    """The first batch and loss at once; then the seconds of a step, masking included, for every `next`."""
    import torch

    from extend.masking import MaskedBatch, MaskingRule, as_batch, mask_batch
    from extend.pretrain import Stage
    from extend.pretrain.devices import autocast_dtype
    from extend.pretrain.objectives import objective_of
    from extend.pretrain.trainer import StageTrainer, StepOptions
    from extend.types import SpecialIds

    special = SpecialIds(4, 0, 1, 2, 3, frozenset(range(SPECIAL)), work.vocab_size)
    device = torch.device(work.device)

    def masked(step: int) -> MaskedBatch:
        ids, starts = text(work, step)
        samples = np.arange(step * work.batch, (step + 1) * work.batch)
        changed, positions = mask_batch(ids, starts, samples, rule=MaskingRule(), special=special, seed=1)
        return as_batch(ids, changed, positions)

    rows = 4 if side == "active" else 1  # every fourth row takes part
    active = torch.arange(0, work.vocab_size, rows) if side == "active" else None
    stage = Stage("all", 10_000, 5e-5, 10)
    if side == "new-rows":
        stage = Stage("new-rows", 10_000, 5e-5, 10, "new-rows", int(0.8 * work.vocab_size))
    made = StageTrainer(
        fresh(work), stage, seed=1, weight_decay=0.01, clip=1.0, dtype=autocast_dtype("auto", device),
        options=StepOptions(
            objective=lambda model, stage: objective_of(
                model, stage.trains, first_new=stage.first_new, active=active
            )
        ),
    )  # fmt: skip
    answer_first(end, masked_arrays(masked(0)), lambda arrays: our_loss(made.objective, arrays, rows))
    made.objective.model.train()

    def steps() -> Iterator[float]:
        for number in range(work.steps):
            started = time.perf_counter()
            batch = masked(number)
            batch = MaskedBatch(batch.input_ids, batch.positions, active_targets(batch.targets, rows))
            made.step(batch, number, step=number)
            yield time.perf_counter() - started

    return steps()


def masked_arrays(batch: Any) -> dict[str, Any]:
    labels = np.full(batch.input_ids.shape, -100)
    labels.reshape(-1)[batch.positions[batch.targets >= 0]] = batch.targets[batch.targets >= 0]
    return {"input_ids": batch.input_ids.numpy(), "labels": labels}


def active_targets(targets: Any, rows: int) -> Any:
    return targets.where(targets < 0, targets // rows * rows)


def our_loss(objective: Any, arrays: dict[str, Any], rows: int) -> float:
    import torch

    from extend.masking import MaskedBatch

    objective.model.eval()
    labels = torch.from_numpy(arrays["labels"]).flatten()
    positions = (labels != -100).nonzero().flatten()
    targets = active_targets(labels[positions], rows)
    batch = MaskedBatch(torch.from_numpy(arrays["input_ids"]), positions, targets)
    with torch.no_grad():
        return float(objective(batch.to(objective.model.device)).mlm)


def answer_first(end: Connection, first: Any, loss: Callable[[Any], float]) -> None:
    given = end.recv()
    if isinstance(given, str):
        end.send(first)
        given = end.recv()
    end.send(loss(given))


def trainer(work: Work, folder: Path, end: Connection, *, bf16: bool) -> None:
    """Trainer's own loop, which waits for its turn after every step."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import (
        DataCollatorForLanguageModeling,
        PreTrainedTokenizerFast,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    pieces = {piece: number for number, piece in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"))}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(pieces, "[UNK]")), pad_token="[PAD]",
        unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip
    samples = [sample for step in range(work.steps + 1) for sample in tokenised(work, step)]
    collator = DataCollatorForLanguageModeling(tokenizer, whole_word_mask=True)

    class Turns(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.wait()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if work.device == "cuda":
                torch.cuda.synchronize()
            self.made += 1
            end.send(time.perf_counter() - self.started)
            if self.made < work.steps:
                self.wait()

        def wait(self) -> None:
            end.recv()
            self.started = time.perf_counter()

        made, started = 0, 0.0

    arguments = TrainingArguments(
        str(folder), max_steps=work.steps, per_device_train_batch_size=work.batch, bf16=bf16,
        use_cpu=work.device == "cpu", remove_unused_columns=False, disable_tqdm=True,
        save_strategy="no",
    )  # fmt: skip
    made = Trainer(fresh(work), arguments, data_collator=collator, train_dataset=samples, callbacks=[Turns()])
    first = {name: value.numpy() for name, value in collator(samples[: work.batch]).items()}
    answer_first(end, first, lambda arrays: their_loss(made.model, arrays, work.device))
    made.train()


def tokenised(work: Work, step: int) -> Iterator[dict[str, Any]]:
    """Samples as a fast tokenizer gives them; the pieces of a word touch each other."""
    ids, starts = text(work, step)
    for row, begins in zip(ids, starts, strict=True):
        ends = np.cumsum(1 + begins)
        special = np.isin(row, range(SPECIAL)).astype(int)
        yield {
            "input_ids": row.tolist(),
            "special_tokens_mask": special.tolist(),
            "offset_mapping": [
                (0, 0) if one else (end - 1, end) for one, end in zip(special, ends.tolist(), strict=True)
            ],
        }


def their_loss(model: Any, arrays: dict[str, Any], device: str) -> float:
    import torch

    model.eval()
    given = {name: torch.from_numpy(arrays[name]).to(device) for name in ("input_ids", "labels")}
    with torch.no_grad():
        return float(model(**given).loss)


if __name__ == "__main__":
    main()
