"""Sparse weighted sums of base rows: which rows, with which weights, and what comes of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from extend.initializers.linear_algebra import unit_rows
from extend.initializers.nouns import MOST_SOURCES

_DIGITS = 6


@final
@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Weights of some rows over some columns, only those that are not zero, row by row.

    ids: (entries,) columns, ascending within a row; weights: (entries,) in float64; lengths: (rows,).
    """

    ids: Tensor
    weights: Tensor
    lengths: Tensor

    def sums(self, table: Float[Tensor, "columns width"]) -> Float[Tensor, "rows width"]:
        """The weighted sum of the table's rows for every row, in float32."""
        if not len(self.ids):
            return torch.zeros(len(self.lengths), table.shape[1])
        return nn.functional.embedding_bag(
            self.ids,
            table.float(),
            self.lengths.cumsum(0) - self.lengths,
            mode="sum",
            per_sample_weights=self.weights.float(),
        )

    def sources(self, names: Int[Tensor, " columns"]) -> list[tuple[tuple[int, float], ...]]:
        """The heaviest ten of each row, the heaviest first, ties by id; weights to six decimals."""
        rows = torch.arange(len(self.lengths)).repeat_interleave(self.lengths)
        order = self.weights.abs().neg().argsort(stable=True)
        order = order[rows[order].argsort(stable=True)]
        starts = self.lengths.cumsum(0) - self.lengths
        kept = order[torch.arange(len(order)) - starts[rows] < MOST_SOURCES]
        ids, weights = names[self.ids[kept]].tolist(), self.weights[kept].tolist()
        pairs = zip(ids, (round(weight, _DIGITS) for weight in weights), strict=True)
        taken = [[next(pairs) for _ in range(min(length, MOST_SOURCES))] for length in self.lengths.tolist()]
        return list(map(tuple, taken))


def mixture_of(
    ids: Int[Tensor, "rows most"], weights: Float[Tensor, "rows most"], kept: Bool[Tensor, "rows most"]
) -> Mixture:
    """The entries where `kept` is true, by ascending id in each row."""
    order = ids.argsort(dim=1)
    kept = kept.gather(1, order)
    return Mixture(
        ids.gather(1, order)[kept], weights.double().gather(1, order)[kept], kept.sum(dim=1, dtype=torch.long)
    )


def sparsemax(scores: Float[Tensor, "rows columns"], *, first: int = 64) -> Mixture:
    """The nearest point of the simplex to each row (Martins and Astudillo 2016, algorithm 1), in float64.

    Not by sorting whole rows: the `first` largest scores decide where the support ends inside them, and
    only rows where it does not are looked at again with four times as many. `first` changes no bit.
    """
    width, scores = scores.shape[1], scores.double()
    todo, size = torch.arange(len(scores)), min(first, width)
    parts: list[tuple[Tensor, Mixture]] = []
    while len(todo):
        top, ids = scores[todo].topk(size, dim=1)
        sums, counts = top.cumsum(dim=1), torch.arange(1, size + 1)
        inside = 1 + counts * top > sums
        support = inside.sum(dim=1, keepdim=True)
        threshold = (sums.gather(1, support - 1) - 1) / support
        done = (support[:, 0] < size) | torch.tensor(size == width)
        found = mixture_of(ids[done], (top - threshold).clamp(min=0)[done], inside[done])
        parts.append((todo[done], found))
        todo, size = todo[~done], min(4 * size, width)
    return _joined(parts)


def softmax_of_top(
    scores: Float[Tensor, "rows columns"], *, count: int = 10, temperature: float = 0.1
) -> Mixture:
    """softmax(score / temperature) over each row's `count` largest scores; among equal ones lower ids first.

    The largest is subtracted before the exponential, so no temperature overflows.
    """
    scores, size = scores.double(), min(2 * count, scores.shape[1])
    top, ids = scores.topk(size, dim=1)
    tied = top[:, -1] == top[:, min(count, size) - 1]  # perhaps with columns that were not selected
    ids[tied] = scores[tied].argsort(dim=1, descending=True, stable=True)[:, :size]
    top = scores.gather(1, ids)
    by_id = ids.argsort(dim=1)
    top, ids = top.gather(1, by_id), ids.gather(1, by_id)
    best = top.argsort(dim=1, descending=True, stable=True)[:, :count]
    top, ids = top.gather(1, best), ids.gather(1, best)
    weights = ((top - top[:, :1]) / temperature).exp()
    return mixture_of(ids, weights / weights.sum(dim=1, keepdim=True), torch.ones_like(ids, dtype=torch.bool))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """Rows made by mixing, (queries, width) in float32; their biases, heaviest sources and source counts.

    A query of zeros has a row of zeros, no source and the count 0.
    """

    rows: Tensor
    bias: Tensor
    sources: Sequence[tuple[tuple[int, float], ...]]
    counts: Sequence[int]


def mixed(
    queries: Float[Tensor, "queries dimension"],
    keys: Float[Tensor, "keys dimension"],
    weigh: Callable[[Tensor], Mixture],
    *,
    table: Float[Tensor, "keys width"],
    bias: Float[Tensor, " keys"],
    ids: Int[Tensor, " keys"],
    rows_at_once: int,
) -> Mixed:
    """For every query the sum of the keys' table rows and biases, weighed by their cosines.

    Queries and keys need not be of length one; a key may not be zeros, and of no keys nothing is mixed.
    `ids` are the base ids of the keys. Beside what is returned, memory is that of `rows_at_once` queries.
    """
    rows, mixed_bias = torch.zeros(len(queries), table.shape[1]), torch.zeros(len(queries))
    sources: list[tuple[tuple[int, float], ...]] = [()] * len(queries)
    counts = [0] * len(queries)
    places = queries.ne(0).any(dim=1).nonzero()[:, 0] if len(keys) else torch.zeros(0, dtype=torch.long)
    units = unit_rows(keys)
    for block in places.split(rows_at_once) if len(places) else ():
        mixture = weigh(unit_rows(queries[block]) @ units.T)
        rows[block], mixed_bias[block] = mixture.sums(table), mixture.sums(bias[:, None])[:, 0]
        found = zip(block.tolist(), mixture.sources(ids), mixture.lengths.tolist(), strict=True)
        for place, of_place, count in found:
            sources[place], counts[place] = of_place, count
    return Mixed(rows, mixed_bias, sources, counts)


def _joined(parts: Sequence[tuple[Tensor, Mixture]]) -> Mixture:
    """Mixtures of some rows each, back in the order of the rows."""
    if not parts:
        nothing = torch.zeros(0, dtype=torch.long)
        return Mixture(nothing, nothing.double(), nothing)
    rows = torch.cat([places for places, _ in parts])
    lengths = torch.cat([part.lengths for _, part in parts])
    order = rows.repeat_interleave(lengths).argsort(stable=True)
    ids = torch.cat([part.ids for _, part in parts])
    weights = torch.cat([part.weights for _, part in parts])
    return Mixture(ids[order], weights[order], lengths[rows.argsort()])
