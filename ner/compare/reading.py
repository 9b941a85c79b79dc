"""Files of tags, whoever made them: read, and held against each other word by word."""

from collections.abc import Sequence
from pathlib import Path

from extend.errors import DataError, escaped
from ner.data import LocatedSentence, read_columns, reader_of, recognised
from ner.data.opening import lines
from ner.tags import Scheme, detect_scheme, split_tag

CLOSED = frozenset("ESLUW")
"""Marks that only the schemes have that close their spans."""


def read_tags(path: Path) -> list[LocatedSentence]:
    """The sentences of a file with the tags of its last column of tags (a column of numbers may follow).

    Raises DataError E-NER-EMPTY when there is none, and what the reader raises.
    """
    format, _ = recognised(path)
    if format == "conll":
        sentences = list(read_columns(path, tag=-2 if _ends_in_number(path) else -1))
    else:
        sentences = list(reader_of(format)(path))
    if not sentences:
        raise DataError(f"{path} has no sentence", name="E-NER-EMPTY")
    return sentences


def read_predictions(path: Path) -> tuple[list[LocatedSentence], list[LocatedSentence]]:
    """Gold and predicted tags of one file: columns word, gold, predicted."""
    gold, predicted = list(read_columns(path, tag=1)), list(read_columns(path, tag=2))
    if not gold:
        raise DataError(f"{path} has no sentence", name="E-NER-EMPTY")
    return gold, predicted


def _ends_in_number(path: Path) -> bool:
    """Whether the first line of words ends in a number, as a confidence after the predicted tag does."""
    texts = (text for _, text in lines(path))
    line = next((text for text in texts if text.strip() and not text.startswith("-DOCSTART-")), "")
    fields = line.split()
    try:
        float(fields[-1])
        split_tag(fields[-2])
    except (ValueError, IndexError):
        return False
    return True


def schemes_of(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> tuple[Scheme, Scheme]:
    """The scheme of gold and that of the predictions.

    The predictions have gold's, except where their own marks say that they cannot: only one side has the
    marks that close a span, or gold is in IOB1 and they begin spans with B. Raises DataError E-NER-SCHEME
    when a side mixes two schemes.
    """
    try:
        mine = detect_scheme(gold)
        theirs = detect_scheme(predicted)
    except ValueError as error:
        raise DataError(str(error), name="E-NER-SCHEME", next="convert the files to one scheme") from error
    marks = [{tag[0] for tags in side for tag in tags} for side in (gold, predicted)]
    nothing = marks[1] <= {"O"}
    own = bool(marks[0] & CLOSED) != bool(marks[1] & CLOSED) or mine is Scheme.IOB1
    both_closed = bool(marks[0] & CLOSED and marks[1] & CLOSED)
    return mine, theirs if (own or both_closed) and not nothing else mine


def check_same_words(
    first: Path, mine: Sequence[LocatedSentence], second: Path, theirs: Sequence[LocatedSentence]
) -> None:
    """Raises DataError E-MISMATCH at the first line whose words differ."""
    for one, other in zip(mine, theirs, strict=False):
        if one.words == other.words:
            continue
        for place in range(max(len(one.words), len(other.words))):
            ends = [place >= len(sentence.words) for sentence in (one, other)]
            if any(ends) or one.words[place] != other.words[place]:
                raise _mismatch(first, one, second, other, place)
    if len(mine) != len(theirs):
        shorter, longer = sorted((mine, theirs), key=len)
        path = first if longer is mine else second
        line = longer[len(shorter)].lines[0]
        raise DataError(
            f"{path}:{line}: a sentence that the other file does not have",
            name="E-MISMATCH",
            why=f"{first} has {len(mine)} sentences, {second} has {len(theirs)}",
            next="score files of the same sentences",
        )


def check_same_gold(
    first: Path, mine: Sequence[LocatedSentence], second: Path, theirs: Sequence[LocatedSentence]
) -> None:
    """Raises DataError E-MISMATCH at the first line whose words, or gold tags, differ."""
    check_same_words(first, mine, second, theirs)
    for one, other in zip(mine, theirs, strict=True):
        if one.tags != other.tags:
            place = next(i for i, tag in enumerate(one.tags) if tag != other.tags[i])
            raise DataError(
                f"{first}:{one.lines[place]} and {second}:{other.lines[place]} differ in gold: "
                f"{one.tags[place]} against {other.tags[place]}",
                name="E-MISMATCH",
                next="compare predictions for the same gold file",
            )


def _mismatch(
    first: Path, one: LocatedSentence, second: Path, other: LocatedSentence, place: int
) -> DataError:
    def shown(sentence: LocatedSentence) -> tuple[int, str]:
        if place < len(sentence.words):
            return sentence.lines[place], escaped(sentence.words[place], limit=30)
        return sentence.lines[-1] + 1, "the end of the sentence"

    (mine, word), (theirs, other_word) = shown(one), shown(other)
    return DataError(
        f"{first}:{mine} and {second}:{theirs} differ: {word} against {other_word}",
        name="E-MISMATCH",
        why="gold and predictions must have the same words in the same sentences",
        next="score files of the same sentences",
    )
