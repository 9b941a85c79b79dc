"""Files whose lines begin with an index: Universal NER, and CoNLL-U with tags in its last column.

The rules: lines that start with `#` are left out. An empty node (`5.1`) is no word of the text and is left
out. A range (`3-4`, a written word of several syntactic ones) is left out and its words stay, except when
the range has a tag and none of its words has one (they have `_` or `-`): then the range is the word. Indices
count from 1 without a gap, so a missing blank line between two sentences is told.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ner.data.columns import check_tag, fields_of
from ner.data.opening import lines
from ner.data.sentences import LocatedSentence, Row, bad_line, check_length, sentence_of, word_fault
from ner.tags import TAG

INDEX = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9})|\.([0-9]{1,9}))?")
MISC_TAG = re.compile(r"(?:NER|NE|name|ner|ne)=(.+)")
_NO_TAG = frozenset(("", "_", "-"))
_CONLLU_COLUMNS = 10

TagOf = Callable[[Sequence[str]], str]


def read_uner(path: Path) -> Iterator[LocatedSentence]:
    """Universal NER files: comment lines, then index, word, tag and further columns."""
    return _indexed(path, lambda fields: fields[2], least=3)


def read_conllu(path: Path) -> Iterator[LocatedSentence]:
    """CoNLL-U of ten columns with the tag in MISC, as `name=B-PER`, `NER=B-PER` or `NE=B-PER`."""
    return _indexed(path, misc_tag, least=_CONLLU_COLUMNS)


def misc_tag(fields: Sequence[str]) -> str:
    """The tag in the last column of a CoNLL-U line; `_` when it holds none."""
    found = (MISC_TAG.fullmatch(part) for part in fields[-1].split("|"))
    return next((match[1] for match in found if match), "_")


def _indexed(path: Path, tag_of: TagOf, *, least: int) -> Iterator[LocatedSentence]:
    sentence = _Sentence(path)
    for number, line in lines(path):
        if not line or not line.strip(" \t"):
            yield from sentence_of(sentence.rows())
            sentence = _Sentence(path)
        elif not line.startswith("#"):
            fields = fields_of(line)
            if len(fields) < least:
                why = f"{len(fields)} column{'s' * (len(fields) != 1)}, at least {least} expected"
                raise bad_line(path, number, line, why=why)
            sentence.add(fields, tag_of(fields), number, line)
    yield from sentence_of(sentence.rows())


@dataclass
class _Sentence:
    """Lines of one sentence: its words, and the ranges over them as (first, last, row, line)."""

    path: Path
    words: list[tuple[Row, str]] = field(default_factory=list)
    ranges: list[tuple[int, int, Row, str]] = field(default_factory=list)

    def add(self, fields: Sequence[str], tag: str, number: int, line: str) -> None:
        match = INDEX.fullmatch(fields[0])
        if match is None:
            raise bad_line(self.path, number, line, why="no index (1, 3-4 or 5.1) in the first column")
        if match[3]:
            return
        if why := word_fault(fields[1]):
            raise bad_line(self.path, number, line, why=why)
        row, following = (fields[1], tag, number), len(self.words) + 1
        if int(match[1]) != following:
            why = f"index {match[1]} where {following} is due; is a blank line missing?"
            raise bad_line(self.path, number, line, why=why)
        if match[2]:
            self.ranges.append((int(match[1]), int(match[2]), row, line))
        else:
            self.words.append((row, line))
        check_length(self.path, number, len(self.words) + len(self.ranges))

    def rows(self) -> list[Row]:
        """The words that count, by the rules of this module. Raises DataError E-CONLL."""
        chosen: list[tuple[Row, str]] = []
        done = 0
        for first, last, row, line in self.ranges:
            if not done < first <= last <= len(self.words):
                why = f"the range {first}-{last} is not one of the sentence's words"
                raise bad_line(self.path, row[2], line, why=why)
            covered = self.words[first - 1 : last]
            untagged = all(word[1] in _NO_TAG for word, _ in covered)
            chosen += self.words[done : first - 1]
            chosen += [(row, line)] if untagged and TAG.fullmatch(row[1]) else covered
            done = last
        chosen += self.words[done:]
        for row, line in chosen:
            check_tag(self.path, row[2], line, row[1])
        return [row for row, _ in chosen]
