"""How a failure ends a process: the message form, the exit code, and a traceback only where it belongs."""

import os
import re
import sys
import tempfile
import time
import traceback
from pathlib import Path

from extend import store
from extend.cli.output import print_json
from extend.errors import ExtendError, InterruptedRun, OutOfMemoryError, UsageError, escaped

_OS_ERROR = re.compile(r"\(os error (\d+)\)")
"""How the libraries written in Rust (safetensors, tokenizers) tell a failed system call."""


def tell(
    error: BaseException,
    *,
    command: str,
    json_too: bool = False,
    debug: bool = False,
    directory: Path | None = None,
) -> int:
    """Say what went wrong on stderr (and as one JSON object on stdout when asked); returns the exit code.

    What no room foresaw is a bug: one line, and the traceback in a log file in `directory`, or in the
    folder for temporary files when there is no run yet.
    """
    told = as_told(error, directory)
    if told is None:
        told = _bug(error, None if debug else _log(error, directory))
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    sys.stderr.write(told.message(command).replace("extend :", "extend:", 1) + "\n")
    if json_too:
        print_json({"error": told.as_json()})
    return told.exit_code


def as_told(error: BaseException, directory: Path | None = None) -> ExtendError | None:
    """The told form of a failure, or None for a bug. `directory` is named when the failure names no path."""
    if isinstance(error, ExtendError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return InterruptedRun(
            "interrupted",
            name="E-INTERRUPTED",
            done="what was published before stays as it was",
            next="the same command continues",
        )
    if (
        isinstance(error, MemoryError)
        or "can't allocate memory" in str(error)
        or "out of memory" in str(error)
    ):
        return OutOfMemoryError(
            "this machine has too little memory for these settings",
            name="E-MEMORY",
            next="try a smaller batch: --set pretrain.batch_size=8",
        )
    if isinstance(error, OSError) and error.errno and error.filename is not None:
        return store.as_extend_error(error, Path(os.fsdecode(error.filename)))
    if number := _OS_ERROR.search(str(error)):
        return store.as_extend_error(OSError(int(number[1]), ""), directory or Path())
    if (
        isinstance(error, ModuleNotFoundError)
        and error.name
        and error.name.split(".")[0] not in ("extend", "ner")
    ):
        package = error.name.split(".")[0]
        return UsageError(
            f"the Python package {package} is not installed",
            name="E-PACKAGE",
            next=f"pip install {package}, or install extend again",
        )
    return None


def _bug(error: BaseException, log: Path | None) -> ExtendError:
    first = str(error).strip().splitlines()
    said = f": {escaped(first[0], limit=100)}" if first else ""
    return ExtendError(
        f"a bug in extend ({type(error).__name__}{said})",
        name="E-BUG",
        done=f"the traceback is in {log}" if log else "",
        next="report it with that file and the output of: extend env"
        if log
        else "add --debug to see the traceback",
    )


def _log(error: BaseException, directory: Path | None) -> Path | None:
    name = f"extend-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    text = "".join(traceback.format_exception(error))
    for folder in (directory, Path(tempfile.gettempdir())):
        if folder is None or not folder.is_dir():
            continue
        try:
            store.write_text(folder / name, text)
        except ExtendError:
            continue
        return folder / name
    return None
