"""One run, one process: a lock that the kernel frees when its holder dies."""

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from extend.errors import BusyError
from extend.store import operations
from extend.store.files import make_directory, told


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the run folder: one run, one process. The kernel frees the lock when the process dies.

    Raises BusyError, which names the holder, when another process has it.
    """
    make_directory(directory)
    path = directory / ".lock"
    with told(path):
        file = operations.open_file(path, "ab")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = path.read_text(encoding="utf-8", errors="replace").strip() or "another process"
            raise BusyError(
                f"run folder {directory} is in use by {holder}",
                name="E-RUN-BUSY",
                next="wait for it to end, or give another --run DIR",
            ) from error
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        file.truncate(0)
        with told(path):
            holder = f"pid {os.getpid()} on {socket.gethostname()} since {since}"
            operations.write(file, memoryview(holder.encode("utf-8")))
        yield
