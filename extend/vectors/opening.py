"""Files of vectors and dictionaries: opened with care, their size known before anything is allocated."""

import contextlib
import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from extend.errors import DataError, ExtendError, PathError, escaped
from extend.store import as_extend_error

_GZIP = b"\x1f\x8b"
_GZIP_RATIO = 1032
"""The most that DEFLATE can expand: RFC 1951's longest match, 258 bytes, in two bits."""


@dataclass(frozen=True)
class Source:
    """An open file: its content (decompressed), and how many bytes of content it can hold at most."""

    path: Path
    file: BinaryIO
    size: int
    compressed: bool


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Source]:
    """`path` for reading, decompressed when its first bytes say gzip.

    Raises PathError for what is missing or no regular file (a pipe is not waited for), DataError E-ARCHIVE
    when the compressed data is damaged, wherever in the block that shows.
    """
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            plain = stack.enter_context(open(descriptor, "rb"))
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise PathError(f"cannot read {escaped(str(path))}: not a regular file", name="E-PATH")
            compressed = plain.peek(2)[:2] == _GZIP
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from error
        try:
            if not compressed:
                yield Source(path, plain, status.st_size, compressed=False)
            else:
                unpacked = stack.enter_context(gzip.open(plain, "rb"))
                yield Source(path, cast(BinaryIO, unpacked), status.st_size * _GZIP_RATIO, compressed=True)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{path}: the compressed data is damaged or cut off",
                name="E-ARCHIVE",
                why=str(error)[:200],
                next="fetch the file again",
            ) from error
        except OSError as error:
            raise as_extend_error(error, path) from error


def _unreadable(path: Path, error: OSError | ValueError) -> ExtendError:
    if isinstance(error, OSError):
        return as_extend_error(error, path)
    return PathError(f"cannot read {escaped(str(path))}: not a path", name="E-PATH")


def lines_of(source: Source, *, limit: int, first: int = 1) -> Iterator[tuple[int, bytes]]:
    """Every line's number, from `first` on, and its bytes without the line end.

    Raises DataError E-LINE for a line of more than `limit` bytes: memory stays within it.
    """
    number = first - 1
    while line := source.file.readline(limit + 2):
        number += 1
        line = line.removesuffix(b"\n")
        if len(line) > limit:
            raise DataError(
                f"{source.path}:{number}: the line is longer than {limit:,} bytes",
                name="E-LINE",
                why="a file of another kind, or line ends are missing",
            )
        yield number, line.removesuffix(b"\r")
