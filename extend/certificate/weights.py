"""Tensors as they lie in safetensors files, read without a model library, and what is asserted of them."""

import json
import math
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extend.certificate.findings import Finding, finding
from extend.errors import CheckpointError, escaped

EMBEDDINGS = ("embeddings.word_embeddings.weight", "embeddings.tok_embeddings.weight", "embed_tokens.weight")
BIASES = ("cls.predictions.bias", "cls.predictions.decoder.bias", "lm_head.bias", "decoder.bias")
DECODERS = ("cls.predictions.decoder.weight", "lm_head.decoder.weight", "decoder.weight", "lm_head.weight")
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_COMPARED = 1 << 24
_LONGEST_HEADER = 100 << 20


@dataclass(frozen=True)
class Stored:
    """One tensor as it lies in a file."""

    shape: tuple[int, ...]
    kind: str
    data: memoryview

    def starts_as(self, other: "Stored", rows: int) -> bool:
        """Whether the first `rows` rows of both are the same bytes of the same kind."""
        mine, others = self._first(rows), other._first(rows)
        if (self.kind, self.shape[1:], len(mine)) != (other.kind, other.shape[1:], len(others)):
            return False
        for at in range(0, len(mine), _COMPARED):
            same = bytes(mine[at : at + _COMPARED]) == bytes(others[at : at + _COMPARED])
            for mapped in (mine.obj, others.obj):
                if isinstance(mapped, mmap.mmap):  # or whole files would count as memory in use
                    mapped.madvise(mmap.MADV_DONTNEED)
            if not same:
                return False
        return True

    def changed_rows(self, other: "Stored", rows: int) -> int:
        """How many of the first `rows` rows differ from those of `other`, of the same kind and width."""
        width = len(self.data) // max(self.shape[0], 1)
        starts = range(0, rows * width, max(width, 1))
        return sum(bytes(self.data[at : at + width]) != bytes(other.data[at : at + width]) for at in starts)

    def same_as(self, other: "Stored") -> bool:
        return self.shape == other.shape and self.starts_as(other, max([*self.shape[:1], 1]))

    def _first(self, rows: int) -> memoryview:
        return self.data[: len(self.data) // max([*self.shape[:1], 1]) * rows]


class StoredTensors:
    """The safetensors files of a checkpoint as stored bytes: headers of names and offsets, then the data.

    Raises CheckpointError E-CHECKPOINT for a file that is none, whatever is wrong with it.
    """

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self.tensors: dict[str, Stored] = {}
        for path in paths:
            try:
                self.tensors |= _read(path)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise CheckpointError(
                    f"{path} is not a readable safetensors file",
                    name="E-CHECKPOINT",
                    why=escaped(str(error), limit=200),
                ) from error

    def find(self, endings: Sequence[str]) -> Stored | None:
        """The tensor whose name ends as one of `endings`, the first ending first."""
        for ending in endings:
            for name, tensor in self.tensors.items():
                if name == ending or name.endswith("." + ending):
                    return tensor
        return None

    def one_of(self, endings: Sequence[str]) -> Stored:
        found = self.find(endings)
        if found is None:
            raise CheckpointError(
                f"{self._paths[0]} has no tensor {endings[0]}",
                name="E-CHECKPOINT",
                why="it has no MLM head",
            )
        return found

    def others(self) -> Mapping[str, Stored]:
        """The tensors that have no row a piece."""
        ends = tuple("." + ending for ending in (*EMBEDDINGS, *BIASES, *DECODERS))
        return {name: tensor for name, tensor in self.tensors.items() if not f".{name}".endswith(ends)}


def _read(path: Path) -> dict[str, Stored]:
    with open(path, "rb") as file:
        stored = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    length = int.from_bytes(stored[:8], "little")
    if length > min(len(stored) - 8, _LONGEST_HEADER):
        raise ValueError(f"its header would be {length} bytes long")
    data = memoryview(stored)[8 + length :]
    found = {}
    for name, entry in json.loads(stored[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        shape, kind = tuple(map(int, entry["shape"])), str(entry["dtype"])
        if not 0 <= start <= end <= len(data):
            raise ValueError(f"tensor {name} lies outside the file")
        if end - start != math.prod(shape) * _BYTES.get(kind, 0) and kind in _BYTES:
            raise ValueError(f"tensor {name} has not the bytes of its shape")
        found[name] = Stored(shape, kind, data[start:end])
    return found


def has_bias(config: Mapping[str, Any]) -> bool:
    """Whether the decoder of such a model adds a bias: EuroBERT's does when its layers do."""
    named = "mlp_bias" if config.get("model_type") == "eurobert" else "decoder_bias"
    return bool(config.get(named, named == "decoder_bias"))


def row_findings(tensors: StoredTensors, *, size: int, head: bool, bias: bool = True) -> Iterator[Finding]:
    """Assertion 1 on rows: embedding and decoder bias have `size`, and so has a decoder of its own.

    Without `head` a bias may be missing; without `bias` the model has none.
    """
    wanted = {"embedding": EMBEDDINGS, **({"decoder bias": BIASES} if bias else {})}
    for what, endings in wanted.items():
        tensor = tensors.one_of(endings) if head else tensors.find(endings)
        if tensor is None:
            yield finding(1, None, f"no {what} in the weights", name="rows")
        else:
            rows = tensor.shape[0] if tensor.shape else 0
            yield finding(
                1, rows == size, f"the {what} has {rows} rows, the tokenizer {size} pieces", name="rows"
            )
    decoder = tensors.find(DECODERS)
    if decoder is not None:
        rows = decoder.shape[0] if decoder.shape else 0
        yield finding(
            1, rows == size, f"the decoder has {rows} rows, the tokenizer {size} pieces", name="rows"
        )


def old_row_findings(
    grown: StoredTensors, base: StoredTensors, *, old: int, trained: bool = False
) -> Iterator[Finding]:
    """Assertion 5: the first `old` rows are the base's, bit by bit.

    `trained` says that the model learned after it grew: changed rows are then counted and no failure.
    """
    for what, endings in {"embedding": EMBEDDINGS, "decoder": DECODERS, "decoder bias": BIASES}.items():
        new, was = grown.find(endings), base.find(endings)
        if what == "decoder" and (new is None or was is None):
            continue  # tied: the embedding says it all
        if new is None or was is None:
            yield finding(5, None, f"no {what} in the weights")
        elif not was.shape or was.shape[0] < old:
            yield finding(5, False, f"the base's {what} has fewer rows than its tokenizer pieces ({old})")
        elif new.starts_as(was, old):
            yield finding(5, True, f"{old} old rows of the {what} are the base's, bit by bit")
        elif (new.kind, new.shape[1:]) != (was.kind, was.shape[1:]) or not new.shape or new.shape[0] < old:
            yield finding(
                5, None if trained else False, f"the {what} has another type or width than the base's"
            )
        else:
            changed = new.changed_rows(was, old)
            what = f"{changed} of {old} old rows of the {what} are not bit-identical to the base's"
            yield finding(5, None if trained else False, what + (": it was trained since" if trained else ""))


def tie_finding(tensors: StoredTensors, config: Mapping[str, Any]) -> Finding:
    """Assertion 5 on the tie: a stored decoder is the embedding, unless the configuration parts them."""
    rows, decoder = tensors.find(EMBEDDINGS), tensors.find(DECODERS)
    if config.get("tie_word_embeddings") is False or rows is None:
        return finding(5, None, "this model does not tie the decoder to the embedding", name="tie")
    tied = decoder is None or decoder.same_as(rows)
    told = "the decoder is the embedding" if tied else "the decoder is no longer the embedding"
    return finding(5, tied, told, name="tie")


def is_trained(model: StoredTensors, base: StoredTensors) -> bool:
    """Whether any weight that has no row a piece differs from the base's: growing alone changes none."""
    mine, others = model.others(), base.others()
    shared = sorted(mine.keys() & others.keys(), key=lambda name: len(mine[name].data))
    return any(not mine[name].same_as(others[name]) for name in shared)
