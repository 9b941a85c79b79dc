"""The one file layer: everything the toolkit writes goes through here and appears whole or not at all.

Publish recipe: write beside the target, fsync, rename, fsync the parent. Nothing published is changed in
place. Other modules never open a file for writing themselves (a test enforces it).
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from extend.errors import BusyError, CheckpointError, ExtendError, PathError, SpaceError

MANIFEST = "MANIFEST.json"
_TEMPORARY = ".tmp-"
_REPLACED = ".replaced-"
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def as_extend_error(error: OSError, path: Path) -> ExtendError:
    """The told form of an operating-system failure on `path`."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _NO_SPACE:
        return SpaceError(
            f"cannot write {path}: {reason}", name="E-NO-SPACE", next="free some space, then the same command"
        )
    return PathError(f"cannot use {path}: {reason}", name="E-PATH")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise as_extend_error(error, path) from error


def _fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems cannot sync a folder
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> Path:
    """Make a folder and its parents; one that is there already is fine. Raises PathError or SpaceError."""
    with _told(directory):
        directory.mkdir(parents=True, exist_ok=True)
    return directory


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` with `data`, atomically. Raises PathError or SpaceError."""
    make_directory(path.parent)
    temporary = path.with_name(f".{path.name}{_TEMPORARY}{os.getpid()}")
    with _told(path):
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        _fsync_directory(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace `path` with `text` in UTF-8, atomically. Raises PathError or SpaceError."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """JSON for people and programs: indented, UTF-8, keys in the order given; NaN is refused."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Raises PathError when missing, CheckpointError when it is not JSON."""
    with _told(path):
        data = path.read_bytes()
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON", name="E-JSON", why=str(error)[:200]) from error


def append_bytes(path: Path, data: bytes) -> None:
    """Add `data` at the end of a file and hand it to the operating system at once."""
    make_directory(path.parent)
    with _told(path), open(path, "ab") as file:
        file.write(data)


def append_line(path: Path, line: str) -> None:
    """Add one line and hand it to the operating system at once."""
    append_bytes(path, line.encode("utf-8") + b"\n")


def sha256_file(path: Path) -> str:
    """The file's sha256 in hexadecimal. Raises PathError."""
    with _told(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(directory: Path) -> dict[str, dict[str, Any]]:
    """Name, size and sha256 of every file below `directory`, in byte order of the names."""
    files = sorted((path for path in directory.rglob("*") if path.is_file()), key=os.fsencode)
    return {
        path.relative_to(directory).as_posix(): {"size": path.stat().st_size, "sha256": sha256_file(path)}
        for path in files
        if path.name != MANIFEST
    }


def verify(directory: Path) -> list[str]:
    """Names of files that differ from the folder's manifest; empty means sound."""
    manifest = directory / MANIFEST
    if not manifest.is_file():
        return [MANIFEST]
    try:
        files = read_json(manifest)["files"]
    except (ExtendError, KeyError, TypeError):
        return [MANIFEST]
    found = fingerprint(directory)
    return sorted(name for name in files.keys() | found.keys() if files.get(name) != found.get(name))


@contextlib.contextmanager
def publish_directory(target: Path, *, manifest: bool = False) -> Iterator[Path]:
    """A folder to fill, which becomes `target` when the block ends well and vanishes when it does not.

    With `manifest`, a MANIFEST.json with the size and sha256 of every file goes with it, for `verify`.
    A `target` that exists is replaced; `recover` mends the one instant between the two renames.
    """
    make_directory(target.parent)
    temporary = target.with_name(f".{target.name}{_TEMPORARY}{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        make_directory(temporary)
        yield temporary
        if manifest:
            write_json(temporary / MANIFEST, {"schema": 1, "files": fingerprint(temporary)})
        with _told(target):
            _settle(temporary)
            _swap(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def is_published(directory: Path) -> bool:
    """Whether a folder that was published with a manifest is there (not whether it is sound: `verify`)."""
    return (directory / MANIFEST).is_file()


def _settle(directory: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    for path in directory.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~mask)
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        else:
            _fsync_directory(path)
    _fsync_directory(directory)


def _swap(temporary: Path, target: Path) -> None:
    replaced = target.with_name(f".{target.name}{_REPLACED}{os.getpid()}")
    if target.exists():
        os.rename(target, replaced)
    os.rename(temporary, target)
    _fsync_directory(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def recover(directory: Path) -> None:
    """Mend what a kill left in `directory`: finish or undo half-made replacements, sweep temporary files.

    Call it only while holding the run folder's lock.
    """
    if not directory.is_dir():
        return
    for replaced in sorted(directory.glob(f".*{_REPLACED}*")):
        target = directory / replaced.name[1:].split(_REPLACED)[0]
        if target.exists():
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            os.rename(replaced, target)
    for orphan in directory.glob(f".*{_TEMPORARY}*"):
        shutil.rmtree(orphan) if orphan.is_dir() else orphan.unlink()


def remove_directories(directories: Sequence[Path]) -> None:
    """Delete folders that newer ones replace."""
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def set_aside(directory: Path) -> Path:
    """Rename something damaged to `*.bad`: bad things are kept for a look, never deleted."""
    aside = directory.with_name(f"{directory.name}.bad")
    with _told(directory):
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(directory, aside)
    return aside


def copy_files(source: Path, target: Path, names: Sequence[str]) -> None:
    """Copy those of `names` that `source` has into the folder `target`."""
    with _told(target):
        for name in names:
            if (source / name).is_file():
                shutil.copyfile(source / name, target / name)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the run folder: one run, one process. The kernel frees the lock when the process dies.

    Raises BusyError, which names the holder, when another process has it.
    """
    make_directory(directory)
    path = directory / ".lock"
    with _told(path):
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - held for the whole run
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise BusyError(
                f"run folder {directory} is in use by {holder}",
                name="E-RUN-BUSY",
                next="wait for it to end, or give another --run DIR",
            ) from error
        file.truncate(0)
        file.write(f"pid {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        file.flush()
        yield
