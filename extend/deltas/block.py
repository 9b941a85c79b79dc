"""The numbers of new pieces, one entry a piece in each tensor, taken, joined and compared together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

_ROWS_AT_ONCE = 1 << 14


@dataclass(frozen=True, slots=True, eq=False)
class RowBlock:
    """Embedding rows (added, width), decoder biases (added,), and an untied decoder's own rows.

    A decoder without a bias has zeros. Raises ValueError for shapes or types that do not fit each other.
    """

    rows: Float[Tensor, "added width"]
    bias: Float[Tensor, " added"]
    output: Float[Tensor, "added width"] | None = None

    def __post_init__(self) -> None:
        _check(self.named())

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dtype(self) -> torch.dtype:
        return self.rows.dtype

    def named(self) -> dict[str, Tensor]:
        """Each tensor under its name, `output` only where there is one."""
        named = {"rows": self.rows, "bias": self.bias}
        return named if self.output is None else {**named, "output": self.output}

    @staticmethod
    def of(named: Mapping[str, Tensor]) -> "RowBlock":
        """The inverse of `named`. Raises ValueError for other names."""
        if not {"rows", "bias"} <= named.keys() <= {"rows", "bias", "output"}:
            raise ValueError(f"its tensors are {', '.join(sorted(named)) or 'none'}")
        _check(named)
        return RowBlock(named["rows"], named["bias"], named.get("output"))

    def at(self, places: Sequence[int]) -> "RowBlock":
        """A copy of the entries at `places`, in their order."""
        index = torch.tensor(list(places), dtype=torch.long)
        return self._each(lambda tensor: tensor[index])

    def to(self, dtype: torch.dtype) -> "RowBlock":
        return self._each(lambda tensor: tensor.to(dtype))

    def with_entries(self, places: Sequence[int], other: "RowBlock") -> "RowBlock":
        """A copy with the entries of `other` at `places`. Raises ValueError when it has others."""
        if other.named().keys() != self.named().keys() or len(other) != len(places):
            raise ValueError("the entries do not fit")
        index = torch.tensor(list(places), dtype=torch.long)
        mine, theirs = self.named(), other.named()
        return RowBlock.of({name: mine[name].index_copy(0, index, theirs[name]) for name in mine})

    @staticmethod
    def joined(blocks: Sequence["RowBlock"]) -> "RowBlock":
        """One block after the other. Raises ValueError when only some have an `output`."""
        named = [block.named() for block in blocks]
        if any(one.keys() != named[0].keys() for one in named):
            raise ValueError("some rows are of a tied decoder and some are not")
        return RowBlock.of({name: torch.cat([one[name] for one in named]) for name in named[0]})

    def same_as(self, other: "RowBlock") -> bool:
        """Whether all bytes are the same."""
        mine, theirs = self.named(), other.named()
        return mine.keys() == theirs.keys() and all(same_bytes(mine[name], theirs[name]) for name in mine)

    def finite(self) -> bool:
        return all(bool(torch.isfinite(tensor).all()) for tensor in self.named().values())

    def largest_change(self, other: "RowBlock") -> float:
        """The largest absolute difference of two values that stand at one place."""
        theirs = other.named()
        changes = [
            (tensor.float() - theirs[name].float()).abs().max() for name, tensor in self.named().items()
        ]
        return float(torch.stack(changes).max())

    def _each(self, change: Callable[[Tensor], Tensor]) -> "RowBlock":
        return RowBlock.of({name: change(tensor) for name, tensor in self.named().items()})


def _check(named: Mapping[str, Tensor]) -> None:
    rows, bias, output = named["rows"], named["bias"], named.get("output", named["rows"])
    if rows.ndim != 2 or bias.shape != rows.shape[:1] or output.shape != rows.shape:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in named.items())
        raise ValueError(f"the shapes do not fit: {shapes}")
    if len({tensor.dtype for tensor in named.values()}) != 1 or not rows.is_floating_point():
        raise ValueError("rows and biases are of different types, or of one without fractions")


def rows_differ(one: Tensor, other: Tensor) -> Tensor:
    """For each row, whether its bytes differ; both have one shape and one type. Shape (rows,)."""
    if one.dtype != other.dtype or one.shape != other.shape:
        raise ValueError(f"{tuple(one.shape)} {one.dtype} against {tuple(other.shape)} {other.dtype}")
    found = [
        (_raw(one[start : start + _ROWS_AT_ONCE]) != _raw(other[start : start + _ROWS_AT_ONCE])).any(dim=1)
        for start in range(0, len(one), _ROWS_AT_ONCE)
    ]
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.bool)


def same_bytes(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have one shape, one type and the same bytes."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one.flatten().view(torch.uint8), other.flatten().view(torch.uint8))


def as_bytes(tensor: Tensor) -> Any:
    """The stored bytes of a tensor, row after row, as a buffer."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def _raw(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(len(tensor), -1).view(torch.uint8)
