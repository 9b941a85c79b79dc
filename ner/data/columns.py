"""Columns in the CoNLL manner, and WikiANN's: a word and its tag a line, a blank line after a sentence.

Columns are split at tabs or, in lines without a tab, at ASCII spaces only: U+00A0, U+3000 and U+0085 stay
inside words.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from ner.data.opening import lines
from ner.data.sentences import (
    LocatedSentence,
    Row,
    bad_line,
    check_length,
    sentence_of,
    tag_fault,
    word_fault,
)
from ner.tags import TAG

LANGUAGE_PREFIX = re.compile(r"[a-z]{2,3}(?:-[a-z]+)*:")
"""What stands before every word of a WikiANN file."""


def read_columns(
    path: Path, *, word: int = 0, tag: int = -1, comments: bool = False
) -> Iterator[LocatedSentence]:
    """Sentences of a column file: a blank line ends a sentence, `-DOCSTART-` lines are left out.

    Args:
        word, tag: which columns hold them (0 is the first, -1 the last).
        comments: whether lines that start with `#` and do not end in a tag are left out.

    Raises:
        DataError: E-CONLL with `file:line`, or what `ner.data.opening.lines` raises. PathError.
    """
    rows: list[Row] = []
    columns, least = 0, max(2, *(place + 1 if place >= 0 else -place for place in (word, tag)))
    known: set[str] = set()
    for number, line in lines(path):
        if not line or not line.strip(" \t"):
            yield from sentence_of(rows)
            rows = []
            continue
        if (comments and is_comment(line)) or line.startswith("-DOCSTART-"):
            continue
        fields = fields_of(line)
        columns = columns or len(fields)
        if len(fields) != columns or columns < least:
            raise bad_line(path, number, line, why=_columns_fault(line, len(fields), columns, least))
        if why := word_fault(fields[word]):
            raise bad_line(path, number, line, why=why)
        if fields[tag] not in known:
            check_tag(path, number, line, fields[tag])
            known.add(fields[tag])
        rows.append((fields[word], fields[tag], number))
        check_length(path, number, len(rows))
    yield from sentence_of(rows)


def fields_of(line: str) -> list[str]:
    """The columns of a line; spaces divide only where there is no tab, and then any number of them."""
    return line.split("\t") if "\t" in line else [part for part in line.split(" ") if part]


def is_comment(line: str) -> bool:
    """Whether a line starts with `#` and is no row: its last column is not a tag."""
    return line.startswith("#") and not TAG.fullmatch(fields_of(line)[-1])


def check_tag(path: Path, number: int, line: str, tag: str) -> None:
    """Raises DataError E-CONLL for what is no tag, with the closest that is one."""
    why, meant = tag_fault(tag)
    if why:
        raise bad_line(path, number, line, why=why, next=meant)


def _columns_fault(line: str, found: int, expected: int, least: int) -> str:
    if line.startswith("#") or found < least:
        return f"{found} column{'s' * (found != 1)}, at least {least} expected"
    return f"{found} columns, the lines before it have {expected}"


def read_commented(path: Path) -> Iterator[LocatedSentence]:
    """Columns with comment lines between the sentences (`# id 8f4 domain=en`), as MultiCoNER has them."""
    return read_columns(path, comments=True)


def read_wikiann(path: Path) -> Iterator[LocatedSentence]:
    """Columns whose words carry a language prefix (`en:Paris`), as WikiANN was first published.

    The prefix is that of the first word; a word without it, or of nothing else, stays as it is.
    """
    prefix = ""
    for sentence in read_columns(path):
        found = prefix or LANGUAGE_PREFIX.match(sentence.words[0])
        prefix = found if isinstance(found, str) else found[0] if found else ""
        words = tuple(word.removeprefix(prefix) or word for word in sentence.words)
        yield LocatedSentence(words, sentence.tags, sentence.lines)
