"""Where documents begin and which lines they hold, found in a stream of any size without reading it all."""

import functools
from typing import final

import numpy as np
import numpy.typing as npt

from extend.blocks.stream import Stream

_MOST_SHARDS = 64


@final
class DocumentLines:
    """Lines and documents of a stream by number, both from 0. Reads the shards it needs, no others."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.lines, self.documents = stream.line_count, int(stream.document_bounds[-1])
        self._follower_bounds = stream.line_bounds - stream.document_bounds
        self._of_shard = functools.lru_cache(maxsize=_MOST_SHARDS)(self._read)

    @property
    def followers(self) -> int:
        """How many lines do not start a document."""
        return self.lines - self.documents

    def follower(self, number: int) -> int:
        """The line that is number `number` of those that do not start a document."""
        shard = int(self._follower_bounds.searchsorted(number, "right")) - 1
        within = number - int(self._follower_bounds[shard])
        return int(self.stream.line_bounds[shard]) + int(self._of_shard(shard)[1][within])

    def document_of(self, line: int) -> int:
        """The document that a line belongs to."""
        shard = int(self.stream.line_bounds.searchsorted(line, "right")) - 1
        within = line - int(self.stream.line_bounds[shard])
        begun = int(self._of_shard(shard)[0].searchsorted(within, "right"))
        return int(self.stream.document_bounds[shard]) + begun - 1

    def begin(self, document: int) -> int:
        """The first line of a document; for the number after the last, how many lines there are."""
        if document >= self.documents:
            return self.lines
        shard = int(self.stream.document_bounds.searchsorted(document, "right")) - 1
        within = document - int(self.stream.document_bounds[shard])
        return int(self.stream.line_bounds[shard]) + int(self._of_shard(shard)[0][within])

    def _read(self, shard: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Lines of a shard that start a document, and those that do not."""
        flags = self.stream.shard_documents(shard)
        return np.flatnonzero(flags).astype(np.int32), np.flatnonzero(~flags).astype(np.int32)
