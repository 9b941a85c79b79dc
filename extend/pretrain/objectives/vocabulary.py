"""The rows that a model reads tokens from and scores them with: which are trained, where they are."""

from abc import ABC, abstractmethod
from typing import Any, cast, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

from extend.architectures import architecture_of
from extend.pretrain.objectives.cross_entropy import RowGradient, Table


class AbstractVocabulary(nn.Module, ABC):
    """How ids become rows, and what the softmax runs over. The model is only referred to, not held."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.architecture = architecture_of(model)
        self.is_tied = self.architecture.output(model) is self.architecture.embedding(model)
        self.has_bias = self.architecture.has_bias(model)

    @abstractmethod
    def lookup(
        self, ids: Int[Tensor, "batch seq"], shared: RowGradient | None
    ) -> Float[Tensor, "batch seq width"]:
        """Input embeddings. The gradient of trained rows takes up what the decoder left in `shared`."""

    @abstractmethod
    def tables(self) -> list[Table]:
        """What the softmax runs over, ids ascending; the trained rows are the last table."""

    @abstractmethod
    def places(self, ids: Int[Tensor, " ids"]) -> Int[Tensor, " ids"]:
        """Numbers of ids counted through `tables`; what is negative stays."""

    @abstractmethod
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained."""

    @abstractmethod
    def finish_(self) -> None:
        """Put what was trained back into the model."""

    def shared(self) -> RowGradient | None:
        """For one forward pass: where a tied decoder leaves the gradient of its rows."""
        return RowGradient(len(self.tables()) - 1) if self.is_tied else None


@final
class WholeVocabulary(AbstractVocabulary):
    """The model's own parameters, every row trained."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model)
        self.parts = self.architecture.vocabulary_parameters(model)
        self.bias = self.architecture.bias(model)
        named = {id(parameter): name for name, parameter in model.named_parameters()}
        self.names = {part: named[id(parameter)] for part, parameter in self.parts.items()}

    def lookup(
        self, ids: Int[Tensor, "batch seq"], shared: RowGradient | None
    ) -> Float[Tensor, "batch seq width"]:
        return rows_of(self.parts["embedding"], ids, shared)

    def tables(self) -> list[Table]:
        return [Table(self.parts.get("output", self.parts["embedding"]), self.bias)]

    def places(self, ids: Int[Tensor, " ids"]) -> Int[Tensor, " ids"]:
        return ids

    def trained(self) -> dict[str, nn.Parameter]:
        return {self.names[part]: value for part, value in self.parts.items() if part != "twin"}

    def finish_(self) -> None:
        return None


@final
class ChosenRows(AbstractVocabulary):
    """Some rows as parameters of their own, beside a model whose vocabulary is frozen.

    What is not chosen gets neither gradient nor optimizer state, and no weight decay can move it. A decoder
    that is not tied has chosen rows of its own, `outputs`.

    Args:
        chosen: ids of the rows to train, ascending.
        beside: ids of frozen rows that the softmax runs over as well, ascending and below those chosen; a
            slice for rows that follow each other, which are then not copied.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        chosen: Int[Tensor, " chosen"],
        *,
        beside: slice | Int[Tensor, " beside"] | None = None,
    ) -> None:
        super().__init__(model)
        parts = self.architecture.vocabulary_parameters(model)
        for parameter in parts.values():
            parameter.requires_grad_(False)
        embedding, output = self.architecture.embedding(model), self.architecture.output(model)
        bias = self.architecture.bias(model)
        self.parts, self.embedding, self.chosen = parts, embedding, chosen.to(embedding.device)
        self.rows = nn.Parameter(embedding[self.chosen].detach())
        self.outputs = self.rows if self.is_tied else nn.Parameter(output[self.chosen].detach())
        self.biases = nn.Parameter(bias[self.chosen].detach(), requires_grad=self.has_bias)
        self.row_of = _numbered(self.chosen, len(embedding), first=0)
        beside = beside.to(embedding.device) if isinstance(beside, Tensor) else beside
        self.frozen = None if beside is None else Table(output.detach()[beside], bias.detach()[beside])
        first = 0 if self.frozen is None else len(self.frozen.bias)
        self.place_of = _numbered(self.chosen, len(embedding), first=first)
        if beside is not None:
            self.place_of[beside] = torch.arange(first, device=embedding.device)

    def lookup(
        self, ids: Int[Tensor, "batch seq"], shared: RowGradient | None
    ) -> Float[Tensor, "batch seq width"]:
        numbers = self.row_of[ids]
        trained = rows_of(self.rows, numbers, shared)
        return torch.where(
            (numbers >= 0).unsqueeze(-1), trained, nn.functional.embedding(ids, self.embedding)
        )

    def tables(self) -> list[Table]:
        trained = Table(self.outputs, self.biases)
        return [trained] if self.frozen is None else [self.frozen, trained]

    def places(self, ids: Int[Tensor, " ids"]) -> Int[Tensor, " ids"]:
        found = self.place_of[ids.clamp(min=0)]
        torch._assert_async(((found >= 0) | (ids < 0)).all(), "a target is outside the softmax")
        return torch.where(ids < 0, ids, found)

    def trained(self) -> dict[str, nn.Parameter]:
        trained = {"rows": self.rows}
        trained |= {} if self.is_tied else {"outputs": self.outputs}
        return trained | ({"biases": self.biases} if self.has_bias else {})

    def finish_(self) -> None:
        new = {"embedding": self.rows, "output": self.outputs, "bias": self.biases, "twin": self.biases}
        with torch.no_grad():
            for name, parameter in self.parts.items():
                parameter[self.chosen] = new[name]


def rows_of(
    rows: Float[Tensor, "rows width"], numbers: Int[Tensor, "batch seq"], shared: RowGradient | None
) -> Float[Tensor, "batch seq width"]:
    """The rows of these numbers; for a negative number some row, which gets no gradient from it."""
    return cast(Tensor, _apply(rows, numbers, shared))


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, numbers: Tensor, shared: RowGradient | None) -> Tensor:
        ctx.save_for_backward(numbers)
        ctx.like, ctx.shared = rows.new_empty(0), shared
        ctx.shape = rows.shape
        return nn.functional.embedding(numbers.clamp(min=0), rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (numbers,) = ctx.saved_tensors
        numbers, gradient = numbers.flatten(), gradient.flatten(0, 1).to(ctx.like.dtype)
        gradient = gradient.masked_fill((numbers < 0).unsqueeze(1), 0.0)
        taken = None if ctx.shared is None else ctx.shared.taken()
        whole = ctx.like.new_zeros(ctx.shape) if taken is None else taken
        return whole.index_add_(0, numbers.clamp(min=0), gradient), None, None


_apply: Any = torch.compiler.disable(_Lookup.apply)


def _numbered(ids: Int[Tensor, " ids"], size: int, *, first: int) -> Int[Tensor, " size"]:
    """The number, from `first`, of each of `ids`; -1 for every other id."""
    numbers = torch.full((size,), -1, device=ids.device)
    numbers[ids] = torch.arange(first, first + len(ids), device=ids.device)
    return numbers
