"""Which reader a file needs: what the user says, else what its first bytes show.

To add a format: write its reader, a generator of LocatedSentence; give it a line in DATASETS and, where its
content shows what it is, a rule in `recognised`.
"""

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from extend.errors import UsageError, escaped
from ner.data.columns import (
    LANGUAGE_PREFIX,
    fields_of,
    is_comment,
    read_columns,
    read_commented,
    read_wikiann,
)
from ner.data.conllu import INDEX, misc_tag, read_conllu, read_uner
from ner.data.opening import head_of
from ner.data.records import read_jsonl, read_parquet
from ner.data.sentences import LocatedSentence
from ner.tags import TAG

NerReader = Callable[[Path], Iterator[LocatedSentence]]

DATASETS: Mapping[str, NerReader] = {
    "conll": read_columns,
    "conll-comments": read_commented,
    "conllu": read_conllu,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "uner": read_uner,
    "wikiann": read_wikiann,
}

_RECORD = re.compile(r'\{\s*"')
_COLUMNS = re.compile(r"conll:(-?[1-9][0-9]{0,2}):(-?[1-9][0-9]{0,2})")
_ENDINGS = {".jsonl": "jsonl", ".parquet": "parquet"}
_PACKED = (".gz", ".zst", ".xz")
_LINES_LOOKED_AT = 1000


def reader_of(format: str) -> NerReader:
    """The reader of a name in DATASETS, or of `conll:WORD:TAG` with the numbers of two columns.

    Columns are counted from 1, or from -1 backwards. Raises UsageError E-NER-FORMAT.
    """
    if format in DATASETS:
        return DATASETS[format]
    match = _COLUMNS.fullmatch(format)
    if match is None or match[1] == match[2]:
        raise UsageError(
            f"unknown NER format {escaped(format)}",
            name="E-NER-FORMAT",
            why=f"known: {', '.join(DATASETS)}, conll:WORD:TAG",
            next="for example conll:1:4, or conll:1:-1",
        )
    word, tag = (int(number) - (not number.startswith("-")) for number in match.groups())
    return functools.partial(read_columns, word=word, tag=tag)


def recognised(path: Path) -> tuple[str, str]:
    """The format of a file, a name of DATASETS, and its compression (`.gz`, `.zst`, `.xz` or none).

    The content decides; a name that ends in .jsonl or .parquet is believed where it does not, so that a
    damaged file is told as what it should be. What shows nothing else is columns.

    Raises what opening the file raises.
    """
    head, compression = head_of(path)
    name = path.name.lower()
    name = next((name.removesuffix(ending) for ending in _PACKED if name.endswith(ending)), name)
    named = next((kind for ending, kind in _ENDINGS.items() if name.endswith(ending)), "")
    if head.startswith(b"PAR1"):
        return "parquet", compression
    text = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="replace")
    if named or _is_record(text):
        return named or "jsonl", compression
    return _columns_kind(
        [line.removesuffix("\r") for line in text.split("\n")[:_LINES_LOOKED_AT]]
    ), compression


def _is_record(text: str) -> bool:
    text = text.lstrip()
    if not text.startswith("{"):
        return False
    line, newline, _ = text.partition("\n")
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return not newline and bool(_RECORD.match(line))  # it is longer than what was looked at


def _columns_kind(lines: Sequence[str]) -> str:
    """Which columns these are; the last line, which may be cut, counts only where it is whole."""
    commented = next((is_comment(line) for line in lines if line.strip(" \t")), False)
    sentences: list[list[list[str]]] = [[]]
    for line in lines[:-1] if lines[-1] else lines:
        if not line.strip(" \t"):
            sentences.append([])
        elif not line.startswith(("#", "-DOCSTART-")):
            sentences[-1].append(fields_of(line))
    whole = [rows for rows in sentences if rows]
    if indexed := _indexed_kind(whole, commented=commented):
        return indexed
    first = [rows[0][0] for rows in whole[:1]]
    prefix = LANGUAGE_PREFIX.match(first[0]) if first else None
    words = [row[0] for rows in whole for row in rows]
    if prefix and len(words) > 1 and all(word.startswith(prefix[0]) for word in words):
        return "wikiann"
    return "conll-comments" if commented else "conll"


def _indexed_kind(sentences: Sequence[Sequence[Sequence[str]]], *, commented: bool) -> str:
    """`uner` or `conllu` when every line begins with its number in the sentence, else nothing.

    Numbers that are words are few: only 1 in sentences of one word. So either a sentence has two words, or
    there are comments.
    """
    rows = [row for some in sentences for row in some]
    longest = max(map(len, sentences), default=0)
    if not rows or not (longest > 1 or commented):
        return ""
    for some in sentences:
        numbers = [int(row[0]) for row in some if row[0].isascii() and row[0].isdigit()]
        if numbers != list(range(1, len(numbers) + 1)) or not all(INDEX.fullmatch(row[0]) for row in some):
            return ""
    if all(len(row) >= 10 for row in rows) and any(TAG.fullmatch(misc_tag(row)) for row in rows):
        return "conllu"
    return "uner" if all(len(row) >= 3 for row in rows) else ""
