"""deltas.json, which goes with an applied checkpoint: which deltas stand in it, and how to part them again.

The rows of a piece that several deltas have are those of the first; the others' rows for it lie in
deltas.safetensors, so that each delta can be rebuilt bit for bit.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from extend import store
from extend.deltas.block import RowBlock
from extend.deltas.composing import Composition
from extend.deltas.files import (
    SCHEMA,
    damaged,
    read_bytes,
    read_checked,
    read_tensors,
    tensor_bytes,
    write_checked,
)
from extend.deltas.nouns import DTYPES, BaseFacts, Delta, DeltaFacts
from extend.errors import CheckpointError

RECORD, SHADOWED = "deltas.json", "deltas.safetensors"
_MOST = 64 << 30


@dataclass(frozen=True, slots=True)
class Placed:
    """One delta of a record. `shared` has the id of each piece, by position, that an earlier delta has."""

    facts: DeltaFacts
    first_id: int
    shared: Mapping[int, int]
    shared_scores: tuple[float, ...]

    def ids(self) -> tuple[int, ...]:
        """One id a piece, in the delta's own order: the shared ones, and the others in one run."""
        own = iter(range(self.first_id, self.first_id + self.facts.added))
        return tuple(
            self.shared[place] if place in self.shared else next(own) for place in range(self.facts.added)
        )

    def as_json(self) -> dict[str, Any]:
        return {
            **self.facts.as_json(),
            "first_id": self.first_id,
            "shared": {"positions": list(self.shared), "ids": list(self.shared.values())},
            "shared_scores": list(self.shared_scores),
        }


@dataclass(frozen=True, slots=True)
class Record:
    """What deltas.json says: the deltas in the order of their ids, and their rows that do not stand."""

    path: Path
    placed: tuple[Placed, ...]
    shadowed: Mapping[str, Tensor]

    @property
    def base(self) -> BaseFacts:
        return self.placed[0].facts.base

    @property
    def languages(self) -> list[str]:
        return [one.facts.language for one in self.placed]


def write_record(directory: Path, composition: Composition) -> None:
    """Write deltas.json, and deltas.safetensors where two deltas have one piece."""
    placed: list[Placed] = []
    shadowed: dict[str, Tensor] = {}
    first = composition.base_size
    for part in composition.parts:
        places = list(part.shared)
        shared = {place: part.ids[place] for place in places}
        scores = tuple(part.delta.scores[place] for place in places) if part.delta.scores else ()
        placed.append(Placed(part.delta.facts, first, shared, scores))
        first += part.delta.facts.added - len(places)
        if places:
            named = part.delta.block.at(places).named()
            shadowed |= {f"{len(placed) - 1}.{name}": tensor for name, tensor in named.items()}
    files = {}
    if shadowed:
        store.write_bytes(directory / SHADOWED, tensor_bytes(shadowed))
        files[SHADOWED] = store.sha256_file(directory / SHADOWED)
    deltas = [one.as_json() for one in placed]
    write_checked(directory / RECORD, {"schema": SCHEMA, "deltas": deltas, "files": files})


def read_record(directory: Path) -> Record | None:
    """The record of an applied checkpoint, None where there is none.

    Raises CheckpointError E-DELTA naming the file that is damaged, RefusedError for a link.
    """
    path = directory / RECORD
    if not path.exists() and not path.is_symlink():
        return None
    value = read_checked(path)
    try:
        placed = tuple(_placed(entry) for entry in value["deltas"])
        if not placed or not isinstance(value["files"], dict):
            raise ValueError("it has no deltas")
        wanted = value["files"].get(SHADOWED)
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, str(error)) from error
    shadowed: dict[str, Tensor] = {}
    if wanted is not None:
        data = read_bytes(directory / SHADOWED, most=_MOST)
        if hashlib.sha256(data).hexdigest() != wanted:
            raise damaged(directory / SHADOWED, f"its sha256 is not the one in {RECORD}")
        shadowed = read_tensors(directory / SHADOWED, data)
    return Record(path, placed, shadowed)


