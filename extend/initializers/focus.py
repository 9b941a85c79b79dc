"""FOCUS: new rows as sparse mixtures of the base rows that are used alike in the new language's text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Float
from torch import Generator, Tensor

from extend.initializers.mixtures import sparsemax
from extend.initializers.neighbours import Asked, anchors_of, mixed_rows
from extend.initializers.nouns import NewRows
from extend.types import Segmentation


@final
@dataclass(frozen=True, eq=False)
class Focus:
    """Sparsemax of the cosines to the anchors, in a vector space learned from the new language's text.

    Dobler and de Melo 2023, "FOCUS: Effective Embedding Initialization for Monolingual Specialization of
    Multilingual Models", section 3. `vectors`: (base + added, dimension), by id of the
    extended vocabulary, zeros where a piece has none. Anchors are the base pieces with a vector, which in
    an extension are the overlap itself: nothing has to be copied. We differ: a piece without a vector, or
    any when there is no anchor, takes the mean of the pieces that spell it and only then a random row; the
    bias is the mixture of the anchors' biases; sparsemax selects in part instead of sorting.
    """

    vectors: Tensor
    rows_at_once: int = 256
    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})

    def __call__(
        self,
        base: Float[Tensor, "base hidden"],
        base_bias: Float[Tensor, " base"],
        segmentations: Sequence[Segmentation],
        generator: Generator,
        *,
        unknown: int,
    ) -> NewRows:
        anchors = anchors_of(self.vectors[: len(base)], unknown=unknown)
        return mixed_rows(
            "focus",
            Asked(base, base_bias, segmentations, generator, unknown),
            queries=self.vectors[len(base) :],
            keys=self.vectors[anchors],
            ids=anchors,
            weigh=sparsemax,
            rows_at_once=self.rows_at_once,
        )
