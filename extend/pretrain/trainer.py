"""One stage's optimizer steps: forward and backward in parts, checked, clipped, AdamW."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol, final, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from extend.errors import DivergedError, OutOfMemoryError
from extend.masking import MaskedBatch, counter_bits
from extend.pretrain.gradients import sum_gradients_
from extend.pretrain.objectives import AbstractObjective, Losses, objective_of
from extend.pretrain.schedule import Stage
from extend.pretrain.team import Team

_DROPOUT = 31
"""Purpose number of the draws that seed dropout."""


@runtime_checkable
class Pull(Protocol):
    """What changes weights after the optimizer did."""

    def pull_(self, trained: Mapping[str, nn.Parameter], *, rate: float) -> None:
        """`trained` by the objective's names, `rate` the learning rate of the update."""
        ...


@dataclass(frozen=True)
class StepResult:
    """What one step's batch gave, over all processes. Losses in nats; `grad_norm` before clipping."""

    loss: float
    mlm_loss: float
    nsp_loss: float | None
    grad_norm: float
    learning_rate: float
    tokens: int

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


def _objective(model: PreTrainedModel, stage: Stage) -> AbstractObjective:
    return objective_of(model, stage.trains, first_new=stage.first_new)


@dataclass(frozen=True)
class StepOptions:
    """How a step is made: at most `micro_batch` samples a forward pass (None: all at once), by torch.compile
    when `compiled`. `pulls` change weights after each update, `objective` makes a stage's objective."""

    micro_batch: int | None = None
    compiled: bool = False
    pulls: Sequence[Pull] = ()
    objective: Callable[[PreTrainedModel, Stage], AbstractObjective] = _objective


@final
class StageTrainer:
    """The objective and the optimizer of one stage, in one process of a team.

    AdamW (Loshchilov and Hutter 2019) with betas 0.9 and 0.999; weight decay spares biases and
    normalisation, as BERT's code does. A step's loss is the sum over its predictions, in whatever parts and
    processes, divided by their global count, so that neither changes it but for rounding.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        stage: Stage,
        *,
        seed: int,
        weight_decay: float,
        clip: float,
        dtype: torch.dtype | None,
        options: StepOptions | None = None,
        team: Team | None = None,
    ) -> None:
        self.stage, self.seed, self.clip, self.dtype = stage, seed, clip, dtype
        self.options = options or StepOptions()
        self.team = team or Team(device=next(model.parameters()).device)
        self.objective = self.options.objective(model, stage)
        self.trained = self.objective.trained()
        decayed = [parameter for parameter in self.trained.values() if parameter.ndim > 1]
        spared = [parameter for parameter in self.trained.values() if parameter.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=stage.rate, fused=True)
        compiled = self.options.compiled
        self._losses: Callable[..., Losses] = torch.compile(self.objective) if compiled else self.objective
        model.train()

    def step(self, batch: MaskedBatch, within: int, *, step: int) -> StepResult:
        """`measure`, then `update`. Raises DivergedError, with nothing updated, when loss or gradient are not
        finite."""
        result = self.measure(batch, within, step=step)
        if not result.is_finite:
            raise DivergedError(
                f"loss {result.loss}, gradient norm {result.grad_norm} at step {step + 1}", name="E-DIVERGED"
            )
        self.update(result)
        return result

    def measure(self, batch: MaskedBatch, within: int, *, step: int) -> StepResult:
        """Losses and gradients of this process's share of step number `step` of the run (from 0), number
        `within` of the stage. Nothing is updated nor clipped. The result is the same in every process.

        Raises OutOfMemoryError when memory does not suffice, WorkerError when another process died.
        """
        rate = self.stage.learning_rate(within)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        pairs = 0 if batch.next_sentence is None else len(batch.next_sentence)
        tokens = batch.input_ids.numel()
        predictions, pairs, tokens = self.team.sum(batch.predictions, pairs, tokens)
        with memory_told(self.options.micro_batch or len(batch.input_ids)):
            summed = self._forward_and_backward(batch, step, predictions=predictions, pairs=pairs)
            if self.team.size > 1:
                with self.team.told():
                    sum_gradients_(self.trained.values(), summed)
            gradients = [value.grad for value in self.trained.values() if value.grad is not None]
            norm = nn.utils.get_total_norm(gradients)
            total, mlm, nsp, grad_norm = torch.cat((summed, norm.reshape(1))).tolist()
        return StepResult(total, mlm, nsp if pairs else None, grad_norm, rate, tokens)

    def update(self, result: StepResult) -> None:
        """Apply the gradients that `measure` left, clipped: AdamW divides them while it reads them, and where
        their norm is within bounds nothing is multiplied."""
        excess = (result.grad_norm + 1e-6) / self.clip
        scale = torch.tensor(excess, device=self.team.device) if excess > 1 else None
        self.optimizer.grad_scale = scale  # type: ignore[attr-defined]  # as torch's GradScaler hands it over
        self.optimizer.step()
        for pull in self.options.pulls:
            pull.pull_(self.trained, rate=result.learning_rate)

    def _forward_and_backward(self, batch: MaskedBatch, step: int, *, predictions: int, pairs: int) -> Tensor:
        """Gradients are left in the parameters; the sums of total, MLM and NSP loss are returned."""
        device, share = self.team.device, len(batch.input_ids)
        size = self.options.micro_batch or share
        summed = torch.zeros(3, device=device)
        seeds = self._dropout_seeds(step, -(-share // size))
        for number, begin in enumerate(range(0, share, size)):
            part = batch if size >= share else batch.part(begin, min(begin + size, share))
            torch.manual_seed(seeds[number])
            with torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype is not None):
                losses = self._losses(part.to(device), predictions=predictions, pairs=pairs)
            losses.total.backward()
            nsp = torch.zeros_like(losses.mlm) if losses.nsp is None else losses.nsp
            summed += torch.stack((losses.total, losses.mlm, nsp)).detach()
        return summed

    def _dropout_seeds(self, step: int, count: int) -> list[int]:
        """A seed for every part of every process's share, a pure function of (seed, step, rank, part)."""
        width = (self.team.rank + 1) * count
        drawn = counter_bits(self.seed, _DROPOUT, np.array([step]), width)[0, -count:]
        return [int(bits >> np.uint64(1)) for bits in drawn]


def pinned(batch: MaskedBatch) -> MaskedBatch:
    """The same batch in memory that a GPU copies from on its own."""
    moved = {one.name: getattr(batch, one.name) for one in fields(batch)}
    return replace(batch, **{name: value.pin_memory() for name, value in moved.items() if value is not None})


@contextlib.contextmanager
def memory_told(samples: int) -> Iterator[None]:
    """A block whose want of memory is told as an OutOfMemoryError that names `micro_batch`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if _is_want_of_memory(error):
            raise _out_of_memory(error, samples) from error
        raise


def _is_want_of_memory(error: BaseException) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _out_of_memory(error: BaseException, samples: int) -> OutOfMemoryError:
    on_gpu = isinstance(error, torch.OutOfMemoryError)
    peak = f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB were in use at most" if on_gpu else ""
    return OutOfMemoryError(
        f"{'the GPU' if on_gpu else 'this machine'} has too little memory for {samples} samples at once",
        name="E-OOM",
        why=f"micro_batch is {samples}{peak}",
        done="nothing was updated; the last checkpoint is intact",
        next=f"--set pretrain.micro_batch={max(1, samples // 2)}, which keeps batches and their order",
    )
