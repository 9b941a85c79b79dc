"""Which rows of a grown model are new, and whether all the others are still the base's, bit by bit."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from extend.architectures import architecture_of
from extend.deltas.block import RowBlock, rows_differ, same_bytes
from extend.deltas.nouns import DTYPES
from extend.errors import CheckpointError, UsageError


@dataclass(frozen=True, slots=True)
class Moved:
    """What is not the base's any more: how many old ids have another row or bias, and which other tensors."""

    rows: int
    tensors: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.rows or self.tensors)


def new_rows(model: PreTrainedModel, *, known: int) -> RowBlock:
    """The entries of `model` from id `known` on. A model that grew keeps them only in these tensors.

    Raises CheckpointError E-DELTA-TWIN when a second bias, which an untied model's file holds and no logit
    sees, has other entries than the first: a delta would lose them.
    """
    architecture = architecture_of(model)
    parameters = {
        name: parameter.detach()[known:]
        for name, parameter in architecture.vocabulary_parameters(model).items()
    }
    bias = parameters.get("bias", architecture.bias(model).detach()[known:])
    if not same_bytes(parameters.get("twin", bias), bias):
        raise CheckpointError(
            "the two biases of the decoder differ in the new pieces",
            name="E-DELTA-TWIN",
            why="an untied model keeps a second one, which a delta has no place for",
            done="nothing was written",
        )
    return RowBlock(parameters["embedding"], bias, parameters.get("output"))


def moved_rows(base: PreTrainedModel, grown: PreTrainedModel, *, known: int) -> Moved:
    """What of `base` is not in `grown`: its first `known` rows and biases, and every other tensor, as bytes.

    Raises CheckpointError E-DELTA-BASE when the two have not the same tensors, apart from new rows.
    """
    before, after = base.state_dict(), grown.state_dict()
    _refuse_other_tensors(before, after)
    by_piece = _by_piece(base) | _by_piece(grown)
    moved = torch.zeros(known, dtype=torch.bool)
    for name in sorted(by_piece):
        if (
            min(len(before[name]), len(after[name])) < known
            or before[name].shape[1:] != after[name].shape[1:]
        ):
            raise _other_base(f"{name} has another shape")
        moved |= rows_differ(before[name][:known], after[name][:known])
    others = sorted(before.keys() - by_piece)
    changed = [name for name in others if not same_bytes(before[name], after[name])]
    return Moved(int(moved.sum()), tuple(changed))


def in_precision(block: RowBlock, dtype: str) -> RowBlock:
    """The entries as `dtype`. Raises UsageError E-PRECISION for a value that the type cannot hold."""
    made = block.to(DTYPES[dtype])
    if not made.finite():
        raise UsageError(
            f"a row holds a value that {dtype} cannot",
            name="E-PRECISION",
            done="nothing was written",
            next="give --dtype bfloat16 or float32",
        )
    return made


def _by_piece(model: PreTrainedModel) -> set[str]:
    """Names of the tensors with one row a piece, tied ones under each of their names."""
    parameters = architecture_of(model).vocabulary_parameters(model).values()
    kept = {parameter.data_ptr() for parameter in parameters}
    return {name for name, tensor in model.state_dict().items() if tensor.data_ptr() in kept}


def _refuse_other_tensors(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
    other = sorted(before.keys() ^ after.keys())
    if other:
        raise _other_base(f"{len(other)} tensors are in one of them only: {', '.join(other[:5])}")


def _other_base(why: str) -> CheckpointError:
    return CheckpointError(
        "the checkpoint was not grown from this base",
        name="E-DELTA-BASE",
        why=why,
        done="nothing was written",
    )
