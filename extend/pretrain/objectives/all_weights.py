"""Every weight is trained."""

from typing import final

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from extend.pretrain.objectives.abstract import AbstractObjective


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
