"""Tagged passages as JSON lines or as columns."""

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from ner.tagging.passages import Entity, Tagged

CONFIDENCE_DIGITS = 4


class OutputForm(StrEnum):
    """What tagged passages are written as."""

    jsonl = "jsonl"
    conll = "conll"


def as_record(tagged: Tagged) -> dict[str, Any]:
    """The passage as an object: what it was read from, and `entities`; for given words `tags` too.

    Offsets count characters of `text`, or words where words were given.
    """
    passage = tagged.passage
    record = dict(passage.record) if passage.record is not None else {}
    if passage.text is not None:
        record["text"] = passage.text
    else:
        if "tokens" not in record:
            record["words"] = list(passage.words)
        record["tags"] = list(tagged.tags)
    record["entities"] = [_entity(one) for one in tagged.entities]
    return record


def _entity(one: Entity) -> dict[str, Any]:
    return {
        "start": one.start,
        "end": one.end,
        "type": one.type,
        "text": one.text,
        "confidence": round(one.confidence, CONFIDENCE_DIGITS),
    }


def is_record(tagged: Tagged) -> bool:
    """Whether the passage is more than a blank line or a mark between passages."""
    return bool(tagged.passage.words) or tagged.passage.text is not None or tagged.passage.record is not None


def as_lines(tagged: Tagged, form: OutputForm) -> Iterator[str]:
    """The lines of a passage, without their ends.

    JSONL: one line. Columns: of a column file its own lines, each with the tag as a further column, as many
    as came in; of anything else `word<TAB>tag` lines and a blank one.
    """
    passage = tagged.passage
    if form is OutputForm.jsonl:
        if is_record(tagged):
            yield json.dumps(as_record(tagged), ensure_ascii=False, allow_nan=False)
    elif passage.rows:
        yield from map(_row, passage.rows, tagged.tags) if passage.words else passage.rows
    else:
        yield from (f"{_one_line(word)}\t{tag}" for word, tag in zip(passage.words, tagged.tags, strict=True))
        yield ""


def _row(row: str, tag: str) -> str:
    if "\t" in row:
        return f"{row}\t{tag}"
    bare = row.strip(" ")
    return f"{bare} {tag}" if " " in bare else f"{bare}\t{tag}"


def _one_line(word: str) -> str:
    """Given words may hold anything; a column cannot hold what parts columns and lines."""
    return word.translate(_BREAKS) or "\ufffd"


_BREAKS = dict.fromkeys(map(ord, "\t\n\r"), "\ufffd")


def as_bytes(lines: Iterator[str]) -> bytes:
    """Lines in UTF-8, each with its end. A lone surrogate, which UTF-8 lacks, becomes its JSON escape."""
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
