"""What an initialiser is called with, and what it returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, final

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from extend.types import Segmentation

MOST_SOURCES = 10


@final
@dataclass(frozen=True, slots=True)
class RowOrigin:
    """How one new row was made.

    `sources` are the base ids that it is a weighted sum of (empty for draws and for the mean of all rows);
    a method that mixes many keeps the ten heaviest, and `mixed` says how many there were.
    `fallback` names the method used instead of `method`, `why` the reason.
    """

    method: str
    sources: tuple[tuple[int, float], ...] = ()
    fallback: str | None = None
    why: str | None = None
    mixed: int | None = None

    def as_json(self) -> dict[str, object]:
        """One line of rows.jsonl, but for piece and id: the ten heaviest sources, ties as they stand."""
        heaviest = sorted(self.sources, key=lambda source: -abs(source[1]))
        kept = self.sources if len(self.sources) <= MOST_SOURCES else heaviest[:MOST_SOURCES]
        return {
            "method": self.method,
            "sources": [[source, weight] for source, weight in kept],
            "mixed": len(self.sources) if self.mixed is None else self.mixed,
            "fallback": self.fallback,
            "why": self.why,
        }


@final
@dataclass(frozen=True, slots=True)
class NewRows:
    """What an initialiser returns, in the order of its segmentations.

    rows: (added, hidden); bias: (added,), both in the type of the base; origins: one a row.
    """

    rows: Tensor
    bias: Tensor
    origins: tuple[RowOrigin, ...]


class Initializer(Protocol):
    """The call every method has.

    `base` and `base_bias` are the rows and decoder biases of the old vocabulary, `segmentations` the base
    ids that spell each new piece, `unknown` the id of the unknown piece. What a method takes beside them
    are fields without a default, named in `needs`: tensors and tuples, never files. Its other fields are
    settings.
    """

    needs: ClassVar[frozenset[str]]

    def __call__(
        self,
        base: Float[Tensor, "base hidden"],
        base_bias: Float[Tensor, " base"],
        segmentations: Sequence[Segmentation],
        generator: Generator,
        *,
        unknown: int,
    ) -> NewRows: ...


NOTHING: frozenset[str] = frozenset()


def replaced_(new: NewRows, spare: NewRows, reasons: Mapping[int, str]) -> NewRows:
    """Write `spare`'s rows, in their order, over those of `new` at the keys of `reasons`.

    Returns `new`'s tensors with the origins as they are then, each replaced one with its reason.
    """
    if not reasons:
        return new
    places = torch.tensor(list(reasons), dtype=torch.long)
    new.rows[places], new.bias[places] = spare.rows, spare.bias
    origins = list(new.origins)
    for (place, reason), origin in zip(reasons.items(), spare.origins, strict=True):
        origins[place] = RowOrigin(
            new.origins[place].method,
            origin.sources,
            fallback=origin.fallback or origin.method,
            why=f"{reason}; {origin.why}" if origin.why else reason,
            mixed=origin.mixed,
        )
    return NewRows(new.rows, new.bias, tuple(origins))
