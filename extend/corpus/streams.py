"""A file on disk to its unpacked bytes: opened by content, bounded in memory, every byte accounted for."""

import codecs
import contextlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from extend.archives import BROKEN, COMPRESSIONS, compression_of, is_begun, other_archive
from extend.corpus.accounts import Account, ReadPolicy
from extend.corpus.disk import SteadyFile, changed
from extend.errors import DataError, RefusedError, escaped
from extend.store import as_extend_error

BLOCK_BYTES = 1 << 20
HEAD_BYTES, LOOK_BACK_BYTES = 1 << 12, 1 << 16
BOMB_BYTES, BOMB_RATIO = 1 << 30, 1000
FORMAT_ENDINGS = {".txt": "text", ".jsonl": "jsonl", ".parquet": "parquet"}
PARQUET_MAGIC = b"PAR1"
_BOM = b"\xef\xbb\xbf"
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1f]")


class FileKind(NamedTuple):
    """What a file is: format "text", "jsonl" or "parquet"; compression "", ".gz", ".xz" or ".zst"."""

    format: str
    compression: str


class Stream:
    """One open file: its unpacked bytes in blocks of at most 1 MiB, or the file itself.

    Attributes:
        file: the open file, before decompression.
        compression: by its first bytes, whatever its name says.
        head: the first block of unpacked bytes (empty for an empty file).
        start: where they begin: 0, or where the first line of the range starts.
        after_blank: whether the start of the file or a blank line stands before `start`.
    """

    def __init__(
        self,
        path: Path,
        file: SteadyFile,
        *,
        account: Account,
        policy: ReadPolicy,
        start: int = 0,
        end: int | None = None,
    ) -> None:
        self.path, self.file, self._account, self._policy = path, file, account, policy
        magic = file.read(HEAD_BYTES)
        self.compression = account.compression = _compression(path, magic)
        _refuse_other_archives(path, magic)
        if self.compression and (start, end) != (0, None):
            raise DataError(
                f"{path} is compressed ({self.compression}) and cannot be read in ranges",
                name="E-MAGIC",
                why="its first bytes say so, whatever its name says",
                next=f"let its name end in {self.compression}",
            )
        self.start = line_start(file, start)
        self._end = account.size if end is None else max(self.start, line_start(file, end))
        self.after_blank = _after_blank_line(file, self.start)
        file.seek(self.start)
        chunks = COMPRESSIONS[self.compression](cast(BinaryIO, file)) if self.compression else self._plain()
        self._blocks = rechunked(chunks, BLOCK_BYTES)
        self.head = next(self._blocks, b"")
        if self.compression:
            _refuse_other_archives(path, self.head, inside=self.compression)
        elif named_kind(path).compression and not self.start:
            _refuse_garbled(path, self.head)
        if not self.start:
            _refuse_html(path, self.head)

    def blocks(self) -> Iterator[bytes]:
        """The unpacked bytes, once, counted in the account.

        Raises RefusedError E-BOMB, DataError E-CHANGED.
        """
        for block in itertools.chain([self.head] if self.head else [], self._blocks):
            self._account.unpacked += len(block)
            self._refuse_bomb(self._account.unpacked)
            yield block
        self._account.consumed += self.file.tell() - self.start
        self.check_unchanged(read_to=self._end)

    def check_unchanged(self, *, read_to: int | None = None) -> None:
        """Raises DataError E-CHANGED when the file is not what it was when it was opened."""
        if self.file.state() != self.file.fingerprint or read_to not in (None, self.file.tell()):
            raise changed(self.path)

    def _plain(self) -> Iterator[bytes]:
        while data := self.file.read(min(BLOCK_BYTES, self._end - self.file.tell())):
            yield data

    def _refuse_bomb(self, unpacked: int) -> None:
        if not self.compression:
            return
        cap = self._policy.max_unpacked
        grown = unpacked > BOMB_BYTES and unpacked > BOMB_RATIO * self._account.size
        if grown or (cap is not None and unpacked > cap):
            raise bomb(self.path, self._account.size, cap=None if grown else cap)


@contextlib.contextmanager
def opened(
    path: Path, *, account: Account, policy: ReadPolicy, start: int = 0, end: int | None = None
) -> Iterator[Stream]:
    """The stream of `path`; with a range, of the lines that start in it.

    Failures of the system, of the archive and of its format while the block reads become told errors:
    PathError E-PATH; DataError E-CHANGED (not the file of the account's fingerprint), E-ARCHIVE (broken or
    cut short), E-ARCHIVE-KIND (tar, zip, an archive in an archive), E-MAGIC (an HTML page); RefusedError.
    """
    try:
        with SteadyFile(path) as file:
            if account.fingerprint not in (None, file.fingerprint):
                raise changed(path)
            account.fingerprint, account.size = file.fingerprint, file.fingerprint.size
            yield Stream(path, file, account=account, policy=policy, start=start, end=end)
    except BROKEN as error:
        raise DataError(
            f"{path} is broken or cut short",
            name="E-ARCHIVE",
            why=escaped(str(error), limit=160),
            next="fetch the file again; nothing of a broken file is used",
        ) from error
    except OSError as error:
        raise as_extend_error(error, path) from error


