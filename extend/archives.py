"""Compressed files to bytes: every member to its clean end, in bounded memory, known by their first bytes."""

import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

import zstandard

CHUNK = 1 << 16
XZ_OUTPUT = 1 << 20
MEMORY_LIMIT = 512 << 20
WINDOW_LIMIT = 128 << 20
BROKEN = (EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError)
"""What the decompressors raise for an archive that is damaged, cut short or over the limits."""

_GZIP_SLICE = 1 << 12  # one byte can become 1,032
_ZSTD_SLICE = 1 << 9  # one byte can become 32,768


def _slices(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Small slices bound what one call unpacks, and what is copied between many small members."""
    while chunk := file.read(CHUNK):
        for start in range(0, len(chunk), size):
            yield chunk[start : start + size]


def _gzip_chunks(file: BinaryIO) -> Iterator[bytes]:
    member = None
    for data in _slices(file, _GZIP_SLICE):
        while data:
            if member is None:
                data = data.lstrip(b"\0")  # padding between members and at the end
                if not data:
                    break
                member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            yield member.decompress(data)
            data = member.unused_data if member.eof else b""
            member = None if member.eof else member
    if member is not None:
        raise EOFError("the last member is cut short")


def _zstd_chunks(file: BinaryIO) -> Iterator[bytes]:
    """Every frame to its end; a frame cut short is an error, which the library's reader lets pass."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT)
    frame = None
    for data in _slices(file, _ZSTD_SLICE):
        while data:
            if frame is None:
                frame = decompressor.decompressobj()
            yield frame.decompress(data)
            data = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("the last frame is cut short")


def _xz_chunks(file: BinaryIO) -> Iterator[bytes]:
    stream = None
    for data in _slices(file, _GZIP_SLICE):
        while data:
            if stream is None:
                data = data.lstrip(b"\0")  # padding between streams
                if not data:
                    break
                stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY_LIMIT)
            yield stream.decompress(data, XZ_OUTPUT)
            while not stream.eof and not stream.needs_input:
                yield stream.decompress(b"", XZ_OUTPUT)
            data = stream.unused_data if stream.eof else b""
            stream = None if stream.eof else stream
    if stream is not None:
        raise EOFError("the last stream is cut short")


COMPRESSIONS: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {
    ".gz": _gzip_chunks,
    ".xz": _xz_chunks,
    ".zst": _zstd_chunks,
}

_MAGIC = {".gz": b"\x1f\x8b", ".xz": b"\xfd7zXZ\x00", ".zst": b"\x28\xb5\x2f\xfd"}
_SKIPPABLE_FRAME = b"\x2a\x4d\x18"
_OTHER_KINDS = {
    "zip": (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"),
    "bzip2": (b"BZh",),
    "7z": (b"7z\xbc\xaf\x27\x1c",),
    "rar": (b"Rar!\x1a\x07",),
    "lzma": (b"\x5d\x00\x00\x80\x00", b"\x5d\x00\x00\x00\x04"),
    "lz4": (b"\x04\x22\x4d\x18",),
    "compress": (b"\x1f\x9d",),
}
_BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")
_TAR_MAGIC, _TAR_AT = b"ustar", 257


def compression_of(head: bytes) -> str:
    """The compression that the first bytes of a file show, as its suffix; empty for none."""
    if head[1:4] == _SKIPPABLE_FRAME and head[:1] and head[0] & 0xF0 == 0x50:
        return ".zst"
    return next((suffix for suffix, magic in _MAGIC.items() if head.startswith(magic)), "")


def is_begun(head: bytes, suffix: str) -> bool:
    """Whether `head` is a whole file that ends within the first bytes of a compression."""
    return 0 < len(head) < len(_MAGIC[suffix]) and _MAGIC[suffix].startswith(head)


def other_archive(head: bytes) -> str:
    """The kind of archive, among those that are never read, that the first 512 bytes show; empty for none."""
    if head[_TAR_AT : _TAR_AT + len(_TAR_MAGIC)] == _TAR_MAGIC:
        return "tar"
    kind = next((kind for kind, magics in _OTHER_KINDS.items() if head.startswith(magics)), "")
    return "" if kind == "bzip2" and head[4:10] not in _BZIP2_BLOCKS else kind
