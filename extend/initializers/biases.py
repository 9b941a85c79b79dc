"""Decoder biases of new pieces, for those who want others than the initialiser's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, final

import torch
from jaxtyping import Float
from torch import Tensor

from extend.initializers.draws import mean_bias
from extend.initializers.linear_algebra import one_thread
from extend.initializers.nouns import NOTHING, NewRows
from extend.initializers.subword import bag_means, known_sources
from extend.types import Segmentation


class BiasRule(Protocol):
    """The call every rule has: the new biases, in the type of the old ones.

    `new` is what the initialiser returned; the rest as in Initializer, `needs` too.
    """

    needs: ClassVar[frozenset[str]]

    def __call__(
        self,
        new: NewRows,
        base_bias: Float[Tensor, " base"],
        segmentations: Sequence[Segmentation],
        *,
        unknown: int,
    ) -> Float[Tensor, " added"]: ...


@final
@dataclass(frozen=True)
class ZeroBias:
    """0 for every new piece, as the code of EXTEND has it (Wang, K, Mayhew and Roth 2020)."""

    needs: ClassVar[frozenset[str]] = NOTHING

    def __call__(
        self,
        new: NewRows,
        base_bias: Float[Tensor, " base"],
        segmentations: Sequence[Segmentation],
        *,
        unknown: int,
    ) -> Float[Tensor, " added"]:
        return base_bias.new_zeros(len(segmentations))


@final
@dataclass(frozen=True)
class MeanBias:
    """The mean of the old biases for every new piece."""

    needs: ClassVar[frozenset[str]] = NOTHING

    def __call__(
        self,
        new: NewRows,
        base_bias: Float[Tensor, " base"],
        segmentations: Sequence[Segmentation],
        *,
        unknown: int,
    ) -> Float[Tensor, " added"]:
        return mean_bias(base_bias, len(segmentations))


@final
@dataclass(frozen=True)
class PiecesBias:
    """The old biases of the row's sources with the row's weights (RAMEN, Tran 2020, section 3.2).

    A row without sources, which was drawn, takes the mean of the biases of the pieces that spell it; when
    no known piece does, the mean of all.
    """

    needs: ClassVar[frozenset[str]] = NOTHING

    def __call__(
        self,
        new: NewRows,
        base_bias: Float[Tensor, " base"],
        segmentations: Sequence[Segmentation],
        *,
        unknown: int,
    ) -> Float[Tensor, " added"]:
        known = known_sources(segmentations, unknown=unknown)
        spelled = bag_means(base_bias[:, None], known)[:, 0]
        bare = torch.tensor([not sources for sources in known], dtype=torch.bool)
        spelled = torch.where(bare, mean_bias(base_bias.float(), len(known)), spelled)
        mixed = torch.tensor([bool(origin.sources) for origin in new.origins], dtype=torch.bool)
        return torch.where(mixed, new.bias, spelled.to(base_bias.dtype))


@final
@dataclass(frozen=True, eq=False)
class FrequencyBias:
    """log(c_t + 1) + mean over counted base pieces i of (b_i - log(c_i + 1)).

    `counts`: (base + added,) how often the new language's text has each piece, spelled by the extended
    tokenizer; counted are the base pieces with c_i > 0. So the bias differs between new pieces as their
    log frequencies do, and where base pieces stand on average new ones of the same frequency stand too.
    Without any counted base piece the shift brings the mean of the new biases to the mean of the old.
    A softmax without input learns exactly log frequencies, up to a constant; the rule is ours.
    """

    counts: Tensor
    needs: ClassVar[frozenset[str]] = frozenset({"counts"})

    def __call__(
        self,
        new: NewRows,
        base_bias: Float[Tensor, " base"],
        segmentations: Sequence[Segmentation],
        *,
        unknown: int,
    ) -> Float[Tensor, " added"]:
        base, added = len(base_bias), len(segmentations)
        if len(self.counts) != base + added:
            raise ValueError(f"expected {base + added} counts, got {len(self.counts)}")
        logs, old = (self.counts.double() + 1).log(), base_bias.detach().double()
        counted = self.counts[:base] > 0
        counted[unknown] = False
        with one_thread():
            if bool(counted.any()):
                shift = (old[counted] - logs[:base][counted]).mean()
            else:
                shift = old.mean() - logs[base:].sum() / max(added, 1)
        return (logs[base:] + shift).to(base_bias.dtype)


BIASES: Mapping[str, type[BiasRule]] = {
    "zero": ZeroBias,
    "mean": MeanBias,
    "pieces": PiecesBias,
    "frequency": FrequencyBias,
}
