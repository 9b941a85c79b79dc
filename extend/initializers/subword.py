"""The mean of the base rows that spell a piece: the method to start from, and every other one's fallback."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from extend.initializers.draws import mean_bias, normal_rows
from extend.initializers.nouns import NOTHING, NewRows, RowOrigin
from extend.types import Segmentation


@final
@dataclass(frozen=True)
class SubwordMean:
    """The mean of the base rows that spell the new piece; the bias is the mean of their biases.

    Fast Vocabulary Transfer (Gee et al. 2022, equation 2). We differ: the spelling keeps the mark of a
    continuation, so `##x` and `x` start apart; unknown pieces are left out of the mean; a piece with no
    known one falls back to NormalOfRows, and its bias to the mean of the old biases; the bias is set at all.
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
        known = known_sources(segmentations, unknown=unknown)
        bare = torch.tensor([not sources for sources in known], dtype=torch.bool)
        rows = bag_means(base, known)
        rows[bare] = normal_rows(base, int(bare.sum()), generator)
        bias = bag_means(base_bias[:, None], known)[:, 0]
        bias[bare] = mean_bias(base_bias.float(), int(bare.sum()))
        origins = tuple(
            _origin(sources, spelled) for sources, spelled in zip(known, segmentations, strict=True)
        )
        return NewRows(rows.to(base.dtype), bias.to(base_bias.dtype), origins)


def known_sources(segmentations: Sequence[Segmentation], *, unknown: int) -> list[Segmentation]:
    """The segmentations without unknown pieces."""
    return [tuple(source for source in ids if source != unknown) for ids in segmentations]


def bag_means(
    table: Float[Tensor, "base width"], bags: Sequence[Sequence[int]]
) -> Float[Tensor, "bags width"]:
    """The mean of each bag's rows in float32; an empty bag gives zeros."""
    ids, offsets = _flattened(bags)
    if not len(ids):
        return torch.zeros(len(bags), table.shape[1])
    used, compact = ids.unique(return_inverse=True)
    return nn.functional.embedding_bag(compact, table.detach()[used].float(), offsets, mode="mean")


def _origin(sources: Sequence[int], spelled: Segmentation) -> RowOrigin:
    if not sources:
        why = "every base piece of it is unknown" if spelled else "no base piece spells it"
        return RowOrigin("subword", fallback="normal", why=why)
    weight = 1 / len(sources)
    return RowOrigin("subword", tuple((source, weight) for source in sources))


def _flattened(bags: Sequence[Sequence[int]]) -> tuple[Int[Tensor, " ids"], Int[Tensor, " bags"]]:
    lengths = torch.tensor([len(bag) for bag in bags], dtype=torch.long)
    ids = torch.tensor([source for bag in bags for source in bag], dtype=torch.long)
    return ids, lengths.cumsum(0) - lengths
