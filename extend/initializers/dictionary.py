"""Rows of whole words from the rows that spell their translations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from extend.initializers.mixtures import Mixture
from extend.initializers.neighbours import Asked, with_subwords
from extend.initializers.nouns import NewRows, RowOrigin
from extend.types import Segmentation


@final
@dataclass(frozen=True)
class DictionaryMean:
    """The mean over a word's translations of the mean of the base rows that spell each; the bias likewise.

    Ours, of the family of RAMEN (Tran 2020, section 3.2), which weighs source rows by translation
    probabilities, their biases with them; here every translation of a dictionary counts the same.
    `translations`: for each new piece the base ids that spell each of its translations, nothing for a
    piece that is no word of the dictionary. Unknown pieces are left out; a piece with nothing left takes
    the mean of the pieces that spell it before a random row.
    """

    translations: tuple[tuple[Segmentation, ...], ...]
    needs: ClassVar[frozenset[str]] = frozenset({"translations"})

    def __call__(
        self,
        base: Float[Tensor, "base hidden"],
        base_bias: Float[Tensor, " base"],
        segmentations: Sequence[Segmentation],
        generator: Generator,
        *,
        unknown: int,
    ) -> NewRows:
        if len(self.translations) != len(segmentations):
            raise ValueError(f"{len(segmentations)} pieces, but {len(self.translations)} translated")
        asked = Asked(base.detach(), base_bias.detach(), segmentations, generator, unknown)
        weights = [_weights(spelled, unknown=unknown) for spelled in self.translations]
        ids = torch.tensor([index for row in weights for index in row], dtype=torch.long)
        used, compact = ids.unique(return_inverse=True)
        mixture = Mixture(
            compact,
            torch.tensor([weight for row in weights for weight in row.values()], dtype=torch.float64),
            torch.tensor(list(map(len, weights)), dtype=torch.long),
        )
        new = NewRows(
            mixture.sums(asked.base[used]).to(base.dtype),
            mixture.sums(asked.base_bias[used][:, None])[:, 0].to(base_bias.dtype),
            tuple(
                RowOrigin("dictionary", sources, mixed=len(row))
                for sources, row in zip(mixture.sources(used), weights, strict=True)
            ),
        )
        why = {
            place: "its translations are unknown to the base"
            if spelled
            else "it is no word of the dictionary"
            for place, (spelled, row) in enumerate(zip(self.translations, weights, strict=True))
            if not row
        }
        return with_subwords(new, asked, why)


def _weights(spelled: Sequence[Segmentation], *, unknown: int) -> dict[int, float]:
    """The weight of each base id, ids ascending: translations count the same, and so do pieces of each."""
    known = [[index for index in ids if index != unknown] for ids in spelled]
    known = [ids for ids in known if ids]
    weights: dict[int, float] = {}
    for ids in known:
        for index in ids:
            weights[index] = weights.get(index, 0.0) + 1 / (len(ids) * len(known))
    return dict(sorted(weights.items()))
