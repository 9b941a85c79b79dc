"""What is minimised: cross-entropy at the masked positions only, and next-sentence loss beside it.

The vocabulary projection of a grown mBERT is 57 % of a step's arithmetic when every position gets logits;
here only the masked ones do, which gives the same loss. What is trained is the objectives' own business.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

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

    def forward(
        self, batch: MaskedBatch, *, predictions: int | None = None, pairs: int | None = None
    ) -> Losses:
        """Losses of one part of a step's batch, divided by the counts of the whole.

        `predictions` and `pairs` are counted over all parts and processes, by default over this part, so
        that the losses and gradients of the parts add up to those of the whole. A batch without predictions
        has loss 0, not NaN.
        """
        inputs = {"attention_mask": batch.attention_mask, "token_type_ids": batch.segments}
        given = {name: value for name, value in inputs.items() if value is not None}
        hidden = self.architecture.encode(self.model, self.embed(batch.input_ids), **given)
        rows = hidden.flatten(0, 1).index_select(0, batch.positions)
        scores = self.logits(self.architecture.prepare(self.model, rows)).float()
        summed = nn.functional.cross_entropy(scores, batch.targets, reduction="sum")
        mlm = summed / max(1, len(batch.targets) if predictions is None else predictions)
        if batch.next_sentence is None:
            return Losses(mlm, mlm, None)
        pair_scores = self.architecture.next_sentence_logits(self.model, hidden).float()
        summed = nn.functional.cross_entropy(pair_scores, batch.next_sentence, reduction="sum")
        nsp = summed / (len(batch.next_sentence) if pairs is None else pairs)
        return Losses(mlm + nsp, mlm, nsp)
