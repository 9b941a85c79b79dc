"""Whole folders: published at once or not at all, with a manifest of what they hold, checked and swept.

Publish recipe: write beside the target, fsync every file, write MANIFEST.json, fsync, rename, fsync the
parent. Nothing published is changed in place.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from extend.errors import ExtendError, PathError
from extend.store import operations
from extend.store.files import (
    TEMPORARY,
    Written,
    as_json,
    make_directory,
    read_json,
    sha256_files,
    sync_directory,
    temporary_name,
    told,
    write_chunks,
    write_json,
)

MANIFEST = "MANIFEST.json"
_REPLACED = ".replaced-"
_LARGEST_MANIFEST = 1 << 26


def fingerprint(directory: Path) -> dict[str, dict[str, Any]]:
    """Name, size and sha256 of every file below `directory`, in byte order of the names."""
    paths = [path for path in _files_below(directory) if path.name != MANIFEST]
    return {
        path.relative_to(directory).as_posix(): {"size": path.stat().st_size, "sha256": sha256}
        for path, sha256 in zip(paths, sha256_files(paths), strict=True)
    }


def _files_below(directory: Path) -> list[Path]:
    return sorted((path for path in directory.rglob("*") if path.is_file()), key=os.fsencode)


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The folder's manifest; None where it is missing or cannot be read as one."""
    try:
        if (directory / MANIFEST).stat().st_size > _LARGEST_MANIFEST:
            return None
        manifest = read_json(directory / MANIFEST)
    except (OSError, ExtendError):
        return None
    return manifest if isinstance(manifest, dict) and isinstance(manifest.get("files"), dict) else None


def verify(directory: Path) -> list[str]:
    """Names of files that differ from the folder's manifest; empty means sound.

    Sizes are compared before any byte is hashed.
    """
    manifest = read_manifest(directory)
    if manifest is None:
        return [MANIFEST]
    files = manifest["files"]
    with told(directory):
        sizes = {
            path.relative_to(directory).as_posix(): path.stat().st_size
            for path in _files_below(directory)
            if path.name != MANIFEST
        }
    told_sizes = {name: entry.get("size") if isinstance(entry, dict) else -1 for name, entry in files.items()}
    if odd := sorted(name for name in files.keys() | sizes if told_sizes.get(name) != sizes.get(name)):
        return odd
    found = fingerprint(directory)
    return sorted(name for name in files.keys() | found.keys() if files.get(name) != found.get(name))


@contextlib.contextmanager
def publish_directory(target: Path, *, manifest: bool = False) -> Iterator[Path]:
    """A folder to fill, which becomes `target` when the block ends well and vanishes when it does not.

    With `manifest`, a MANIFEST.json with the size and sha256 of every file goes with it, for `verify`.
    A `target` that exists is replaced; `recover` mends the one instant between the two renames.
    """
    with _beside(target) as temporary:
        yield temporary
        with told(target):
            _settle(temporary)
            if manifest:
                write_json(temporary / MANIFEST, {"schema": 1, "files": fingerprint(temporary)})
            _swap(temporary, target)


