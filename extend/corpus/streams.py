"""Files to lines of text: decompression and decoding, bounded in memory, never partial in silence."""

import contextlib
import gzip
import io
import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from extend.errors import DataError, RefusedError, escaped
from extend.store import as_extend_error

MAX_LINE_BYTES = 1 << 20
BOMB_BYTES, BOMB_RATIO = 1 << 30, 1000
MEMORY_LIMIT = 512 << 20
WINDOW_LIMIT = 128 << 20
BAD_SHARE, BAD_LEAST = 0.01, 100
_MAGIC = {".gz": b"\x1f\x8b", ".xz": b"\xfd7zXZ\x00", ".zst": b"\x28\xb5\x2f\xfd"}
_SKIPPABLE_FRAME = b"\x2a\x4d\x18"
_BROKEN = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, zstandard.ZstdError)


class _Chunks(io.RawIOBase):
    """An iterator of byte strings as a readable file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def _zstd_chunks(file: BinaryIO) -> Iterator[bytes]:
    """Every frame to its end; a frame cut short is an error, which the library's reader lets pass."""
    frame, open_frame = None, False
    while chunk := file.read(1024):  # one byte can become 32,000
        while chunk:
            if frame is None:
                frame = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT).decompressobj()
            yield frame.decompress(chunk)
            chunk = frame.unused_data if frame.eof else b""
            frame, open_frame = (None, False) if frame.eof else (frame, True)
    if open_frame:
        raise EOFError("the last frame is cut short")


def _xz_chunks(file: BinaryIO) -> Iterator[bytes]:
    stream = None
    while chunk := file.read(1 << 16):
        while chunk:
            if stream is None:
                chunk = chunk.lstrip(b"\0")  # padding between streams
                if not chunk:
                    break
                stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY_LIMIT)
            yield stream.decompress(chunk, MAX_LINE_BYTES)
            while not stream.eof and not stream.needs_input:
                yield stream.decompress(b"", MAX_LINE_BYTES)
            chunk = stream.unused_data if stream.eof else b""
            stream = None if stream.eof else stream
    if stream is not None:
        raise EOFError("the last stream is cut short")


def _buffered(chunks: Callable[[BinaryIO], Iterator[bytes]]) -> Callable[[BinaryIO], BinaryIO]:
    return lambda file: io.BufferedReader(_Chunks(chunks(file)), 1 << 16)


def _gunzip(file: BinaryIO) -> BinaryIO:
    return io.BufferedReader(gzip.GzipFile(fileobj=file, mode="rb"), 1 << 16)  # type: ignore[type-var]


COMPRESSIONS: dict[str, Callable[[BinaryIO], BinaryIO]] = {
    ".gz": _gunzip,
    ".xz": _buffered(_xz_chunks),
    ".zst": _buffered(_zstd_chunks),
}


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """`path` for reading, decompressed as its last suffix says.

    Failures of the system, of the archive and of its format while the block reads become told errors.
    """
    try:
        with open(path, "rb") as file:
            _check_magic(path, file.peek(8)[:8])
            decompress = COMPRESSIONS.get(path.suffix)
            yield decompress(file) if decompress else file
    except _BROKEN as error:
        raise DataError(
            f"{path} is broken or cut short",
            name="E-ARCHIVE",
            why=escaped(str(error), limit=160),
            next="fetch the file again; nothing of a broken file is used",
        ) from error
    except OSError as error:
        raise as_extend_error(error, path) from error


def _check_magic(path: Path, head: bytes) -> None:
    found = next((suffix for suffix, magic in _MAGIC.items() if head.startswith(magic)), None)
    found = ".zst" if head[1:4] == _SKIPPABLE_FRAME else found
    claimed = path.suffix if path.suffix in COMPRESSIONS else None
    if found == claimed or not head:
        return
    what = f"looks like {found}" if found else f"is not {claimed}"
    html = head.lstrip().lower().startswith((b"<!doct", b"<html"))
    raise DataError(
        f"{path} {what}" + (": it looks like an HTML error page" if html else ""),
        name="E-MAGIC",
        why="the end of a file's name must say what it holds",
        next="fetch the file again" if html else "rename it after what it holds",
    )


def bounded(path: Path, reads: Callable[[], bytes]) -> Iterator[bytes]:
    """Call `reads` until it gives nothing. Raises RefusedError E-BOMB when an archive grows without end."""
    size, total = path.stat().st_size, 0
    while data := reads():
        total += len(data)
        if total > BOMB_BYTES and total > BOMB_RATIO * size:
            raise RefusedError(
                f"{path} unpacks from {size:,} bytes to more than {total:,}",
                name="E-BOMB",
                why=f"archives over 1 GiB may grow {BOMB_RATIO} times at most",
            )
        yield data


def lines(path: Path, repairs: Counter[str]) -> Iterator[str]:
    r"""The lines of a text file, without their ends.

    Only `\n` ends a line, with one `\r` before it dropped. A byte order mark at the start is dropped, NUL
    is dropped, bytes that are not UTF-8 become U+FFFD, and a line over 1 MiB is cut at a space: each
    counted in `repairs` ("nul", "invalid_utf8", "long_lines"). Raises DataError E-ENCODING for UTF-16 and
    for files of which more than one byte in a hundred is not UTF-8.
    """
    with opened(path) as file:
        rest, total, bad = b"", 0, 0
        for number, piece in enumerate(bounded(path, lambda: file.readline(MAX_LINE_BYTES))):
            if number == 0:
                _refuse_utf16(path, piece)
                piece = piece.removeprefix(b"\xef\xbb\xbf")
            data, rest = rest + piece, b""
            if len(piece) == MAX_LINE_BYTES and not piece.endswith(b"\n"):
                repairs["long_lines"] += 1
                cut = data.rfind(b" ") + 1 or _last_character_end(data)
                data, rest = data[:cut], data[cut:]
            text, replaced = _decoded(data, repairs)
            total, bad = total + len(data), bad + replaced
            if total > MAX_LINE_BYTES:
                _refuse_undecodable(path, bad, total)
            yield text
        _refuse_undecodable(path, bad, total)
        if rest:
            yield _decoded(rest, repairs)[0]


def _last_character_end(data: bytes) -> int:
    """Where the last whole UTF-8 character of `data` ends, or near enough when it is not UTF-8."""
    for back in range(1, 5):
        if data[-back] >= 0xC0:
            return len(data) - back
        if data[-back] < 0x80:
            break
    return len(data)


def _decoded(data: bytes, repairs: Counter[str]) -> tuple[str, int]:
    data = data.removesuffix(b"\n").removesuffix(b"\r")
    if b"\0" in data:
        repairs["nul"] += data.count(b"\0")
        data = data.replace(b"\0", b"")
    try:
        return data.decode("utf-8"), 0
    except UnicodeDecodeError:
        text = data.decode("utf-8", errors="replace")
        replaced = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
        repairs["invalid_utf8"] += replaced
        return text, replaced


def _refuse_utf16(path: Path, head: bytes) -> None:
    nuls = head.count(b"\0")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or nuls > max(8, len(head) // 10):
        raise _wrong_encoding(path, "it looks like UTF-16 or UTF-32")


def _refuse_undecodable(path: Path, bad: int, total: int) -> None:
    if bad > max(BAD_LEAST, BAD_SHARE * total):
        raise _wrong_encoding(path, f"{bad:,} of {total:,} bytes are not UTF-8")


def _wrong_encoding(path: Path, why: str) -> DataError:
    return DataError(
        f"{path} is not UTF-8 text", name="E-ENCODING", why=why, next="convert it, for example with iconv"
    )
