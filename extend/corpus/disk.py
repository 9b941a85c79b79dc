"""Regular files, read steadily: no pipe is waited for, a hiccup is tried again, a change is told."""

import errno
import io
import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from extend.corpus.accounts import Fingerprint
from extend.errors import DataError, ExtendError, PathError, escaped
from extend.store import as_extend_error

RETRIED = {errno.EIO, errno.ESTALE}
PAUSES = (0.05, 0.2, 0.8)


def open_regular(path: Path) -> io.FileIO:
    """`path` for reading. Raises PathError E-PATH for what is no regular file, without waiting for it."""
    try:
        file = io.FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except ValueError as error:
        raise PathError(f"cannot read {escaped(str(path))}: not a path", name="E-PATH") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise not_regular(path)
    return file


def not_regular(path: Path) -> PathError:
    """The told form of a folder, pipe, socket or device given as a file."""
    return PathError(
        f"cannot read {escaped(str(path))}: not a regular file",
        name="E-PATH",
        why="folders, pipes, sockets and devices are not read as a corpus file",
    )


class SteadyFile(io.RawIOBase):
    """A file to read and seek in, opened by `opener`; a read is short only at the end.

    EIO and ESTALE (network file systems) are tried again after each of `pauses` (seconds), with the file
    opened anew at the same offset. Raises PathError with the offset when that does not help, DataError
    E-CHANGED when the file is then another one.
    """

    def __init__(
        self, path: Path, opener: Callable[[], io.FileIO] | None = None, *, pauses: Sequence[float] = PAUSES
    ) -> None:
        self._path, self._pauses, self._offset = path, pauses, 0
        self._opener = opener or (lambda: open_regular(path))
        self._file = self._opener()
        self.fingerprint = self.state()

    def state(self) -> Fingerprint:
        """The file's fingerprint at this moment."""
        return Fingerprint.of(os.fstat(self._file.fileno()))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._offset

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: self.fingerprint.size}[whence]
        self._offset = self._file.seek(base + offset)
        return self._offset

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        filled, view = 0, memoryview(buffer)
        while filled < len(view) and (count := self._steadily(view[filled:])):
            filled += count
        return filled

    def _steadily(self, view: memoryview) -> int:
        for attempt in range(len(self._pauses) + 1):
            try:
                if attempt:
                    time.sleep(self._pauses[attempt - 1])
                    self._reopen()
                count = self._file.readinto(view) or 0
            except OSError as error:
                if error.errno not in RETRIED:
                    raise as_extend_error(error, self._path) from error
                failure = error
            else:
                self._offset += count
                return count
        raise self._unreadable(failure) from failure

    def _reopen(self) -> None:
        file = self._opener()
        self._file.close()
        self._file = file
        if self.state() != self.fingerprint:
            raise changed(self._path)
        self._file.seek(self._offset)

    def _unreadable(self, error: OSError) -> ExtendError:
        return PathError(
            f"cannot read {self._path} at byte {self._offset}: {os.strerror(error.errno or 0)}",
            name="E-PATH",
            why=f"tried {len(self._pauses) + 1} times",
            next="check the disk or the network share, then the same command",
        )

    def close(self) -> None:
        """Close the file behind, too; an opening that failed left none."""
        file = getattr(self, "_file", None)
        if file is not None:
            file.close()
        super().close()


def changed(path: Path) -> DataError:
    """The told form of a file that is not what it was when the work began."""
    return DataError(
        f"{path} changed while it was in use",
        name="E-CHANGED",
        why="its size, time of change or identity is not what it was at the start",
        next="keep the corpus as it is while a command runs; then the same command",
    )


def fingerprints(files: Iterable[Path]) -> dict[Path, Fingerprint]:
    """The state of every file now. Raises PathError for what is missing or no regular file."""
    found = {}
    for path in files:
        status = status_of(path)
        if not stat.S_ISREG(status.st_mode):
            raise not_regular(path)
        found[path] = Fingerprint.of(status)
    return found


def status_of(path: Path) -> os.stat_result:
    """What `stat` says. Raises PathError."""
    try:
        return path.stat()
    except OSError as error:
        raise as_extend_error(error, path) from error
    except ValueError as error:
        raise PathError(f"cannot read {escaped(str(path))}: not a path", name="E-PATH") from error
