"""What is minimised: cross-entropy at the masked positions only, and next-sentence loss beside it.

The vocabulary projection of a grown mBERT is 57 % of a step's arithmetic when every position gets logits;
here only the masked ones do, which gives the same loss. What is trained is the objectives' own business.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from extend.architectures import architecture_of
from extend.attention import attention_inputs
from extend.masking import MaskedBatch
from extend.pretrain.keeping import Keeper
from extend.pretrain.objectives.cpu_attention import attention_for_cpu
from extend.pretrain.objectives.cpu_dropout import dropout_for_cpu
from extend.pretrain.objectives.cross_entropy import fused_cross_entropy
from extend.pretrain.objectives.vocabulary import AbstractVocabulary


class Losses(NamedTuple):
    """Means over predictions (nats) and over pairs; `total` is what is differentiated: both, and what keepers
    add."""

    total: Tensor
    mlm: Tensor
    nsp: Tensor | None


class AbstractObjective(nn.Module, ABC):
    """A model, the rows it reads and scores with, and what is added to its loss."""

    def __init__(
        self, model: PreTrainedModel, vocabulary: AbstractVocabulary, keepers: Sequence[Keeper]
    ) -> None:
        super().__init__()
        self.model, self.vocabulary, self.keepers = model, vocabulary, tuple(keepers)
        self.architecture = architecture_of(model)

    @abstractmethod
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that this objective trains, by a stable name."""

    def embed(self, ids: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq hidden"]:
        """Embeddings before positions and normalisation."""
        return self.vocabulary.lookup(ids, None)

    def finish_(self) -> None:
        """Put what was trained back into the model."""
        self.vocabulary.finish_()

    def forward(
        self, batch: MaskedBatch, *, predictions: int | None = None, pairs: int | None = None
    ) -> Losses:
        """Losses of one part of a step's batch, divided by the counts of the whole.

        `predictions` and `pairs` are counted over all parts and processes, by default over this part, so
        that the losses and gradients of the parts add up to those of the whole. A batch without predictions
        has loss 0, not NaN.
        """
        divisor = max(1, batch.predictions if predictions is None else predictions)
        shared = self.vocabulary.shared() if torch.is_grad_enabled() else None
        given = attention_inputs(self.model, batch)
        with attention_for_cpu(self.model), dropout_for_cpu(self.model):
            embedded = self.vocabulary.lookup(batch.input_ids, shared)
            hidden = self.architecture.encode(self.model, embedded, **given)
        rows = hidden.flatten(0, 1).index_select(0, batch.positions)
        prepared = self.architecture.prepare(self.model, rows)
        tables, targets = self.vocabulary.tables(), self.vocabulary.places(batch.targets)
        mlm = fused_cross_entropy(prepared, tables, targets, divisor=divisor, shared=shared)
        total = mlm
        for keeper in self.keepers:
            total = total + keeper.loss(
                batch, lambda chosen: self._scores(prepared[chosen]), predictions=divisor
            )
        if batch.next_sentence is None:
            return Losses(total, mlm, None)
        pair_scores = self.architecture.next_sentence_logits(self.model, hidden).float()
        summed = nn.functional.cross_entropy(pair_scores, batch.next_sentence, reduction="sum")
        nsp = summed / (len(batch.next_sentence) if pairs is None else pairs)
        return Losses(total + nsp, mlm, nsp)

    def _scores(self, prepared: Float[Tensor, "chosen width"]) -> Float[Tensor, "chosen ids"]:
        """Logits over all that the softmax runs over, with their graph."""
        tables = self.vocabulary.tables()
        return torch.cat([nn.functional.linear(prepared, *table) for table in tables], dim=-1)
