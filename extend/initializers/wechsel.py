"""WECHSEL: new rows from neighbours across languages, after one side's vectors are turned on the other's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from extend.initializers.linear_algebra import one_thread, times, unit_rows
from extend.initializers.mixtures import Mixture, softmax_of_top
from extend.initializers.neighbours import Asked, anchors_of, mixed_rows
from extend.initializers.nouns import NewRows
from extend.types import Segmentation


@final
@dataclass(frozen=True, eq=False)
class Wechsel:
    """Softmax of the ten largest cosines to base pieces, after the base's word vectors are turned.

    Minixhofer, Paischer and Rekabsaz 2022, "WECHSEL: Effective initialization of subword embeddings for
    cross-lingual transfer of monolingual language models", section 3. The turn is orthogonal Procrustes
    over `word_pairs`: (base side, new side), each (pairs, dimension), a translation a row. `vectors`:
    (base + added, dimension), of which the added ones are asked, in the new language's space;
    `base_vectors`: (base, dimension), in the base side's. Zeros are no vector. We differ: the softmax
    subtracts its largest score; a piece without a vector takes the mean of the pieces that spell it before
    a random row; the bias is mixed with the same weights.
    """

    vectors: Tensor
    base_vectors: Tensor
    word_pairs: tuple[Tensor, Tensor]
    neighbours: int = 10
    temperature: float = 0.1
    rows_at_once: int = 256
    needs: ClassVar[frozenset[str]] = frozenset({"vectors", "base_vectors", "word_pairs"})

    def __call__(
        self,
        base: Float[Tensor, "base hidden"],
        base_bias: Float[Tensor, " base"],
        segmentations: Sequence[Segmentation],
        generator: Generator,
        *,
        unknown: int,
    ) -> NewRows:
        anchors = anchors_of(self.base_vectors[: len(base)], unknown=unknown)
        return mixed_rows(
            "wechsel",
            Asked(base, base_bias, segmentations, generator, unknown),
            queries=self.vectors[len(base) :],
            keys=times(self.base_vectors[anchors], orthogonal_map(*self.word_pairs)),
            ids=anchors,
            weigh=self._weigh,
            rows_at_once=self.rows_at_once,
        )

    def _weigh(self, cosines: Tensor) -> Mixture:
        return softmax_of_top(cosines, count=self.neighbours, temperature=self.temperature)


def orthogonal_map(
    source: Float[Tensor, "pairs dimension"], target: Float[Tensor, "pairs dimension"]
) -> Float[Tensor, "dimension dimension"]:
    """The orthogonal W that brings `source @ W` nearest to `target` (Schönemann 1966), in float64.

    Rows are first brought to length one, so that frequent words' longer vectors weigh no more.
    """
    with one_thread():
        turn: Tensor
        left, _, right = torch.linalg.svd(unit_rows(source).T @ unit_rows(target))
        turn = left @ right
    return turn