def taken_apart(
    record: Record,
    pieces: Sequence[str],
    scores: Mapping[str, float],
    block: RowBlock,
) -> list[Delta]:
    """The deltas that stand in a checkpoint, each rebuilt and compared with its sha256.

    `pieces` and `block` are the checkpoint's new ones in id order; `scores` those of the tokenizer by
    piece. Raises CheckpointError E-DELTA-CHANGED for rows or pieces that are no longer the delta's, E-DELTA
    for a record that does not fit the checkpoint.
    """
    if sum(one.facts.added - len(one.shared) for one in record.placed) != len(pieces):
        raise damaged(record.path, f"it has not the {len(pieces)} new pieces of this checkpoint")
    deltas = []
    for at, placed in enumerate(record.placed):
        try:
            ids = _places(placed, len(pieces))
            spelt = [pieces[index] for index in ids]
            standing = block.at(ids)
            own = standing.to(DTYPES[placed.facts.dtype])
            if placed.shared:
                own = own.with_entries(list(placed.shared), _shadowed(record, at))
            delta = Delta(placed.facts, tuple(spelt), _scores(placed, spelt, scores), own)
        except (ValueError, KeyError, IndexError, RuntimeError) as error:
            raise damaged(record.path, f"it does not fit this checkpoint: {error}") from error
        if delta.content_sha256() != placed.facts.sha256 or not _stands(placed, delta, standing):
            raise _changed(record, placed.facts.language)
        deltas.append(delta)
    return deltas


def _places(placed: Placed, added: int) -> list[int]:
    """Positions among the new rows, checked before any is looked up."""
    if placed.facts.added > added:
        raise ValueError(f"{placed.facts.added} pieces among {added}")
    found = [index - placed.facts.base.size for index in placed.ids()]
    if not all(0 <= index < added for index in found):
        raise ValueError("an id is not that of a new piece")
    return found


def _shadowed(record: Record, at: int) -> RowBlock:
    """What one delta has for the pieces that an earlier one has too."""
    start = f"{at}."
    return RowBlock.of(
        {name.removeprefix(start): row for name, row in record.shadowed.items() if name.startswith(start)}
    )


def _scores(placed: Placed, spelt: Sequence[str], scores: Mapping[str, float]) -> tuple[float, ...]:
    if not scores:
        return ()
    found = [scores[piece] for piece in spelt]
    for place, score in zip(placed.shared, placed.shared_scores, strict=True):
        found[place] = score
    return tuple(found)


def _stands(placed: Placed, delta: Delta, standing: RowBlock) -> bool:
    """Whether the checkpoint's rows are the delta's, and not some that round to them."""
    own = [place for place in range(len(delta.pieces)) if place not in placed.shared]
    return delta.block.at(own).to(standing.dtype).same_as(standing.at(own))


def _changed(record: Record, language: str) -> CheckpointError:
    return CheckpointError(
        f"the rows of {language} in {record.path.parent} are no longer its delta's",
        name="E-DELTA-CHANGED",
        why="they were trained or changed after the delta was applied",
        done="nothing was written",
        next="remove without --language, which gives the base back, or apply the other deltas anew",
    )


def _placed(entry: Any) -> Placed:
    if not isinstance(entry, dict):
        raise ValueError("a delta is no JSON object")
    facts, shared, first = DeltaFacts.from_json(entry), entry["shared"], entry["first_id"]
    positions, ids, scores = shared["positions"], shared["ids"], entry["shared_scores"]
    whole = [first, *positions, *ids]
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in whole):
        raise ValueError("shared is not what it should be")
    if len(positions) != len(ids) or not all(0 <= place < facts.added for place in positions):
        raise ValueError("shared is not what it should be")
    if not all(isinstance(score, float) for score in scores):
        raise ValueError("shared_scores is not what it should be")
    return Placed(facts, first, dict(zip(positions, ids, strict=True)), tuple(scores))
