"""Single files: replaced atomically or added to, read as JSON, hashed."""

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from extend.errors import CheckpointError, ExtendError, PathError, SpaceError
from extend.store import operations

TEMPORARY = ".tmp-"
CHUNK = 1 << 24
"""Bytes handed to the operating system at once, and read at once."""
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SEVERAL_AT_ONCE = 1 << 26


@dataclass(frozen=True)
class Written:
    """What a file was given: its bytes and their sha256, taken as they passed."""

    size: int
    sha256: str


def as_extend_error(error: OSError, path: Path) -> ExtendError:
    """The told form of an operating-system failure on `path`."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _NO_SPACE:
        return SpaceError(
            f"cannot write {path}: {reason}", name="E-NO-SPACE", next="free some space, then the same command"
        )
    return PathError(f"cannot use {path}: {reason}", name="E-PATH")


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turns what the operating system refuses inside the block into the told failure on `path`."""
    try:
        yield
    except OSError as error:
        raise as_extend_error(error, path) from error


def temporary_name(target: Path) -> Path:
    """Where something is made before it becomes `target`: beside it, hidden, this process's own."""
    return target.with_name(f".{target.name}{TEMPORARY}{os.getpid()}")


def make_directory(directory: Path) -> Path:
    """Make a folder and its parents; one that is there already is fine. Raises PathError or SpaceError."""
    with told(directory):
        missing = [folder for folder in (directory, *directory.parents) if not folder.is_dir()]
        for folder in reversed(missing):
            try:
                operations.make_folder(folder)
            except FileExistsError:
                if not folder.is_dir():
                    raise
    return directory


def write_chunks(path: Path, chunks: Iterable[bytes | memoryview]) -> Written:
    """Replace `path` with the chunks one after the other, atomically. Raises PathError or SpaceError.

    What raises while the chunks are made leaves `path` as it was.
    """
    make_directory(path.parent)
    temporary = temporary_name(path)
    with told(path):
        try:
            written = _filled(temporary, chunks)
            operations.move(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                operations.unlink(temporary)
            raise
        sync_directory(path.parent)
    return written


def _filled(path: Path, chunks: Iterable[bytes | memoryview]) -> Written:
    size, digest = 0, hashlib.sha256()
    with operations.open_file(path, "wb") as file:
        for chunk in chunks:
            _hand_over(file, chunk)
            digest.update(chunk)
            size += len(chunk)
    operations.sync_file(path)
    return Written(size, digest.hexdigest())


def _hand_over(file: FileIO, data: bytes | memoryview) -> None:
    left = memoryview(data)
    while left:
        left = left[operations.write(file, left[:CHUNK]) :]


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` with `data`, atomically. Raises PathError or SpaceError."""
    write_chunks(path, [data])


def write_text(path: Path, text: str) -> None:
    """Replace `path` with `text` in UTF-8, atomically. Raises PathError or SpaceError."""
    write_bytes(path, text.encode("utf-8"))


def as_json(value: Any) -> bytes:
    """JSON for people and programs: indented, UTF-8, keys in the order given; NaN is refused."""
    return (json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode("utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace `path` with `value` as JSON, atomically. Raises ValueError for a number that is none."""
    write_bytes(path, as_json(value))


def read_json(path: Path) -> Any:
    """Raises PathError when missing, CheckpointError when it is not JSON."""
    with told(path):
        data = path.read_bytes()
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON", name="E-JSON", why=str(error)[:200]) from error


def append_bytes(path: Path, data: bytes) -> None:
    """Add `data` at the end of a file and hand it to the operating system at once."""
    make_directory(path.parent)
    with told(path), operations.open_file(path, "ab") as file:
        _hand_over(file, data)


def append_line(path: Path, line: str) -> None:
    """Add one line and hand it to the operating system at once."""
    append_bytes(path, line.encode("utf-8") + b"\n")


def copy_files(source: Path, target: Path, names: Sequence[str]) -> None:
    """Copy those of `names` that `source` has into the folder `target`. Raises PathError or SpaceError."""
    for name in names:
        if (source / name).is_file():
            with told(source / name), open(source / name, "rb", buffering=0) as file:
                write_chunks(target / name, iter(lambda: file.read(CHUNK), b""))


def sha256_file(path: Path) -> str:
    """The file's sha256 in hexadecimal. Raises PathError."""
    with told(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_files(paths: Sequence[Path]) -> list[str]:
    """The sha256 of each file; large ones are hashed at the same time. Raises PathError."""
    with told(paths[0] if paths else Path()):
        large = sum(path.stat().st_size for path in paths) > _SEVERAL_AT_ONCE
    if not large or len(paths) < 2:
        return [sha256_file(path) for path in paths]
    with ThreadPoolExecutor(min(len(paths), os.cpu_count() or 1)) as pool:
        return list(pool.map(sha256_file, paths))


def sync_directory(directory: Path) -> None:
    """Wait until a folder's entries are on the disk, where its file system can (some network ones cannot)."""
    try:
        operations.sync_folder(directory)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


def require_space(directory: Path, needed: int) -> None:
    """Raises SpaceError, with both numbers, where fewer than `needed` bytes are free."""
    with told(directory):
        free = operations.free_bytes(directory)
    if free < needed:
        raise SpaceError(
            f"cannot write {directory}: {needed:,} bytes are needed and {free:,} are free",
            name="E-NO-SPACE",
            done="nothing was written",
            next="free some space, then the same command",
        )
