"""Which files make a corpus, and what identifies them."""

import glob
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from extend import store
from extend.corpus.readers import READERS, reader_of
from extend.errors import DataError, PathError, escaped


def find_files(patterns: Sequence[str]) -> list[Path]:
    """Files for `patterns`, each a file, a folder (its readable files, at any depth) or a glob.

    In byte order of their paths; a file reached by two ways is taken once. Raises PathError E-PATH when a
    pattern stands for nothing or for a pipe or device, DataError E-CORPUS-EMPTY when a folder holds no
    readable file, DataError E-FORMAT when a file has no reader.
    """
    found: dict[tuple[int, int], Path] = {}
    for path in sorted((path for pattern in patterns for path in _matches(pattern)), key=os.fsencode):
        status = _status(path)
        if not stat.S_ISREG(status.st_mode):
            raise PathError(f"cannot read {escaped(str(path))}: not a regular file", name="E-PATH")
        reader_of(path)
        found.setdefault((status.st_dev, status.st_ino), path)
    if not found:
        raise DataError("the corpus is empty: no files given", name="E-CORPUS-EMPTY")
    return list(found.values())


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise store.as_extend_error(error, path) from error


def _matches(pattern: str) -> Iterator[Path]:
    shown = escaped(pattern)
    path = Path(pattern)
    if os.path.isdir(pattern):  # unlike Path's, these answer False for names too long or not allowed
        files = list(_readable_below(path))
        if not files:
            raise DataError(
                f"the corpus is empty: no readable file in folder {shown}",
                name="E-CORPUS-EMPTY",
                why="readable endings: " + ", ".join(READERS),
            )
        yield from files
    elif os.path.exists(pattern):
        yield path
    else:
        matched = [Path(match) for match in glob.glob(pattern, recursive=True) if "\0" not in pattern]
        if not matched:
            raise PathError(
                f"no such file or folder: {shown}", name="E-PATH", next="check the path given as corpus"
            )
        for match in matched:
            yield from _readable_below(match) if match.is_dir() else [match]


def _readable_below(directory: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(directory):
        names[:] = [name for name in names if not name.startswith(".")]
        for name in files:
            if name.endswith(tuple(READERS)) and not name.startswith("."):
                yield Path(folder, name)


def corpus_sha256(files: Sequence[Path]) -> str:
    """One fingerprint of the bytes of all files, whatever their order and wherever they lie."""
    digests = sorted(store.sha256_file(path) for path in files)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
