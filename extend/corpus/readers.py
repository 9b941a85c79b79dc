"""One reader a format; every format may also be compressed.

To add a format: write its reader, give it a line in `_FORMATS`.
"""

import io
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import pyarrow
import pyarrow.parquet

from extend.corpus.streams import COMPRESSIONS, bounded, lines, opened
from extend.errors import DataError, RefusedError, escaped
from extend.types import Document

MAX_TABLE_BYTES = 1 << 30


class Reader(Protocol):
    """A file to its non-empty documents, in the file's order. What was repaired is added to `repairs`."""

    def __call__(
        self, path: Path, language: str, *, repairs: Counter[str] | None = None
    ) -> Iterator[Document]: ...


def read_text(path: Path, language: str, *, repairs: Counter[str] | None = None) -> Iterator[Document]:
    """One document a line; a blank line (and the start of the file) begins a new text."""
    starts = True
    for line in lines(path, Counter() if repairs is None else repairs):
        if line.strip():
            yield Document(line, language, str(path), starts_document=starts)
        starts = not line.strip()


def read_jsonl(path: Path, language: str, *, repairs: Counter[str] | None = None) -> Iterator[Document]:
    """One JSON object a line with the text under `text`. Raises DataError E-JSONL with the line at fault."""
    repairs = Counter() if repairs is None else repairs
    for number, line in enumerate(lines(path, repairs), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _bad_record(path, number, f"is not JSON: {escaped(str(error))}") from error
        text = record.get("text") if isinstance(record, dict) else None
        if not isinstance(text, str):
            raise _bad_record(path, number, "is not an object with a string under `text`")
        yield from _record(text, language, path, repairs)


def read_parquet(path: Path, language: str, *, repairs: Counter[str] | None = None) -> Iterator[Document]:
    """One document a row of the column `text`. A compressed file is unpacked in memory, 1 GiB at most."""
    repairs = Counter() if repairs is None else repairs
    with opened(path) as file:
        source = _unpacked(path, file) if path.suffix in COMPRESSIONS else file
        try:
            table = pyarrow.parquet.ParquetFile(source)
            if "text" not in table.schema_arrow.names:
                raise DataError(
                    f"{path} has no column `text`",
                    name="E-PARQUET",
                    why=escaped("its columns: " + ", ".join(table.schema_arrow.names), limit=160),
                )
            for batch in table.iter_batches(batch_size=1024, columns=["text"]):
                for text in batch.column(0).to_pylist():
                    yield from _record(text or "", language, path, repairs)
        except pyarrow.ArrowException as error:
            raise DataError(
                f"{path} is not a readable parquet file",
                name="E-PARQUET",
                why=escaped(str(error), limit=160),
            ) from error


def _unpacked(path: Path, file: BinaryIO) -> io.BytesIO:
    unpacked = io.BytesIO()
    for chunk in bounded(path, lambda: file.read(1 << 20)):
        unpacked.write(chunk)
        if unpacked.tell() > MAX_TABLE_BYTES:
            raise RefusedError(
                f"{path} unpacks to more than 1 GiB",
                name="E-SIZE",
                why="a parquet file is not read as a stream",
                next="unpack it first: parquet is compressed inside anyway",
            )
    return unpacked


def _record(text: str, language: str, path: Path, repairs: Counter[str]) -> Iterator[Document]:
    if "\0" in text:
        repairs["nul"] += text.count("\0")
        text = text.replace("\0", "")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, which JSON can write and UTF-8 cannot
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        repairs["invalid_utf8"] += whole.count("\ufffd") - text.count("\ufffd")
        text = whole
    if text.strip():
        yield Document(text, language, str(path), starts_document=True)


def _bad_record(path: Path, number: int, what: str) -> DataError:
    return DataError(
        f"{path}:{number}: line {what}",
        name="E-JSONL",
        next='each line is one JSON object such as {"text": "..."}',
    )


_FORMATS: dict[str, Reader] = {".txt": read_text, ".jsonl": read_jsonl, ".parquet": read_parquet}

READERS: dict[str, Reader] = {
    suffix + compression: reader for suffix, reader in _FORMATS.items() for compression in ("", *COMPRESSIONS)
}


def reader_of(path: Path) -> Reader:
    """The reader for a file's name. Raises DataError E-FORMAT listing the names that can be read."""
    for suffixes in (path.suffixes[-2:], path.suffixes[-1:]):
        reader = READERS.get("".join(suffixes))
        if reader is not None:
            return reader
    raise DataError(
        f"no reader for {escaped(path.name)}", name="E-FORMAT", why="readable endings: " + ", ".join(READERS)
    )


def read_corpus(
    files: Sequence[Path], language: str, *, repairs: Counter[str] | None = None
) -> Iterator[Document]:
    """Every document of `files` in byte order of their paths, whatever the order given.

    What had to be repaired in the text is added to `repairs` (see `lines`). Raises DataError
    E-CORPUS-EMPTY, once all was read, when there was not one document.
    """
    empty = True
    for path in sorted(files, key=os.fsencode):
        for document in reader_of(path)(path, language, repairs=repairs):
            empty = False
            yield document
    if empty:
        shown = ", ".join(escaped(str(path)) for path in files[:3]) + (", ..." if len(files) > 3 else "")
        raise DataError(
            f"the corpus is empty: no text in {shown or 'no files'}",
            name="E-CORPUS-EMPTY",
            next="give files that hold text",
        )
