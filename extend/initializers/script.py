"""Draws that keep to a piece's writing system and place in the word."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from extend.initializers.draws import NormalOfRows, mean_bias
from extend.initializers.linear_algebra import one_thread
from extend.initializers.nouns import NewRows, RowOrigin, replaced_
from extend.types import Segmentation


@final
@dataclass(frozen=True)
class NormalOfScript:
    """Each dimension from a normal with the mean and deviation of the old rows of the piece's class.

    Downey, Blevins, Goldfine and Steinert-Threlkeld 2023, "Embedding Structure Matters: Comparing Methods to
    Adapt Multilingual Vocabularies to New Languages", the initialisation by script and word position.
    `classes`: for each id of the extended vocabulary the name of its class (script x initial or medial), or
    "" for none. We differ: the bias is the mean of the class; a class with fewer than `least` base pieces,
    such as that of an unseen script, draws as NormalOfRows.
    """

    classes: tuple[str, ...]
    least: int = 10
    needs: ClassVar[frozenset[str]] = frozenset({"classes"})

    def __call__(
        self,
        base: Float[Tensor, "base hidden"],
        base_bias: Float[Tensor, " base"],
        segmentations: Sequence[Segmentation],
        generator: Generator,
        *,
        unknown: int,
    ) -> NewRows:
        if len(self.classes) != len(base) + len(segmentations):
            raise ValueError(f"expected {len(base) + len(segmentations)} classes, got {len(self.classes)}")
        old, added = self.classes[: len(base)], self.classes[len(base) :]
        members: dict[str, list[int]] = {name: [] for name in dict.fromkeys(added) if name}
        for index, name in enumerate(old):
            if name in members and index != unknown:
                members[name].append(index)
        drawn = torch.randn(len(added), base.shape[1], generator=generator)
        bias = torch.zeros(len(added))
        reasons: dict[int, str] = {}
        for name in dict.fromkeys(added):
            places, known = [i for i, other in enumerate(added) if other == name], members.get(name, [])
            if len(known) < self.least:
                why = f"{len(known)} base pieces are {name}" if name else "it has no script"
                reasons |= dict.fromkeys(places, why)
                continue
            rows = base.detach()[known].float()
            with one_thread():
                std, mean = torch.std_mean(rows, dim=0, correction=0)
            drawn[places] = mean + std * drawn[places]
            bias[places] = mean_bias(base_bias.detach()[known].float(), len(places))
        new = NewRows(
            drawn.to(base.dtype), bias.to(base_bias.dtype), (RowOrigin("script"),) * len(segmentations)
        )
        reasons = dict(sorted(reasons.items()))
        bare = [segmentations[place] for place in reasons]
        return replaced_(new, NormalOfRows()(base, base_bias, bare, generator, unknown=unknown), reasons)