class Publication:
    """A folder being written whose every byte is hashed as it passes and read back before it is published."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Written] = {}

    def write(self, name: str, chunks: Iterable[bytes | memoryview]) -> None:
        """Write the file `name`. Raises PathError or SpaceError."""
        self._files[name] = write_chunks(self._folder / name, chunks)

    def write_json(self, name: str, value: Any) -> None:
        """Write `value` as the JSON file `name`."""
        self.write(name, [as_json(value)])

    def entries(self) -> dict[str, dict[str, Any]]:
        """Size and sha256 by file, as a manifest has them."""
        return {
            name: {"size": file.size, "sha256": file.sha256} for name, file in sorted(self._files.items())
        }


@contextlib.contextmanager
def publish_checked(target: Path, *, facts: Mapping[str, Any]) -> Iterator[Publication]:
    """As `publish_directory` with a manifest, for what must not be lost: the bytes are compared twice.

    The manifest holds `facts` (a schema among them) and the sha256 of what was written, taken while it was.
    Before the folder gets its name the files are read back and compared; PathError E-READ-BACK when they
    are not what was written.
    """
    with _beside(target) as temporary:
        publication = Publication(temporary)
        yield publication
        with told(target):
            _settle(temporary)
            entries, found = publication.entries(), fingerprint(temporary)
            if odd := sorted(name for name in entries.keys() | found if entries.get(name) != found.get(name)):
                raise PathError(
                    f"cannot use {target}: {', '.join(odd[:3])} was read back other than it was written",
                    name="E-READ-BACK",
                    done="nothing was published",
                    next="check this disk and this machine's memory",
                )
            write_json(temporary / MANIFEST, {**facts, "files": entries})
            _swap(temporary, target)


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    make_directory(target.parent)
    temporary = temporary_name(target)
    _sweep(temporary)
    try:
        yield make_directory(temporary)
    except BaseException:
        _sweep(temporary)
        raise


def is_published(directory: Path) -> bool:
    """Whether a folder that was published with a manifest is there (not whether it is sound: `verify`)."""
    return (directory / MANIFEST).is_file()


def _settle(directory: Path) -> None:
    """Give files the usual mode (libraries write some as 0600) and wait until all is on the disk."""
    umask = os.umask(0)
    os.umask(umask)
    for path in sorted(directory.rglob("*")):
        if not path.is_file():
            sync_directory(path)
            continue
        if path.stat().st_mode & 0o777 != 0o666 & ~umask:
            operations.set_mode(path, 0o666 & ~umask)
        operations.sync_file(path)
    sync_directory(directory)


def _swap(temporary: Path, target: Path) -> None:
    replaced = target.with_name(f".{target.name}{_REPLACED}{os.getpid()}")
    if target.exists():
        operations.move(target, replaced)
    try:
        operations.move(temporary, target)
    except OSError:
        if replaced.exists():
            with contextlib.suppress(OSError):
                operations.move(replaced, target)
        raise
    sync_directory(target.parent)
    _sweep(replaced)


def recover(directory: Path) -> None:
    """Mend what a kill left in `directory`: finish or undo half-made replacements, sweep temporary files.

    Call it only while holding the run folder's lock. Raises PathError.
    """
    if not directory.is_dir():
        return
    with told(directory):
        for replaced in sorted(directory.glob(f".*{_REPLACED}*")):
            target = directory / replaced.name[1:].split(_REPLACED)[0]
            if target.exists():
                _sweep(replaced)
            else:
                operations.move(replaced, target)
        for orphan in directory.glob(f".*{TEMPORARY}*"):
            _remove(orphan)


def remove_directories(directories: Sequence[Path]) -> None:
    """Delete folders that newer ones replace; what cannot be deleted stays.

    Each is renamed first: nobody meets a folder of that name with half of its files.
    """
    for directory in directories:
        hidden = temporary_name(directory)
        with contextlib.suppress(OSError):
            _sweep(hidden)
            operations.move(directory, hidden)
            _remove(hidden)


def set_aside(directory: Path) -> Path:
    """Rename something damaged to `*.bad`: bad things are kept for a look, never deleted."""
    aside = directory.with_name(f"{directory.name}.bad")
    with told(directory):
        _sweep(aside)
        operations.move(directory, aside)
    return aside


def _sweep(path: Path) -> None:
    """Remove what nobody needs any more; what cannot be removed is left to the next `recover`."""
    with contextlib.suppress(OSError):
        if path.is_symlink() or path.exists():
            _remove(path)


def _remove(path: Path) -> None:
    """Remove a file, or a folder with all below it. Links are removed, never followed."""
    if path.is_symlink() or not path.is_dir():
        operations.unlink(path)
        return
    for entry in sorted(path.iterdir()):
        _remove(entry)
    operations.remove_folder(path)
