"""One stage's optimizer steps: forward, checked backward, clipped AdamW."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from extend.errors import DivergedError
from extend.masking import MaskedBatch
from extend.pretrain.objectives import objective_of
from extend.pretrain.schedule import Stage

_SEED_STRIDE = 1_000_003


@dataclass(frozen=True)
class StepResult:
    """What one update did. Losses in nats; `grad_norm` before clipping."""

    loss: float
    mlm_loss: float
    nsp_loss: float | None
    grad_norm: float
    learning_rate: float
    tokens: int


@final
class StageTrainer:
    """The objective and the optimizer of one stage.

    AdamW (Loshchilov and Hutter 2019) with betas 0.9 and 0.999; weight decay spares biases and
    normalisation, as BERT's code does.
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
    ) -> None:
        self.stage, self.seed, self.clip, self.dtype = stage, seed, clip, dtype
        self.objective = objective_of(model, stage.trains, first_new=stage.first_new)
        self.trained = self.objective.trained()
        self.device = next(model.parameters()).device
        decayed = [parameter for parameter in self.trained.values() if parameter.ndim > 1]
        spared = [parameter for parameter in self.trained.values() if parameter.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=stage.rate, fused=True)
        model.train()

    def step(self, batch: MaskedBatch, within: int, *, step: int) -> StepResult:
        """Step number `within` of the stage, number `step` of the run (both from 0).

        Raises DivergedError before anything is updated when the loss or the gradient is not finite.
        """
        torch.manual_seed(self.seed * _SEED_STRIDE + step)
        rate = self.stage.learning_rate(within)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            losses = self.objective(batch.to(self.device))
        losses.total.backward()
        norm = float(nn.utils.clip_grad_norm_(self.trained.values(), self.clip))
        loss = float(losses.total.detach())
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise DivergedError(
                f"training diverged at step {step + 1}: loss {loss}, gradient norm {norm}",
                name="E-DIVERGED",
                done="the step was not applied; the last checkpoint is intact",
                next="lower the learning rate, or set pretrain.precision = 'fp32'",
            )
        self.optimizer.step()
        return StepResult(
            loss, float(losses.mlm.detach()), _number(losses.nsp), norm, rate, batch.input_ids.numel()
        )


def _number(value: Tensor | None) -> float | None:
    return None if value is None else float(value.detach())
