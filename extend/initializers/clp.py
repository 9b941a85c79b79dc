"""CLP: new rows from a helper model that knows the new pieces and shares some with the base."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from extend.initializers.linear_algebra import cosine_blocks, one_thread, times, unit_rows
from extend.initializers.mixtures import mixture_of, sparsemax
from extend.initializers.neighbours import Asked, anchors_of, empty_rows, mixed_rows, with_subwords
from extend.initializers.nouns import MOST_SOURCES, NewRows, RowOrigin
from extend.types import Segmentation

_LEAST_AGREEMENT = 0.01


@final
@dataclass(frozen=True, eq=False)
class Clp:
    """Base rows of the shared pieces, weighed by the helper's cosines over their sum; or by sparsemax.

    Ostendorff and Rehm 2023, "Efficient Language Model Training through Cross-Lingual and Progressive
    Transfer Learning"; with `sparse`, CLP+ (Yamaguchi, Villavicencio and Aletras 2024), whose
    weights are sparsemax. `helper`: (base + added, width of the helper), the helper's input rows by id of
    the extended vocabulary, zeros where it lacks the piece. Weights of CLP can be negative. We differ: where
    they nearly cancel (their sum under a hundredth of the sum of their sizes) the row would be noise blown
    up, and such a piece, like one that the helper lacks, takes the mean of the pieces that spell it before a
    random row; the bias is mixed with the same weights.
    """

    helper: Tensor
    sparse: bool = False
    rows_at_once: int = 256
    needs: ClassVar[frozenset[str]] = frozenset({"helper"})

    def __call__(
        self,
        base: Float[Tensor, "base hidden"],
        base_bias: Float[Tensor, " base"],
        segmentations: Sequence[Segmentation],
        generator: Generator,
        *,
        unknown: int,
    ) -> NewRows:
        asked = Asked(base.detach(), base_bias.detach(), segmentations, generator, unknown)
        queries, shared = self.helper[len(base) :], anchors_of(self.helper[: len(base)], unknown=unknown)
        if self.sparse or not len(shared):
            return mixed_rows(
                "clp",
                asked,
                queries=queries,
                keys=self.helper[shared],
                ids=shared,
                weigh=sparsemax,
                rows_at_once=self.rows_at_once,
            )
        if len(queries) != len(segmentations):
            raise ValueError(f"{len(segmentations)} pieces, but {len(queries)} rows of the helper")
        return self._all_shared(asked, unit_rows(queries), unit_rows(self.helper[shared]), shared)

    def _all_shared(
        self,
        asked: Asked,
        queries: Float[Tensor, "added width"],
        keys: Float[Tensor, "shared width"],
        shared: Int[Tensor, " shared"],
    ) -> NewRows:
        """No table of weights: a cosine is a product, so the sum over shared pieces is taken once for all."""
        known, origins, steady = queries.ne(0).any(dim=1), [], []
        for block, cosines in cosine_blocks(queries, keys, rows_at_once=self.rows_at_once):
            sums, sizes = _row_sums(cosines), _row_sums(cosines.abs())
            steady.append((sums > _LEAST_AGREEMENT * sizes) & known[block])
            origins += _origins(cosines, sums, shared)
        usable = torch.cat(steady) if steady else known
        places = usable.nonzero()[:, 0]
        totals = times(queries[places], times(keys.T, torch.ones(len(keys), 1)))
        new = empty_rows(asked, origins)
        rows = times(queries[places], times(keys.T, asked.base[shared])) / totals
        bias = times(queries[places], times(keys.T, asked.base_bias[shared][:, None])) / totals
        new.rows[places], new.bias[places] = rows.to(new.rows.dtype), bias[:, 0].to(new.bias.dtype)
        reasons = {
            place: "the helper's cosines cancel" if bool(known[place]) else "the helper lacks it"
            for place in (~usable).nonzero()[:, 0].tolist()
        }
        return with_subwords(new, asked, reasons)


def _row_sums(values: Float[Tensor, "block shared"]) -> Float[Tensor, " block"]:
    with one_thread():
        return values.sum(dim=1)


def _origins(
    cosines: Float[Tensor, "block shared"], sums: Float[Tensor, " block"], shared: Int[Tensor, " shared"]
) -> list[RowOrigin]:
    """The heaviest ten of all shared pieces; a row that will fall back keeps none of it."""
    heaviest = cosines.abs().topk(min(MOST_SOURCES, len(shared)), dim=1).indices
    weights = cosines.gather(1, heaviest) / sums.where(sums != 0, 1.0)[:, None]
    sources = mixture_of(heaviest, weights, torch.ones_like(heaviest, dtype=torch.bool)).sources(shared)
    return [RowOrigin("clp", kept, mixed=len(shared)) for kept in sources]
