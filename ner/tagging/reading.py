"""Text, columns of words or JSON lines to passages, in bounded memory; no line of the input is lost."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from extend.errors import DataError, UsageError, escaped
from ner.data.opening import opened, unpacked
from ner.tagging.passages import Passage
from ner.tagging.words import word_bounds

MAX_LINE_BYTES = 64 << 20
ROWS_A_PASSAGE = 1 << 15
"""A column file without blank lines is cut here, so that memory stays bounded."""
_CHUNK = 1 << 16
_BOM = b"\xef\xbb\xbf"
_PACKED = (".gz", ".zst", ".xz")
_WORD_FIELDS = ("words", "tokens")


class InputForm(StrEnum):
    """What a line of the input is: text, a word of a column file, or a JSON object."""

    text = "text"
    conll = "conll"
    jsonl = "jsonl"


_ENDINGS = {
    ".jsonl": InputForm.jsonl,
    ".ndjson": InputForm.jsonl,
    ".conll": InputForm.conll,
    ".bio": InputForm.conll,
    ".iob": InputForm.conll,
    ".iob2": InputForm.conll,
    ".tsv": InputForm.conll,
}


@dataclass
class Account:
    """What was read so far. `replaced` counts lines of text in which bytes became U+FFFD, `first` is one."""

    lines: int = 0
    words: int = 0
    replaced: int = 0
    first: str = ""


def form_of(name: str) -> InputForm:
    """The form that the name of a file says: JSONL or columns by its ending, else text."""
    suffixes = Path(name).suffixes
    while suffixes and suffixes[-1].lower() in _PACKED:
        suffixes.pop()
    return _ENDINGS.get(suffixes[-1].lower(), InputForm.text) if suffixes else InputForm.text


def read_passages(source: Path | BinaryIO, form: InputForm, account: Account) -> Iterator[Passage]:
    """The passages of a file (plain, .gz, .zst or .xz) or of an open stream, as they come.

    Text: a passage a line. Columns: the first one is the word, a blank line ends a passage, and it and lines
    of `-DOCSTART-` are passages without words. JSON: an object a line with `text`, or `words` (or `tokens`).
    Only LF, or CRLF, ends a line; a byte-order mark at the start is left out. In text, bytes that are not
    UTF-8 become U+FFFD and are counted.

    Raises:
        PathError: the file cannot be read. DataError: E-LINE for a line over 64 MiB, E-ENCODING for columns
        or JSON that are not UTF-8, E-CONLL or E-JSONL for a line without word or record, E-ARCHIVE.
    """
    name = str(source) if isinstance(source, Path) else "stdin"
    with _chunks(source) as chunks:
        lines = _decoded(name, _lines(name, chunks), form, account)
        for passage in _READERS[form](name, lines):
            account.words += len(passage.words)
            yield passage


@contextlib.contextmanager
def _chunks(source: Path | BinaryIO) -> Iterator[Iterator[bytes]]:
    if isinstance(source, Path):
        with opened(source) as file:
            yield unpacked(source, file)
        return
    read: Callable[[int], bytes] = getattr(source, "read1", source.read)
    yield iter(lambda: read(_CHUNK), b"")


def _lines(name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines without their ends; a last line without an end is one too."""
    parts: list[bytes] = []
    held, begun = 0, False
    for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            whole = b"".join([*parts, line])
            yield whole if begun else whole.removeprefix(_BOM)
            parts, held, begun = [], 0, True
        parts.append(rest)
        held += len(rest)
        if held > MAX_LINE_BYTES:
            raise DataError(
                f"{name} has a line of over {MAX_LINE_BYTES >> 20} MiB",
                name="E-LINE",
                next="put line ends into the text",
            )
    if last := b"".join(parts):
        yield last if begun else last.removeprefix(_BOM)


