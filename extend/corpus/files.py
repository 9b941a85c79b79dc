"""Which files make a corpus, and what identifies them."""

import glob
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from extend import store
from extend.corpus.disk import not_regular, status_of
from extend.corpus.readers import READERS, check_name
from extend.errors import DataError, PathError, escaped

_ENDINGS = tuple(READERS)


def find_files(patterns: Sequence[str], *, duplicates: list[Path] | None = None) -> list[Path]:
    """Files for `patterns`, each a file, a folder (its readable files, at any depth) or a glob.

    In byte order of their paths. A file reached by two ways (a link, a second pattern) is taken once; its
    other paths are added to `duplicates`. In folders, files with an ending of `READERS` are taken and links
    to folders are not followed; a file named as such, or by a glob, may have no known ending.

    Raises PathError E-PATH when a pattern stands for nothing or for a pipe or device, DataError
    E-CORPUS-EMPTY when a folder holds no readable file, DataError E-FORMAT for the ending of a format that
    is not read.
    """
    found: dict[tuple[int, int], Path] = {}
    paths = {path for pattern in patterns for path in _matches(pattern)}
    for path in sorted(paths, key=os.fsencode):
        status = status_of(path)
        if not stat.S_ISREG(status.st_mode):
            raise not_regular(path)
        check_name(path)
        first = found.setdefault((status.st_dev, status.st_ino), path)
        if first is not path and duplicates is not None:
            duplicates.append(path)
    if not found:
        raise DataError("the corpus is empty: no files given", name="E-CORPUS-EMPTY")
    return list(found.values())


def _matches(pattern: str) -> Iterator[Path]:
    shown = escaped(pattern)
    if os.path.isdir(pattern):  # unlike Path's, these answer False for names too long or not allowed
        files = list(_readable_below(pattern))
        if not files:
            raise DataError(
                f"the corpus is empty: no readable file in folder {shown}",
                name="E-CORPUS-EMPTY",
                why="readable endings: " + ", ".join(READERS),
            )
        yield from files
    elif os.path.exists(pattern):
        yield Path(pattern)
    else:
        matched = [match for match in _globbed(pattern) if "\0" not in pattern]
        if not matched:
            raise PathError(
                f"no such file or folder: {shown}", name="E-PATH", next="check the path given as corpus"
            )
        for match in matched:
            yield from _readable_below(match) if os.path.isdir(match) else [Path(match)]


def _globbed(pattern: str) -> Iterator[str]:
    """As `glob.glob`, but `**` follows no link to a folder: two links in a loop would have no end."""
    parts = pattern.split("/")
    if "**" not in parts:
        yield from glob.glob(pattern)
        return
    place = parts.index("**")
    before, after = "/".join(parts[:place]), "/".join(parts[place + 1 :])
    above = [before or "/"] if place and not glob.has_magic(before) else glob.glob(before) if place else ["."]
    for top in above:
        if not after:
            yield top
            continue
        for folder, names, _ in os.walk(top):
            names[:] = [name for name in names if not name.startswith(".")]
            yield from _globbed(f"{glob.escape(os.path.normpath(folder))}/{after}")


def _readable_below(directory: str) -> Iterator[Path]:
    for folder, names, files in os.walk(directory):
        names[:] = [name for name in names if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(_ENDINGS) and not name.startswith("."):
                yield Path(folder, name)


def corpus_sha256(files: Sequence[Path]) -> str:
    """One fingerprint of the bytes of all files, whatever their order and wherever they lie."""
    digests = sorted(store.sha256_file(path) for path in files)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
