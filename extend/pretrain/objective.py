"""What is minimised: cross-entropy at the masked positions only, and next-sentence loss beside it.

The vocabulary projection of a grown mBERT is 57 % of a step's arithmetic when every position gets logits;
here only the masked ones do, which gives the same loss. Two objectives share that: one trains every weight,
the other new rows alone, as parameters of their own beside frozen old rows (Artetxe, Ruder, Yogatama 2020),
so that no optimizer can move what is old.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from extend.architectures import architecture_of
from extend.masking import MaskedBatch


class Losses(NamedTuple):
    """Means over predictions (nats) and over pairs; `total` is what is differentiated."""

    total: Tensor
    mlm: Tensor
    nsp: Tensor | None


class AbstractObjective(nn.Module, ABC):
    """A model and the way its tokens are embedded and predicted."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.architecture = architecture_of(model)
        self.is_tied = self.architecture.output(model) is self.architecture.embedding(model)
        self.has_bias = self.architecture.has_bias(model)

    @abstractmethod
    def embed(self, ids: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq hidden"]:
        """Embeddings before positions and normalisation."""

    @abstractmethod
    def logits(self, prepared: Float[Tensor, "predictions hidden"]) -> Float[Tensor, "predictions vocab"]:
        """Decoder scores of the whole vocabulary."""

    @abstractmethod
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that this objective trains, by a stable name."""

    @abstractmethod
    def finish_(self) -> None:
        """Put what was trained back into the model."""

    def forward(self, batch: MaskedBatch) -> Losses:
        """Losses of one batch; a batch without predictions has loss 0, not NaN."""
        inputs = {"attention_mask": batch.attention_mask, "token_type_ids": batch.segments}
        given = {name: value for name, value in inputs.items() if value is not None}
        hidden = self.architecture.encode(self.model, self.embed(batch.input_ids), **given)
        rows = hidden.flatten(0, 1).index_select(0, batch.positions)
        scores = self.logits(self.architecture.prepare(self.model, rows)).float()
        summed = nn.functional.cross_entropy(scores, batch.targets, reduction="sum")
        mlm = summed / max(1, len(batch.targets))
        if batch.next_sentence is None:
            return Losses(mlm, mlm, None)
        pair_scores = self.architecture.next_sentence_logits(self.model, hidden).float()
        nsp = nn.functional.cross_entropy(pair_scores, batch.next_sentence)
        return Losses(mlm + nsp, mlm, nsp)


@final
class AllWeights(AbstractObjective):
    """Trains everything; where input embedding and decoder are tied they are one parameter."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model)
        for parameter in model.parameters():
            parameter.requires_grad_(True)

    def embed(self, ids: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq hidden"]:
        return nn.functional.embedding(ids, self.architecture.embedding(self.model))

    def logits(self, prepared: Float[Tensor, "predictions hidden"]) -> Float[Tensor, "predictions vocab"]:
        weight, bias = self.architecture.output(self.model), self.architecture.bias(self.model)
        return nn.functional.linear(prepared, weight, bias)

    def trained(self) -> dict[str, nn.Parameter]:
        return dict(self.model.named_parameters())

    def finish_(self) -> None:
        return None


@final
class NewRows(AbstractObjective):
    """Trains the rows and biases from `first_new` on; everything older is frozen and not even decayed.

    A decoder that is not tied has new rows of its own, `outputs`.
    """

    def __init__(self, model: PreTrainedModel, *, first_new: int) -> None:
        super().__init__(model)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        weight, bias = self.architecture.embedding(model), self.architecture.bias(model)
        self.first_new = first_new
        self.rows = nn.Parameter(weight[first_new:].detach().clone())
        output = self.architecture.output(model)
        self.outputs = self.rows if self.is_tied else nn.Parameter(output[first_new:].detach().clone())
        self.biases = nn.Parameter(bias[first_new:].detach().clone(), requires_grad=self.has_bias)

    def embed(self, ids: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq hidden"]:
        old = nn.functional.embedding(ids, self.architecture.embedding(self.model))
        new = nn.functional.embedding((ids - self.first_new).clamp(min=0), self.rows)
        return torch.where((ids >= self.first_new).unsqueeze(-1), new, old)

    def logits(self, prepared: Float[Tensor, "predictions hidden"]) -> Float[Tensor, "predictions vocab"]:
        weight, bias = self.architecture.output(self.model), self.architecture.bias(self.model)
        old = nn.functional.linear(prepared, weight[: self.first_new], bias[: self.first_new])
        return torch.cat((old, nn.functional.linear(prepared, self.outputs, self.biases)), dim=-1)

    def trained(self) -> dict[str, nn.Parameter]:
        trained = {"rows": self.rows}
        trained |= {} if self.is_tied else {"outputs": self.outputs}
        return trained | ({"biases": self.biases} if self.has_bias else {})

    def finish_(self) -> None:
        grown = self.architecture.vocabulary_parameters(self.model)
        new = {"embedding": self.rows, "output": self.outputs, "bias": self.biases, "twin": self.biases}
        with torch.no_grad():
            for name, parameter in grown.items():
                parameter[self.first_new :] = new[name]


def device_of_choice() -> torch.device:
    """The first GPU when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The type of autocast matrix products: bfloat16 where the hardware has it (`auto`), or none (fp32).

    Weights, gradients and optimizer state stay in float32: in pure bfloat16 small updates are lost.
    """
    if precision == "fp32":
        return None
    if precision == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else None
