"""Parquet rows to texts. Apart, because pyarrow takes 40 MB: imported when the first such file comes."""

import io
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import pyarrow
import pyarrow.parquet

from extend.corpus.lines import Decoder
from extend.corpus.records import Texts
from extend.corpus.streams import BOMB_BYTES, BOMB_RATIO, Stream, bomb
from extend.errors import DataError, RefusedError, escaped

MAX_TABLE_BYTES = 1 << 30
ROWS = 256


def parquet_texts(stream: Stream, decoder: Decoder) -> Iterator[Texts]:
    """The texts of the column `text`, some rows at a time; see `read_parquet`."""
    account = decoder.account
    source = _in_memory(stream) if stream.compression else _from_disk(stream, decoder)
    total = 0
    try:
        table = pyarrow.parquet.ParquetFile(source, page_checksum_verification=True)
        _check_column(stream, table.schema_arrow)
        for batch in table.iter_batches(batch_size=ROWS, columns=["text"], use_threads=False):
            rows = _bytes(batch.column(0))
            account.lines += len(rows)
            account.met("null_records", rows.count(None))
            total += sum(map(len, filter(None, rows)))
            if total > BOMB_BYTES and total > BOMB_RATIO * account.size:
                raise bomb(stream.path, account.size)
            found = [list(decoder.record(decoder.text(row))) for row in rows if row is not None]
            decoder.offset = total
            decoder.check_encoding(least=1 << 20)
            texts = [text for pieces in found for text in pieces]
            if texts:
                yield texts, [not number for pieces in found for number, _ in enumerate(pieces)]
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise _damaged(stream, str(error)) from error
    decoder.check_encoding()
    account.read = account.unpacked
    if not stream.compression:
        stream.check_unchanged()


def _check_column(stream: Stream, schema: Any) -> None:
    names = schema.names
    if names.count("text") != 1:
        raise DataError(
            f"{stream.path} has no column `text`",
            name="E-PARQUET",
            why=escaped("its columns: " + ", ".join(names), limit=160),
        )
    kind = schema.field("text").type
    kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
    if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        raise DataError(
            f"{stream.path} has no strings in its column `text`",
            name="E-PARQUET",
            why=escaped(f"the column's type: {kind}", limit=160),
        )


def _bytes(column: Any) -> list[bytes | None]:
    """The strings as they lie in the file: what is not UTF-8 among them is repaired as in other files."""
    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    rows: list[bytes | None] = column.cast(pyarrow.large_binary()).to_pylist()
    return rows


def _damaged(stream: Stream, why: str) -> DataError:
    return DataError(
        f"{stream.path} is not a readable parquet file",
        name="E-PARQUET",
        why=escaped(why, limit=160),
        next="fetch the file again",
    )


def _from_disk(stream: Stream, decoder: Decoder) -> BinaryIO:
    """The file itself, read where the footer points; counted whole."""
    decoder.account.unpacked += decoder.account.size
    decoder.account.consumed += decoder.account.size
    stream.file.seek(0)
    return cast(BinaryIO, stream.file)


def _in_memory(stream: Stream) -> io.BytesIO:
    unpacked = io.BytesIO()
    for block in stream.blocks():
        unpacked.write(block)
        if unpacked.tell() > MAX_TABLE_BYTES:
            raise RefusedError(
                f"{stream.path} unpacks to more than 1 GiB",
                name="E-SIZE",
                why="a parquet file is not read as a stream",
                next="unpack it first: parquet is compressed inside anyway",
            )
    return unpacked
