"""Rows that are drawn, or the same for all: they look at the old rows as a whole, not at the new piece."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from extend.initializers.linear_algebra import gram, one_thread, times
from extend.initializers.nouns import NOTHING, NewRows, RowOrigin
from extend.types import Segmentation


@final
@dataclass(frozen=True)
class Paper:
    """Truncated normal around 0, cut at two `std`; bias 0.

    Wang, K, Mayhew and Roth 2020, "Extending Multilingual BERT to Low-Resource Languages": the rows of a
    freshly built BERT. As in TensorFlow, `std` is that of the normal before it is cut (the cut leaves 0.88
    of it). We draw by inverting the distribution function, not by drawing again: the same law.
    """

    std: float = 0.02
    needs: ClassVar[frozenset[str]] = NOTHING

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

    needs: ClassVar[frozenset[str]] = NOTHING

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
        rows = normal_rows(base, added, generator)
        return NewRows(rows.to(base.dtype), mean_bias(base_bias, added), (RowOrigin("normal"),) * added)


@final
@dataclass(frozen=True)
class MeanOfRows:
    """Every new row is the mean of all old rows, its bias the mean of the old biases.

    Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models", the mean without the
    noise: for a softmax without bias it bounds how far old predictions move.
    """

    needs: ClassVar[frozenset[str]] = NOTHING

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
        return NewRows(rows, mean_bias(base_bias, added), (RowOrigin("mean"),) * added)


@final
@dataclass(frozen=True)
class NormalWithCovariance:
    """A normal with the mean and the full covariance of the old rows; bias the mean of the old.

    Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models": mean, and covariance
    over n. The factor is the symmetric root by eigenvalues, which any covariance has, singular ones too.
    We differ from `resize_token_embeddings` of transformers, which multiplies the covariance by 1e-9 and so
    gives rows that are nearly one another's copies: our `scale` is 1.
    """

    scale: float = 1.0
    needs: ClassVar[frozenset[str]] = NOTHING

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
        mean = base.detach().double().mean(dim=0)
        with one_thread():
            values, axes = torch.linalg.eigh(gram(base, mean) * (self.scale / len(base)))
            root = (axes * values.clamp(min=0).sqrt()) @ axes.T
        drawn = torch.randn(added, base.shape[1], generator=generator)
        rows = mean + times(drawn, root)
        return NewRows(rows.to(base.dtype), mean_bias(base_bias, added), (RowOrigin("mvn"),) * added)


def normal_rows(
    base: Float[Tensor, "base hidden"], added: int, generator: Generator
) -> Float[Tensor, "added hidden"]:
    """Draws with the mean and deviation of each dimension, in float32."""
    rows = base.detach().float()
    if not added:  # all of the base would be read for nothing
        return torch.zeros(0, rows.shape[1])
    std, mean = torch.std_mean(rows, dim=0, correction=0)
    return mean + std * torch.randn(added, rows.shape[1], generator=generator)


def mean_bias(base_bias: Float[Tensor, " base"], added: int) -> Float[Tensor, " added"]:
    """The mean of the old biases, once for every new piece, in their type."""
    with one_thread():
        return base_bias.detach().float().mean().expand(added).to(base_bias.dtype).contiguous()
