"""New rows alone are trained, as parameters of their own beside frozen old rows.

Artetxe, Ruder and Yogatama 2020 (arXiv 1910.11856): what is old cannot move, whatever the optimizer does.
"""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from extend.pretrain.objectives.abstract import AbstractObjective


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
