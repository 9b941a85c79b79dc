"""NER files: columns in the CoNLL manner, or JSON lines. Every reader ends in IOB2 sentences.

Columns are split at tabs or ASCII spaces only (U+00A0, U+3000 and U+0085 stay inside words). A line that
cannot be read is a DataError that names `file:line` and shows the line escaped.
"""

import difflib
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extend.errors import DataError, UsageError, escaped
from extend.store import as_extend_error
from ner.tags import (
    OUTSIDE,
    Scheme,
    TaggedSentence,
    detect_scheme,
    illegal_transitions,
    keep_labels,
    spans_of,
    split_tag,
    tags_of,
)


@dataclass(frozen=True, slots=True)
class LocatedSentence:
    """A sentence as its file has it: the tags in the file's own scheme, and the line of each word."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    lines: tuple[int, ...]


NerReader = Callable[[Path], Iterator[LocatedSentence]]


@dataclass(frozen=True)
class NerData:
    """A set that was read: IOB2 sentences and what reading them found.

    `repaired` counts illegal tags, which were mended as conlleval does (see `ner.tags.spans_of`).
    """

    path: Path
    sentences: tuple[TaggedSentence, ...]
    scheme: Scheme
    repaired: int
    sha256: str

    @property
    def labels(self) -> tuple[str, ...]:
        tags = {tag for sentence in self.sentences for tag in sentence.tags}
        return tuple(sorted({split_tag(tag)[1] for tag in tags} - {""}))

    @property
    def words(self) -> int:
        return sum(len(sentence.words) for sentence in self.sentences)

    @property
    def entities(self) -> int:
        return sum(tag[0] == "B" for sentence in self.sentences for tag in sentence.tags)


def read_data(path: Path, *, format: str | None = None, keep: Collection[str] = ()) -> NerData:
    """Read one NER file into IOB2.

    Args:
        path: the file, in UTF-8.
        format: a key of DATASETS; by default `jsonl` for a name that ends in .jsonl, else `conll`.
        keep: the entity types kept, the others become `O`; empty keeps all.

    Raises:
        PathError: the file cannot be read. DataError: a line is not what the format says, or there is no
        sentence. UsageError: no such format.
    """
    name = format or ("jsonl" if path.suffix == ".jsonl" else "conll")
    if name not in DATASETS:
        raise UsageError(
            f"unknown NER format {escaped(name)}", name="E-NER-FORMAT", why=f"known: {', '.join(DATASETS)}"
        )
    located = list(DATASETS[name](path))
    if not located:
        raise DataError(
            f"{path} has no sentence", name="E-NER-EMPTY", next="give a file of lines `word<TAB>tag`"
        )
    scheme = _scheme_of(path, located)
    return NerData(
        path=path,
        sentences=tuple(_in_iob2(sentence, scheme, keep) for sentence in located),
        scheme=scheme,
        repaired=sum(illegal_transitions(sentence.tags, scheme=scheme) for sentence in located),
        sha256=hashlib.sha256(_bytes_of(path)).hexdigest(),
    )


def _in_iob2(sentence: LocatedSentence, scheme: Scheme, keep: Collection[str]) -> TaggedSentence:
    tags = tags_of(spans_of(sentence.tags, scheme=scheme), len(sentence.tags))
    return TaggedSentence(sentence.words, keep_labels(tags, keep))


def _scheme_of(path: Path, sentences: Sequence[LocatedSentence]) -> Scheme:
    try:
        return detect_scheme(sentence.tags for sentence in sentences)
    except ValueError as error:
        raise DataError(f"{path}: {error}", name="E-NER-SCHEME", next="convert the file to IOB2") from error


def read_columns(
    path: Path, *, word: int = 0, tag: int = -1, comments: bool = False
) -> Iterator[LocatedSentence]:
    """Sentences of a column file: a blank line ends a sentence, `-DOCSTART-` lines are left out.

    Args:
        word, tag: which columns hold them (0 is the first, -1 the last).
        comments: whether lines that start with `#` are left out (CoNLL-U and UNER files have them).

    Raises:
        DataError: E-CONLL with `file:line`. PathError: the file cannot be read.
    """
    rows: list[tuple[str, str, int]] = []
    columns = 0
    for number, line in _lines(path):
        if not line.strip(" \t"):
            yield from _sentence(rows)
            rows = []
            continue
        if (comments and line.startswith("#")) or line.startswith("-DOCSTART-"):
            continue
        fields = line.split("\t") if "\t" in line else line.rstrip(" ").split(" ")
        fields = fields if "\t" in line else [part for part in fields if part]
        columns = columns or len(fields)
        _check_columns(path, number, line, expected=columns, found=len(fields), least=max(word, tag, 1) + 1)
        rows.append((_word(path, number, line, fields[word]), _tag(path, number, line, fields[tag]), number))
    yield from _sentence(rows)


def _sentence(rows: Sequence[tuple[str, str, int]]) -> Iterator[LocatedSentence]:
    if rows:
        words, tags, lines = zip(*rows, strict=True)
        yield LocatedSentence(words, tags, lines)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise as_extend_error(error, path) from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines ended by LF or CRLF only, without a byte-order mark; the encoding is UTF-8 or a DataError."""
    for number, raw in enumerate(_bytes_of(path).removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            yield number, raw.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}:{number}:{error.start + 1} is not UTF-8",
                name="E-ENCODING",
                why=f"byte 0x{raw[error.start]:02x}: {error.reason}",
                next="convert the file to UTF-8",
            ) from error


