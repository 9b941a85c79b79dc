"""A disk that stops, fails or forgets at a chosen operation of `extend.store`."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from extend.store import operations

Before = Callable[[int, str, tuple[Any, ...]], None]
"""Called before an operation with its number (from 0), its name and what it is given."""


@dataclass
class Counted:
    """The operations asked for so far: each one's name and the path it is done to."""

    places: list[tuple[str, Path]] = field(default_factory=list)

    @property
    def done(self) -> int:
        return len(self.places)


@contextmanager
def watched(before: Before = lambda number, name, given: None, *, syncs: bool = False) -> Iterator[Counted]:
    """Every operation is counted, and `before` called first.

    No test can cut the power, so nothing waits for the disk unless `syncs`.
    """
    seen = Counted()

    def wrapped(name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        def perform(*given: Any) -> Any:
            number = seen.done
            subject = given[0].name if isinstance(given[0], FileIO) else given[0]
            seen.places.append((name, Path(subject)))
            before(number, name, given)
            return None if name.startswith("sync") and not syncs else operation(*given)

        return perform

    with pytest.MonkeyPatch.context() as patch:
        for name in operations.OPERATIONS:
            patch.setattr(operations, name, wrapped(name, getattr(operations, name)))
        yield seen


@contextmanager
def failing(at: int, number: int, *, once: bool = False) -> Iterator[Counted]:
    """The operation `at`, and all after it unless `once`, fail with errno `number`."""

    def fail(place: int, name: str, given: tuple[Any, ...]) -> None:
        if place == at or (place > at and not once):
            raise OSError(number, os.strerror(number))

    with watched(fail) as seen:
        yield seen


@contextmanager
def ending(at: int, end: Callable[[], None]) -> Iterator[Counted]:
    """`end` is called instead of operation `at`; of a write, half of the bytes are handed over by then."""

    def stop(place: int, name: str, given: tuple[Any, ...]) -> None:
        if place == at:
            if name == "write":
                file, data = given
                file.write(data[: len(data) // 2])
            end()

    with watched(stop) as seen:
        yield seen


def in_child(action: Callable[[], int | None]) -> int:
    """`action` in a forked process, so that it can be ended anywhere; its exit code, or minus its signal."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = action() or 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@dataclass
class _File:
    now: bytes = b""
    kept: bytes = b""


@dataclass
class _Folder:
    now: dict[str, "_File | _Folder"] = field(default_factory=dict)
    kept: dict[str, "_File | _Folder"] = field(default_factory=dict)


class ForgetfulDisk:
    """What may be on a disk after the power was cut, by the rules of POSIX.

    Bytes are sure only after the file's sync, names only after the folder's; what is not sure may be there
    or not. It follows the operations below `root` and writes out the disk of each extreme case.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = self._read(root)

    def _read(self, folder: Path) -> _Folder:
        entries: dict[str, _File | _Folder] = {}
        for path in folder.iterdir():
            entries[path.name] = self._read(path) if path.is_dir() else _File(*[path.read_bytes()] * 2)
        return _Folder(dict(entries), dict(entries))

    def _folder(self, path: Path) -> _Folder:
        folder: _File | _Folder = self.tree
        for part in path.relative_to(self.root).parts:
            assert isinstance(folder, _Folder)
            folder = folder.now[part]
        assert isinstance(folder, _Folder)
        return folder

    def follow(self, number: int, name: str, given: tuple[Any, ...]) -> None:
        """Takes note of one operation, as `watched` calls it."""
        path = Path(given[0].name) if isinstance(given[0], FileIO) else Path(given[0])
        if name == "sync_folder":
            self._folder(path).kept = dict(self._folder(path).now)
            return
        entries = self._folder(path.parent).now
        node = entries.get(path.name)
        if name == "make_folder":
            entries[path.name] = _Folder()
        elif name == "open_file" and (given[1] == "wb" or node is None):
            entries[path.name] = _File()
        elif name == "write":
            assert isinstance(node, _File)
            node.now += bytes(given[1])
        elif name == "sync_file":
            assert isinstance(node, _File)
            node.kept = node.now
        elif name == "move":
            self._folder(Path(given[1]).parent).now[Path(given[1]).name] = entries.pop(path.name)
        elif name in ("unlink", "remove_folder"):
            del entries[path.name]

    def write_out(self, target: Path, *, names_kept: bool, bytes_kept: bool) -> None:
        """The disk where all names, or all bytes, are as they are now, or only those that are sure."""
        self._write(self.tree, target, names_kept, bytes_kept)

    def _write(self, folder: _Folder, target: Path, names_kept: bool, bytes_kept: bool) -> None:
        target.mkdir()
        for name, node in (folder.now if names_kept else folder.kept).items():
            if isinstance(node, _Folder):
                self._write(node, target / name, names_kept, bytes_kept)
            else:
                (target / name).write_bytes(node.now if bytes_kept else node.kept)
