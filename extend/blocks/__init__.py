"""Tokenised text on disk and samples read from it: what sample number g holds, as pure arithmetic."""

from extend.blocks.documents import DocumentLines
from extend.blocks.index import (
    HELD_OUT,
    INDEX,
    PARTS,
    RANGES,
    TRAINING,
    DataIndex,
    RangeEntry,
    open_stream,
    range_entry,
    read_index,
    write_index,
    write_range,
    write_stream,
)
from extend.blocks.mixture import Mixture
from extend.blocks.order import SampleOrder, language_turns, mixture_weights, permuted
from extend.blocks.packing import PackedMixture, Packs, write_plan
from extend.blocks.shards import EncodedLine, Flags, Ids, VerifiedFiles
from extend.blocks.stream import Stream, in_order

__all__ = [
    "HELD_OUT",
    "INDEX",
    "PARTS",
    "RANGES",
    "TRAINING",
    "DataIndex",
    "DocumentLines",
    "EncodedLine",
    "Flags",
    "Ids",
    "Mixture",
    "PackedMixture",
    "Packs",
    "RangeEntry",
    "SampleOrder",
    "Stream",
    "VerifiedFiles",
    "in_order",
    "language_turns",
    "mixture_weights",
    "open_stream",
    "permuted",
    "range_entry",
    "read_index",
    "write_index",
    "write_plan",
    "write_range",
    "write_stream",
]