def _decoded(
    name: str, lines: Iterator[bytes], form: InputForm, account: Account
) -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(lines, start=1):
        account.lines += 1
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            if form is not InputForm.text:
                raise DataError(
                    f"{name}:{number}:{error.start + 1} is not UTF-8",
                    name="E-ENCODING",
                    why=f"byte 0x{raw[error.start]:02x}: {error.reason}",
                    next="convert the file to UTF-8",
                ) from error
            line = raw.decode("utf-8", "replace")
            account.replaced += 1
            account.first = account.first or f"{name}:{number}:{error.start + 1}"
        yield number, line.removesuffix("\r")


def _from_text(name: str, lines: Iterator[tuple[int, str]]) -> Iterator[Passage]:
    for _, line in lines:
        yield text_passage(line)


def text_passage(text: str, record: Mapping[str, Any] | None = None) -> Passage:
    """The passage of a text, cut into words by `ner.tagging.words.word_bounds`."""
    bounds = word_bounds(text)
    return Passage(tuple(text[start:end] for start, end in bounds), text, bounds, record=record)


def _from_columns(name: str, lines: Iterator[tuple[int, str]]) -> Iterator[Passage]:
    words: list[str] = []
    rows: list[str] = []
    for number, line in lines:
        empty = not line.strip(" \t") or line.startswith("-DOCSTART-")
        if words and (empty or len(words) == ROWS_A_PASSAGE):
            yield Passage(tuple(words), rows=tuple(rows))
            words, rows = [], []
        if empty:
            yield Passage((), rows=(line,))
            continue
        words.append(_first_column(name, number, line))
        rows.append(line)
    if words:
        yield Passage(tuple(words), rows=tuple(rows))


def _first_column(name: str, number: int, line: str) -> str:
    word = line.split("\t")[0] if "\t" in line else line.strip(" ").split(" ")[0]
    if not word.strip(" ") or "\r" in word:
        raise DataError(
            f"{name}:{number}: no word in the first column: {escaped(line, limit=60)}",
            name="E-CONLL",
            why="the word is empty or holds a line break",
            next="mend this line; expected: a word, and columns after a tab or a space if there are any",
        )
    return word


def _from_json(name: str, lines: Iterator[tuple[int, str]]) -> Iterator[Passage]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            record = json.loads(line, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise _bad_record(name, number, line, "not JSON") from error
        yield _of_record(name, number, line, record)


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _of_record(name: str, number: int, line: str, record: Any) -> Passage:
    if not isinstance(record, dict):
        raise _bad_record(name, number, line, "not an object")
    field = next((field for field in _WORD_FIELDS if field in record), None)
    if field is None:
        if not isinstance(record.get("text"), str):
            raise _bad_record(name, number, line, "no string named text and no list named words or tokens")
        return text_passage(record["text"], record)
    words = record[field]
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise _bad_record(name, number, line, f"{field} is not a list of strings")
    return Passage(tuple(words), record=record)


def _bad_record(name: str, number: int, line: str, why: str) -> DataError:
    return DataError(
        f"{name}:{number}: not a record to tag: {escaped(line, limit=60)}",
        name="E-JSONL",
        why=why,
        next='expected: {"text": "Ada sang."} or {"words": ["Ada", "sang", "."]}',
    )


_READERS: Mapping[InputForm, Callable[[str, Iterator[tuple[int, str]]], Iterator[Passage]]] = {
    InputForm.text: _from_text,
    InputForm.conll: _from_columns,
    InputForm.jsonl: _from_json,
}


def check_forms(names: list[str], form: InputForm | None) -> InputForm:
    """The form of all inputs: `form`, or what their names say.

    Raises UsageError when the names say different things and no form is given.
    """
    found = sorted({form or form_of(name) for name in names})
    if len(found) > 1:
        raise UsageError(
            f"inputs of several forms: {', '.join(found)}",
            name="E-TAG-FORM",
            next="name one with --input, or tag them one after the other",
        )
    return found[0]