def line_start(file: SteadyFile, position: int) -> int:
    """The first offset from `position` on where a line starts: 0, after a newline, or the end of the file."""
    position = min(position, file.fingerprint.size)
    if position <= 0:
        return 0
    file.seek(position - 1)
    while block := file.read(BLOCK_BYTES):
        found = block.find(b"\n")
        if found >= 0:
            return file.tell() - len(block) + found + 1
    return file.tell()


def _after_blank_line(file: SteadyFile, start: int) -> bool:
    if not start:
        return True
    seen = max(0, start - LOOK_BACK_BYTES)
    file.seek(seen)
    before = file.read(start - seen - 1)
    before = before if seen else before.removeprefix(_BOM)
    _, newline, line = before.rpartition(b"\n")
    text = line.decode("utf-8", errors="replace").replace("\0", "")
    return (bool(newline) or not seen) and (not text or text.isspace())


def rechunked(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in blocks of exactly `size`, the last one shorter, however they came."""
    parts: list[bytes] = []
    held = 0
    for chunk in chunks:
        parts.append(chunk)
        held += len(chunk)
        if held >= size:
            whole = memoryview(b"".join(parts)) if len(parts) > 1 else memoryview(chunk)
            for start in range(0, held - held % size, size):
                yield bytes(whole[start : start + size])
            parts = [bytes(whole[held - held % size :])]
            held %= size
    if held:
        yield b"".join(parts)


def kind_of(path: Path, *, account: Account | None = None) -> FileKind:
    """What a file is, by its content; its name decides only between plain text and JSONL.

    A name that says neither is JSONL when its first line that is not blank is a JSON object. Raises what
    `opened` raises, and DataError E-PARQUET for a `.parquet` file that does not begin as one.
    """
    with opened(path, account=account or Account(path), policy=ReadPolicy()) as stream:
        head, compression = stream.head, stream.compression
    named = named_kind(path)
    if head.startswith(PARQUET_MAGIC):
        return FileKind("parquet", compression)
    if named.format == "parquet" and head:
        raise DataError(
            f"{path} is not a readable parquet file",
            name="E-PARQUET",
            why="it does not begin with PAR1",
            next="fetch the file again, or name it after what it holds",
        )
    if named.format in ("text", "jsonl"):
        return FileKind(named.format, compression)
    return FileKind("jsonl" if _looks_like_jsonl(head) else "text", compression)


def named_kind(path: Path) -> FileKind:
    """What the name of a file says; an empty format when its ending is not known."""
    name = path.name.lower()
    compression = next((ending for ending in COMPRESSIONS if name.endswith(ending)), "")
    stem = name.removesuffix(compression)
    named = next((named for ending, named in FORMAT_ENDINGS.items() if stem.endswith(ending)), "")
    return FileKind(named, compression)


def name_lies(path: Path, kind: FileKind) -> bool:
    """Whether the name claims another kind than the content shows; a name may also claim nothing."""
    named = named_kind(path)
    return named.compression != kind.compression or named.format not in ("", kind.format)


def bomb(path: Path, size: int, *, cap: int | None = None) -> RefusedError:
    """The told form of a file that grows without end."""
    limit = BOMB_BYTES if cap is None else cap
    rule = f"archives over 1 GiB may grow {BOMB_RATIO} times at most" if cap is None else "the cap given"
    return RefusedError(
        f"{path} unpacks from {size:,} bytes to more than {limit:,}",
        name="E-BOMB",
        why=rule,
        next="if the file is what it should be, unpack it first",
    )


def _looks_like_jsonl(head: bytes) -> bool:
    text = head.removeprefix(_BOM).lstrip()
    if not text.startswith(b"{"):
        return False
    try:
        return isinstance(json.loads(text.split(b"\n", 1)[0]), dict)
    except (ValueError, RecursionError):
        return False


def _compression(path: Path, head: bytes) -> str:
    named = named_kind(path).compression
    return named if named and is_begun(head, named) else compression_of(head)


def _refuse_garbled(path: Path, head: bytes) -> None:
    """A file that is named an archive and begins as none may be plain text; a damaged archive is no text."""
    if not _is_text(head):
        raise DataError(
            f"{path} is broken: it does not begin as {named_kind(path).compression} does",
            name="E-ARCHIVE",
            why="and it is no plain text",
            next="fetch the file again; nothing of a broken file is used",
        )


def _is_text(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < BLOCK_BYTES)
    except UnicodeDecodeError:
        return False
    return not _CONTROLS.search(head)


def _refuse_other_archives(path: Path, head: bytes, *, inside: str = "") -> None:
    kind = other_archive(head) or (inside and compression_of(head))
    if kind:
        raise DataError(
            f"{path} is " + (f"{kind} inside {inside}" if inside else f"a {kind} archive"),
            name="E-ARCHIVE-KIND",
            why="a corpus file is read as it is or through one of " + ", ".join(COMPRESSIONS),
            next="unpack it yourself and give the folder",
        )


def _refuse_html(path: Path, head: bytes) -> None:
    if head[:HEAD_BYTES].removeprefix(_BOM).lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise DataError(
            f"{path} looks like an HTML error page",
            name="E-MAGIC",
            why="it begins as a web page does, not as a corpus",
            next="fetch the file again",
        )