def _bad_line(path: Path, number: int, line: str, *, why: str, next: str = "") -> DataError:
    return DataError(
        f"{path}:{number}: not a line of a CoNLL file: {escaped(line, limit=60)}",
        name="E-CONLL",
        why=why,
        next=next or "mend this line; expected: word, tab or space, tag",
    )


def _check_columns(path: Path, number: int, line: str, *, expected: int, found: int, least: int) -> None:
    if found >= least and found == expected:
        return
    if line.startswith("#") or found < least:
        why = f"{found} column{'s' * (found != 1)}, at least {least} expected"
    else:
        why = f"{found} columns, the lines before it have {expected}"
    raise _bad_line(path, number, line, why=why)


def _word(path: Path, number: int, line: str, word: str) -> str:
    if not word or any(character in word for character in "\t\n\r"):
        raise _bad_line(path, number, line, why="the word is empty or holds a tab or a line break")
    return word


def _tag(path: Path, number: int, line: str, tag: str) -> str:
    try:
        split_tag(tag)
    except ValueError as error:
        why = f"{escaped(tag)} is not a tag; a tag is O or PREFIX-TYPE, PREFIX one of B I E S L U"
        raise _bad_line(path, number, line, why=why, next=f"did you mean {_closest_tag(tag)}?") from error
    return tag


_COMMON_TYPES = ("PER", "LOC", "ORG", "MISC")


def _closest_tag(tag: str) -> str:
    name = "".join(character for character in tag if character.isalnum() or character in "-_.").upper()
    name = name.replace("_", "-", 1) if "-" not in name else name
    prefix, _, label = name.partition("-")
    if label and prefix in {"B", "I", "E", "S", "L", "U"}:
        return f"{prefix}-{label[:64]}"
    if name in _COMMON_TYPES:
        return f"B-{name}"
    common = ("O", *(f"{mark}-{label}" for mark in "BI" for label in _COMMON_TYPES))
    return next(iter(difflib.get_close_matches(name, common, n=1, cutoff=0.3)), OUTSIDE)


def read_wikiann(path: Path) -> Iterator[LocatedSentence]:
    """Columns whose words carry a language prefix (`en:Paris`), as WikiANN was first published."""
    for sentence in read_columns(path):
        words = tuple(word.split(":", 1)[-1] or word for word in sentence.words)
        yield LocatedSentence(words, sentence.tags, sentence.lines)


def read_uner(path: Path) -> Iterator[LocatedSentence]:
    """Universal NER files: comment lines, then index, word, tag and further columns."""
    return read_columns(path, word=1, tag=2, comments=True)


_WORD_FIELDS = ("words", "tokens")
_TAG_FIELDS = ("tags", "ner_tags")


def read_jsonl(path: Path) -> Iterator[LocatedSentence]:
    """One object a line: `words` (or `tokens`) and `tags` (or `ner_tags`), lists of strings.

    Raises DataError E-JSONL with `file:line`.
    """
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _bad_record(path, number, line, why="not JSON") from error
        words = _strings(path, number, line, record, _WORD_FIELDS)
        tags = _strings(path, number, line, record, _TAG_FIELDS)
        if len(words) != len(tags):
            raise _bad_record(path, number, line, why=f"{len(words)} words but {len(tags)} tags")
        rows = [
            (_word(path, number, line, word), _tag(path, number, line, tag), number)
            for word, tag in zip(words, tags, strict=True)
        ]
        yield from _sentence(rows)


def _strings(path: Path, number: int, line: str, record: Any, names: Sequence[str]) -> list[str]:
    found = (
        next((record[name] for name in names if name in record), None) if isinstance(record, dict) else None
    )
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise _bad_record(path, number, line, why=f"no list of strings named {' or '.join(names)}")
    return found


def _bad_record(path: Path, number: int, line: str, *, why: str) -> DataError:
    return DataError(
        f"{path}:{number}: not a record of tagged words: {escaped(line, limit=60)}",
        name="E-JSONL",
        why=why,
        next='expected: {"words": ["Ada", "sang"], "tags": ["B-PER", "O"]}',
    )


DATASETS: Mapping[str, NerReader] = {
    "conll": read_columns,
    "jsonl": read_jsonl,
    "uner": read_uner,
    "wikiann": read_wikiann,
}
