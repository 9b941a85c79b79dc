"""Bilingual dictionaries: one pair a line, as the MUSE dictionaries have them."""

from pathlib import Path

from extend.errors import DataError, escaped
from extend.vectors.opening import lines_of, opened

_LINE_BYTES = 1 << 16
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_dictionary(path: Path) -> list[tuple[str, str]]:
    """Pairs of a word and its translation, in the order of the file, each pair once.

    A line has two fields, apart by a TAB (then they may hold blanks) or by blanks. Empty lines and those that
    begin with `#` are passed over, but for `#` and a TAB, which is a pair. UTF-8, as it stands: nothing is
    normalised or lowered. A gzip file is unpacked. Raises PathError; DataError with file:line: E-DICTIONARY
    for another number of fields or no pair at all, E-UTF8, E-LINE, E-ARCHIVE.
    """
    pairs: dict[tuple[str, str], None] = {}
    with opened(path) as source:
        for number, line in lines_of(source, limit=_LINE_BYTES):
            text = _decoded(path, number, line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line)
            if not text.strip() or (text.startswith("#") and not text.startswith("#\t")):
                continue
            fields = [part.strip() for part in text.split("\t")] if "\t" in text else text.split()
            if len(fields) != 2 or not all(fields):
                raise DataError(
                    f"{path}:{number}: '{escaped(text)}' is not a pair",
                    name="E-DICTIONARY",
                    why="a line has a word and its translation, apart by a TAB or a blank",
                )
            pairs[fields[0], fields[1]] = None
    if not pairs:
        raise DataError(f"{path}: the dictionary has no pair", name="E-DICTIONARY")
    return list(pairs)


def _decoded(path: Path, number: int, line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{number}: byte {error.start + 1} of the line is not UTF-8",
            name="E-UTF8",
            next="bring the file to UTF-8 first",
        ) from error
