"""First values for added embedding rows and decoder biases: one final frozen dataclass a method.

Fields are settings, the call is the formula: tensors in, tensors out, no file, no log line. Every method
computes in float32, leaves `base` as it is, and gives the same bytes for the same generator state. A new
method is a class here and its line in INITIALIZERS.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, final

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from extend.types import Segmentation


@final
@dataclass(frozen=True, slots=True)
class RowOrigin:
    """How one new row was made.

    `sources` are the base ids that it is a weighted sum of (empty for draws and for the mean of all rows);
    `fallback` names the method used instead of `method`, `why` the reason.
    """

    method: str
    sources: tuple[tuple[int, float], ...] = ()
    fallback: str | None = None
    why: str | None = None

    def as_json(self) -> dict[str, object]:
        return {
            "method": self.method,
            "sources": [[source, weight] for source, weight in self.sources],
            "fallback": self.fallback,
            "why": self.why,
        }


@final
@dataclass(frozen=True, slots=True)
class NewRows:
    """What an initialiser returns, in the order of its segmentations.

    rows: (added, hidden); bias: (added,), both in the type of the base; origins: one a row.
    """

    rows: Tensor
    bias: Tensor
    origins: tuple[RowOrigin, ...]


class Initializer(Protocol):
    """The call every method has.

    `base` and `base_bias` are the rows and decoder biases of the old vocabulary, `segmentations` the base
    ids that spell each new piece, `unknown` the id of the unknown piece.
    """

    def __call__(
        self,
        base: Float[Tensor, "base hidden"],
        base_bias: Float[Tensor, " base"],
        segmentations: Sequence[Segmentation],
        generator: Generator,
        *,
        unknown: int,
    ) -> NewRows: ...


@final
@dataclass(frozen=True)
class Paper:
    """Truncated normal around 0, cut at two `std`; bias 0.

    Wang, K, Mayhew and Roth 2020, "Extending Multilingual BERT to Low-Resource Languages": the rows of a
    freshly built BERT. As in TensorFlow, `std` is that of the normal before it is cut (the cut leaves 0.88
    of it). We draw by inverting the distribution function, not by drawing again: the same law.
    """

    std: float = 0.02

    def __call__(
        self,
        base: Float[Tensor, "base hidden"],
        base_bias: Float[Tensor, " base"],
        segmentations: Sequence[Segmentation],
        generator: Generator,
        *,
        unknown: int,
    ) -> NewRows:
        rows = torch.empty(len(segmentations), base.shape[1])
        nn.init.trunc_normal_(rows, std=self.std, a=-2 * self.std, b=2 * self.std, generator=generator)
        origins = (RowOrigin("paper"),) * len(segmentations)
        return NewRows(rows.to(base.dtype), base_bias.new_zeros(len(segmentations)), origins)


@final
@dataclass(frozen=True)
class NormalOfRows:
    """Each dimension from a normal with the mean and deviation of the old rows; bias the mean of the old.

    The random fallback of WECHSEL (Minixhofer et al. 2022) and FOCUS (Dobler and de Melo 2023). The bias is
    ours: zero would make new pieces over-likely where the old biases lie below zero.
    """

    def __call__(
        self,
        base: Float[Tensor, "base hidden"],
        base_bias: Float[Tensor, " base"],
        segmentations: Sequence[Segmentation],
        generator: Generator,
        *,
        unknown: int,
    ) -> NewRows:
        added = len(segmentations)
        rows = _normal_rows(base, added, generator)
        return NewRows(rows.to(base.dtype), _mean_bias(base_bias, added), (RowOrigin("normal"),) * added)


@final
@dataclass(frozen=True)
class MeanOfRows:
    """Every new row is the mean of all old rows, its bias the mean of the old biases.

    Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models", the mean without the
    noise: for a softmax without bias it bounds how far old predictions move.
    """

    def __call__(
        self,
        base: Float[Tensor, "base hidden"],
        base_bias: Float[Tensor, " base"],
        segmentations: Sequence[Segmentation],
        generator: Generator,
        *,
        unknown: int,
    ) -> NewRows:
        added = len(segmentations)
        rows = base.detach().float().mean(dim=0).expand(added, -1).to(base.dtype).contiguous()
        return NewRows(rows, _mean_bias(base_bias, added), (RowOrigin("mean"),) * added)


@final
@dataclass(frozen=True)
class SubwordMean:
    """The mean of the base rows that spell the new piece; the bias is the mean of their biases.

    Fast Vocabulary Transfer (Gee et al. 2022, equation 2). We differ: the spelling keeps the mark of a
    continuation, so `##x` and `x` start apart; unknown pieces are left out of the mean; a piece with no
    known one falls back to NormalOfRows, and its bias to the mean of the old biases; the bias is set at all.
    """

    def __call__(
        self,
        base: Float[Tensor, "base hidden"],
        base_bias: Float[Tensor, " base"],
        segmentations: Sequence[Segmentation],
        generator: Generator,
        *,
        unknown: int,
    ) -> NewRows:
        known = [tuple(source for source in ids if source != unknown) for ids in segmentations]
        bare = torch.tensor([not sources for sources in known], dtype=torch.bool)
        rows = _bag_means(base, known)
        rows[bare] = _normal_rows(base, int(bare.sum()), generator)
        bias = _bag_means(base_bias[:, None], known)[:, 0]
        bias[bare] = base_bias.detach().float().mean()
        origins = tuple(
            _subword_origin(sources, spelled) for sources, spelled in zip(known, segmentations, strict=True)
        )
        return NewRows(rows.to(base.dtype), bias.to(base_bias.dtype), origins)


def _subword_origin(sources: Sequence[int], spelled: Segmentation) -> RowOrigin:
    if not sources:
        why = "every base piece of it is unknown" if spelled else "no base piece spells it"
        return RowOrigin("subword", fallback="normal", why=why)
    weight = 1 / len(sources)
    return RowOrigin("subword", tuple((source, weight) for source in sources))


def _bag_means(
    table: Float[Tensor, "base width"], bags: Sequence[Sequence[int]]
) -> Float[Tensor, "bags width"]:
    """The mean of each bag's rows in float32; an empty bag gives zeros."""
    ids, offsets = _flattened(bags)
    if not len(ids):
        return torch.zeros(len(bags), table.shape[1])
    used, compact = ids.unique(return_inverse=True)
    return nn.functional.embedding_bag(compact, table.detach()[used].float(), offsets, mode="mean")


def _flattened(bags: Sequence[Sequence[int]]) -> tuple[Int[Tensor, " ids"], Int[Tensor, " bags"]]:
    lengths = torch.tensor([len(bag) for bag in bags], dtype=torch.long)
    ids = torch.tensor([source for bag in bags for source in bag], dtype=torch.long)
    return ids, lengths.cumsum(0) - lengths


def _normal_rows(
    base: Float[Tensor, "base hidden"], added: int, generator: Generator
) -> Float[Tensor, "added hidden"]:
    rows = base.detach().float()
    std, mean = torch.std_mean(rows, dim=0, correction=0)
    return mean + std * torch.randn(added, rows.shape[1], generator=generator)


def _mean_bias(base_bias: Float[Tensor, " base"], added: int) -> Float[Tensor, " added"]:
    return base_bias.detach().float().mean().expand(added).to(base_bias.dtype).contiguous()


INITIALIZERS: Mapping[str, type[Initializer]] = {
    "subword": SubwordMean,
    "paper": Paper,
    "normal": NormalOfRows,
    "mean": MeanOfRows,
}
