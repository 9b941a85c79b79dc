"""Row deltas: the new rows and pieces of one language, apart from the base they belong to.

A delta and its base give the grown checkpoint back; several deltas compose on one base, in an order of
their own, and can be told apart again.
"""

from extend.deltas.block import RowBlock
from extend.deltas.composing import Composition, Part, compose
from extend.deltas.files import DELTA, read_delta, write_delta
from extend.deltas.nouns import BaseFacts, Delta, DeltaFacts, new_delta
from extend.deltas.records import RECORD, SHADOWED, Record, read_record, taken_apart, write_record
from extend.deltas.rows import Moved, in_precision, moved_rows, new_rows

__all__ = [
    "DELTA",
    "RECORD",
    "SHADOWED",
    "BaseFacts",
    "Composition",
    "Delta",
    "DeltaFacts",
    "Moved",
    "Part",
    "Record",
    "RowBlock",
    "compose",
    "in_precision",
    "moved_rows",
    "new_delta",
    "new_rows",
    "read_delta",
    "read_record",
    "taken_apart",
    "write_delta",
    "write_record",
]
