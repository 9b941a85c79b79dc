"""Full blocks cut from streams: no padding, hence no attention mask."""

from dataclasses import dataclass, field
from typing import final

import numpy as np

from extend.blocks.order import SampleOrder
from extend.blocks.shards import Flags, Ids
from extend.blocks.stream import Stream
from extend.errors import DataError
from extend.types import SpecialIds


@final
@dataclass(frozen=True)
class Mixture:
    """Which text sample number g holds: a block of `length` tokens of one of the streams.

    Languages and blocks come in the order of `SampleOrder`. An epoch's blocks lie side by side in the
    stream, from an offset that is drawn anew each epoch (each version, with `duplicates`).

    Raises DataError E-CORPUS-SMALL when a stream is too short for a block.
    """

    streams: tuple[Stream, ...]
    weights: tuple[float, ...]
    length: int
    seed: int
    duplicates: int = 0
    order: SampleOrder = field(init=False)

    def __post_init__(self) -> None:
        for stream in self.streams:
            if self.blocks_of(stream) < 1:
                raise DataError(
                    f"the corpus of {stream.language} has {len(stream.ids)} tokens, "
                    f"too few for one block of {self.length}",
                    name="E-CORPUS-SMALL",
                    next="give more text, or a smaller pretrain.length",
                )
        counts = tuple(map(self.blocks_of, self.streams))
        order = SampleOrder(counts, self.weights, self.seed, self.duplicates)
        object.__setattr__(self, "order", order)

    def blocks_of(self, stream: Stream) -> int:
        """Blocks an epoch: the same for every offset."""
        return (len(stream.ids) - (self.length - 2)) // (self.length - 1)

    def read(self, samples: Ids, special: SpecialIds) -> tuple[Ids, Flags]:
        """Token ids and word starts, both (batch, length): the start token, then text to the brim."""
        ids = np.full((len(samples), self.length), special.start, dtype=np.int64)
        starts = np.ones((len(samples), self.length), dtype=bool)
        languages, epochs, blocks = self.order.locate(samples)
        begins = self.order.shifts(languages, epochs, self.length - 1) + blocks * (self.length - 1)
        for row, (language, begin) in enumerate(zip(languages.tolist(), begins.tolist(), strict=True)):
            text = self.streams[language].read(begin, begin + self.length - 1)
            ids[row, 1:], starts[row, 1:] = text
        return ids, starts
