"""OFA: new rows mixed among few coordinates, which a factorisation of the base's embedding gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from extend.initializers.linear_algebra import gram, one_thread, times
from extend.initializers.mixtures import Mixture, mixed, softmax_of_top
from extend.initializers.neighbours import NO_ANCHOR, NO_VECTOR, Asked, anchors_of, empty_rows, with_subwords
from extend.initializers.nouns import NewRows, RowOrigin
from extend.types import Segmentation


@final
@dataclass(frozen=True, eq=False)
class Ofa:
    """Softmax of the ten largest cosines to base pieces, mixing coordinates of a truncated SVD.

    Liu, Lin, Wang and Schütze 2024, "OFA: A Framework of Initializing Unseen Subword Embeddings for
    Efficient Large-scale Multilingual Continued Pretraining", section 3: the embedding is coordinates times
    primitives, `dimensions` of them; similarities come from `vectors`, (base + added, dimension), one space
    for all languages, zeros where a piece has none. `twins`: for each new piece the base id of the piece
    that differs from it in case alone, or -1; it gives its coordinates. We differ: the product is stored at
    full width, so the model keeps its shape; a piece without a vector takes the mean of the pieces that
    spell it before a random row; the bias is mixed with the same weights; a twin has the same position in
    the word.
    """

    vectors: Tensor
    twins: tuple[int, ...]
    dimensions: int = 400
    neighbours: int = 10
    temperature: float = 0.1
    rows_at_once: int = 256
    needs: ClassVar[frozenset[str]] = frozenset({"vectors", "twins"})

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
        queries = self.vectors[len(base) :]
        if not len(queries) == len(self.twins) == len(segmentations):
            raise ValueError(
                f"{len(segmentations)} pieces, but {len(queries)} vectors and {len(self.twins)} twins"
            )
        primitives = main_axes(base, self.dimensions)
        anchors = anchors_of(self.vectors[: len(base)], unknown=unknown)
        twins = torch.tensor(self.twins, dtype=torch.long)
        copied = (twins >= 0).nonzero()[:, 0]
        asks = queries.ne(0).any(dim=1) & (twins < 0) & bool(len(anchors))
        places = asks.nonzero()[:, 0]
        made = mixed(
            queries[places],
            self.vectors[anchors],
            self._weigh,
            table=times(asked.base[anchors], primitives.T).float(),
            bias=asked.base_bias[anchors].float(),
            ids=anchors,
            rows_at_once=self.rows_at_once,
        )
        origins = [RowOrigin("ofa", ((twin, 1.0),) if twin >= 0 else ()) for twin in self.twins]
        for place, sources, count in zip(places.tolist(), made.sources, made.counts, strict=True):
            origins[place] = RowOrigin("ofa", sources, mixed=count)
        new = empty_rows(asked, origins)
        new.rows[places] = times(made.rows, primitives).to(base.dtype)
        new.bias[places] = made.bias.to(base_bias.dtype)
        coordinates = times(asked.base[twins[copied]], primitives.T)
        new.rows[copied] = times(coordinates, primitives).to(base.dtype)
        new.bias[copied] = asked.base_bias[twins[copied]]
        missing = (~asks & (twins < 0)).nonzero()[:, 0].tolist()
        return with_subwords(new, asked, dict.fromkeys(missing, NO_VECTOR if len(anchors) else NO_ANCHOR))

    def _weigh(self, cosines: Tensor) -> Mixture:
        return softmax_of_top(cosines, count=self.neighbours, temperature=self.temperature)


def main_axes(base: Float[Tensor, "base hidden"], count: int) -> Float[Tensor, "axes hidden"]:
    """The right singular vectors of the largest `count` singular values, at most all, in float64.

    They are the eigenvectors of base^T base, which is a thousandth of the work of the SVD of all rows.
    """
    if count < 1:
        raise ValueError(f"a factorisation has at least one dimension, got {count}")
    axes: Tensor
    with one_thread():
        _, axes = torch.linalg.eigh(gram(base, torch.zeros(base.shape[1], dtype=torch.float64)))
    return axes.flip(1)[:, :count].T
