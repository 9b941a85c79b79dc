"""Several deltas on one base: which ids their pieces get, and which rows stand there."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from extend.deltas.block import RowBlock
from extend.deltas.nouns import Delta
from extend.errors import CheckpointError, UsageError, escaped


@dataclass(frozen=True, slots=True)
class Part:
    """Where one delta's pieces stand: `ids` has one id for each, in the delta's own order.

    `shared` are positions of pieces that an earlier delta has too; their ids are that one's, and so are the
    rows that stand there.
    """

    delta: Delta
    ids: tuple[int, ...]
    shared: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Composition:
    """New pieces in id order from `base_size` on, their scores, their rows in float32, and the parts."""

    base_size: int
    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    block: RowBlock
    parts: tuple[Part, ...]

    @property
    def shared(self) -> int:
        """Pieces that more than one delta has, counted once for each delta after the first."""
        return sum(len(part.shared) for part in self.parts)


def compose(deltas: Sequence[Delta]) -> Composition:
    """One block of new pieces for all `deltas`, the same whatever their order.

    They are sorted by language and then by sha256. A piece that several have gets one id, and the row and
    score of the first. Raises UsageError for no delta or one given twice, CheckpointError E-DELTA-BASE for
    deltas of different bases.
    """
    if not deltas:
        raise UsageError("no delta is given", name="E-USAGE")
    ordered = sorted(deltas, key=lambda delta: (delta.facts.language, delta.facts.sha256))
    _refuse_twice(ordered)
    _refuse_other_bases(ordered)
    base_size = ordered[0].facts.base.size
    ids: dict[str, int] = {}
    scores: list[float] = []
    blocks: list[RowBlock] = []
    parts = []
    for delta in ordered:
        own = [place for place, piece in enumerate(delta.pieces) if piece not in ids]
        shared = tuple(place for place, piece in enumerate(delta.pieces) if piece in ids)
        for place in own:
            ids[delta.pieces[place]] = base_size + len(ids)
            scores += delta.scores[place : place + 1]
        blocks.append(delta.block.at(own).to(torch.float32))
        parts.append(Part(delta, tuple(ids[piece] for piece in delta.pieces), shared))
    return Composition(base_size, tuple(ids), tuple(scores), RowBlock.joined(blocks), tuple(parts))


def _refuse_twice(ordered: Sequence[Delta]) -> None:
    for one, next_one in itertools.pairwise(ordered):
        if one.facts.sha256 == next_one.facts.sha256 and one.facts.language == next_one.facts.language:
            raise UsageError(
                f"the same delta of {one.facts.language} is given twice ({one.facts.sha256[:12]})",
                name="E-DELTA-TWICE",
                done="nothing was written",
                next="give it once",
            )


def _refuse_other_bases(ordered: Sequence[Delta]) -> None:
    first = ordered[0].facts
    for facts in (delta.facts for delta in ordered[1:]):
        differing = first.base.differing(facts.base)
        tied = [delta.block.output is None for delta in ordered]
        if differing or first.width != facts.width or len(set(tied)) > 1:
            raise CheckpointError(
                f"the deltas of {first.language} and {facts.language} belong to different bases",
                name="E-DELTA-BASE",
                why=f"{escaped(first.base.name)} and {escaped(facts.base.name)} differ in "
                + (", ".join(map(escaped, differing[:5])) or "the form of their rows"),
                done="nothing was written",
                next="compose deltas of one base",
            )
