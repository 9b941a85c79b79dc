"""The system calls that change a disk, one function each: the seam at which a test lets a disk fail.

The rest of `store` reaches the disk through this module's names and by no other way, so whatever replaces a
name of OPERATIONS sees every change, in order: it can count them, fail one with an errno, or end the process.
"""

import os
import shutil
from io import FileIO
from pathlib import Path

OPERATIONS = (
    "open_file",
    "write",
    "sync_file",
    "sync_folder",
    "move",
    "unlink",
    "make_folder",
    "remove_folder",
    "set_mode",
)
"""What changes a disk. `free_bytes` is beside them: it only asks."""


def open_file(path: Path, mode: str) -> FileIO:
    """Open for writing (`wb`) or adding (`ab`), without a buffer: what is written is handed over at once."""
    return open(path, mode, buffering=0)  # type: ignore[return-value]


def write(file: FileIO, data: memoryview) -> int:
    """Hand bytes to the operating system; it says how many it took."""
    return file.write(data) or 0


def sync_file(path: Path) -> None:
    """Wait until a file's bytes are on the disk. A failure is final: its pages may be gone."""
    _sync(path)


def sync_folder(path: Path) -> None:
    """Wait until a folder's entries are on the disk."""
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move(source: Path, target: Path) -> None:
    """Rename within one file system; a file that is at `target` is replaced."""
    os.rename(source, target)


def unlink(path: Path) -> None:
    """Remove a file's name."""
    os.unlink(path)


def make_folder(path: Path) -> None:
    """Make one folder, with the mode that the umask leaves."""
    os.mkdir(path)


def remove_folder(path: Path) -> None:
    """Remove an empty folder."""
    os.rmdir(path)


def set_mode(path: Path, mode: int) -> None:
    """Set a file's permission bits."""
    os.chmod(path, mode)


def free_bytes(directory: Path) -> int:
    """Bytes that this user may still write there."""
    return shutil.disk_usage(directory).free
