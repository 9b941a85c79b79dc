"""What the methods share that mix base rows by similarity: which rows can be asked, and what else is done."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from extend.initializers.mixtures import Mixture, mixed
from extend.initializers.nouns import NewRows, RowOrigin, replaced_
from extend.initializers.subword import SubwordMean
from extend.types import Segmentation

NO_VECTOR = "it has no vector"
NO_ANCHOR = "no base piece has a vector"


class Asked(NamedTuple):
    """The arguments of an initialiser's call."""

    base: Tensor
    base_bias: Tensor
    segmentations: Sequence[Segmentation]
    generator: Generator
    unknown: int


def anchors_of(vectors: Float[Tensor, "base dimension"], *, unknown: int) -> Int[Tensor, " anchors"]:
    """Ids of the base pieces that have a vector; never the unknown piece."""
    there = vectors.ne(0).any(dim=1)
    there[unknown] = False
    return there.nonzero()[:, 0]


def mixed_rows(
    method: str,
    asked: Asked,
    *,
    queries: Float[Tensor, "added dimension"],
    keys: Float[Tensor, "anchors dimension"],
    ids: Int[Tensor, " anchors"],
    weigh: Callable[[Tensor], Mixture],
    rows_at_once: int,
) -> NewRows:
    """Each new row the `weigh`ed mixture of the anchors' rows and biases; SubwordMean where none can be."""
    base, base_bias, added = asked.base.detach(), asked.base_bias.detach(), len(asked.segmentations)
    if len(queries) != added:
        raise ValueError(f"expected {len(base) + added} vectors, got {len(base) + len(queries)}")
    made = mixed(
        queries,
        keys,
        weigh,
        table=base[ids].float(),
        bias=base_bias[ids].float(),
        ids=ids,
        rows_at_once=rows_at_once,
    )
    origins = tuple(
        RowOrigin(method, sources, mixed=count) if count else RowOrigin(method)
        for sources, count in zip(made.sources, made.counts, strict=True)
    )
    new = NewRows(made.rows.to(base.dtype), made.bias.to(base_bias.dtype), origins)
    missing = [place for place, count in enumerate(made.counts) if not count]
    return with_subwords(new, asked, dict.fromkeys(missing, NO_VECTOR if len(ids) else NO_ANCHOR))


def empty_rows(asked: Asked, origins: Sequence[RowOrigin]) -> NewRows:
    """Zeros of the right shape and type, to be filled."""
    added = len(asked.segmentations)
    rows = torch.zeros(added, asked.base.shape[1], dtype=asked.base.dtype)
    return NewRows(rows, torch.zeros(added, dtype=asked.base_bias.dtype), tuple(origins))


def with_subwords(new: NewRows, asked: Asked, reasons: dict[int, str]) -> NewRows:
    """`new` with SubwordMean's rows at the places that `reasons` names; its tensors are written to."""
    spelled = [asked.segmentations[place] for place in reasons]
    spare = SubwordMean()(asked.base, asked.base_bias, spelled, asked.generator, unknown=asked.unknown)
    return replaced_(new, spare, reasons)
