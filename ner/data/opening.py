"""A file of tagged words to its lines: unpacked by content, in bounded memory, UTF-8 or told."""

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from extend.archives import BROKEN, CHUNK, COMPRESSIONS, compression_of, other_archive
from extend.errors import DataError, PathError, RefusedError, escaped
from extend.store import as_extend_error

MAX_LINE_BYTES = 64 << 20
"""A line of JSON is a whole sentence."""
BOMB_BYTES, BOMB_RATIO = 1 << 30, 1000
_BOM = b"\xef\xbb\xbf"
_HEAD = 4096


@contextlib.contextmanager
def opened(path: Path) -> Iterator[io.FileIO]:
    """`path` for reading; a pipe is not waited for.

    What the system or an archive fails with inside the block is told: PathError E-PATH, DataError E-ARCHIVE.
    """
    if "\0" in str(path):
        raise PathError(f"cannot read {escaped(str(path))}: not a path", name="E-PATH")
    try:
        with io.FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise PathError(f"cannot read {path}: not a regular file", name="E-PATH")
            yield file
    except BROKEN as error:
        raise DataError(
            f"{path} is broken or cut short",
            name="E-ARCHIVE",
            why=escaped(str(error), limit=160),
            next="fetch the file again; nothing of a broken file is used",
        ) from error
    except OSError as error:
        raise as_extend_error(error, path) from error


def unpacked(path: Path, file: io.FileIO) -> Iterator[bytes]:
    """The bytes of a file, or what they unpack to, in pieces of at most 64 KiB.

    Raises DataError E-ARCHIVE-KIND for other archives, RefusedError E-BOMB for what grows without end.
    """
    head = file.read(_HEAD)
    compression = compression_of(head)
    _refuse_others(path, head)
    file.seek(0)
    if not compression:
        yield from iter(lambda: file.read(CHUNK), b"")
        return
    size, total = os.fstat(file.fileno()).st_size, 0
    for chunk in COMPRESSIONS[compression](file):
        if not total and chunk:
            _refuse_others(path, chunk, inside=True)
        total += len(chunk)
        if total > BOMB_BYTES and total > BOMB_RATIO * size:
            raise RefusedError(
                f"{path} unpacks from {size:,} bytes to more than {total - 1:,}",
                name="E-BOMB",
                why=f"archives over 1 GiB may grow {BOMB_RATIO} times at most",
                next="if the file is what it should be, unpack it first",
            )
        yield from (chunk[start : start + CHUNK] for start in range(0, len(chunk), CHUNK))


def _refuse_others(path: Path, head: bytes, *, inside: bool = False) -> None:
    kind = other_archive(head) or (compression_of(head) if inside else "")
    if kind:
        raise DataError(
            f"{path} is an archive that is not read ({kind})",
            name="E-ARCHIVE-KIND",
            why="read are plain files, each also as .gz, .zst or .xz",
            next="unpack it first",
        )


def head_of(path: Path) -> tuple[bytes, str]:
    """The first unpacked bytes (64 KiB at least where there are as many), and the compression or ``""``."""
    with opened(path) as file:
        compression = compression_of(file.read(_HEAD))
        file.seek(0)
        head = b""
        for chunk in unpacked(path, file):
            head += chunk
            if len(head) >= CHUNK:
                break
    return head, compression


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, ended by LF or CRLF only, without a byte-order mark at the start.

    Raises DataError E-ENCODING with `file:line:byte`, or E-LINE for a line over 64 MiB.
    """
    number = 0
    with opened(path) as file:
        for block in _whole_lines(path, unpacked(path, file)):
            try:
                texts = block.decode("utf-8").split("\n")
            except UnicodeDecodeError as error:
                raise _not_utf8(path, number, block, error) from error
            for text in texts:
                number += 1
                yield number, text[:-1] if text.endswith("\r") else text


def _whole_lines(path: Path, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes cut after line ends, the last line end of each piece left out."""
    parts: list[bytes] = []
    held, begun = 0, False
    for chunk in chunks:
        end = chunk.rfind(b"\n")
        if end >= 0:
            block = b"".join([*parts, chunk[:end]])
            yield block if begun else block.removeprefix(_BOM)
            begun, parts, held = True, [], 0
        parts.append(chunk[end + 1 :])
        held += len(parts[-1])
        if held > MAX_LINE_BYTES:
            raise DataError(
                f"{path} has a line of over 64 MiB",
                name="E-LINE",
                why="a line holds a word and its tag, or one record",
                next="check that this is a file of tagged words",
            )
    rest = b"".join(parts)
    yield rest if begun else rest.removeprefix(_BOM)


def _not_utf8(path: Path, before: int, block: bytes, error: UnicodeDecodeError) -> DataError:
    line = before + block.count(b"\n", 0, error.start) + 1
    byte = error.start - block.rfind(b"\n", 0, error.start)
    return DataError(
        f"{path}:{line}:{byte} is not UTF-8",
        name="E-ENCODING",
        why=f"byte 0x{block[error.start]:02x}: {error.reason}",
        next="convert the file to UTF-8",
    )
