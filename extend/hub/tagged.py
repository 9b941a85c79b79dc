"""NER sets that are streamed from the hub: words and the names of their tags, record by record."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from extend.errors import DataError, escaped
from extend.hub.connection import quiet, told
from extend.hub.streaming import opened, parse_spec

WORD_COLUMNS = ("words", "tokens")
TAG_COLUMNS = ("tags", "ner_tags")


def stream_tagged(spec: str) -> Iterator[dict[str, list[Any]]]:
    """The records of `hf:DATASET[:CONFIG[:SPLIT]]`, each as `{"words": [...], "tags": [...]}`.

    DATASET is a hub name or a folder of data files. Words stand in a column `words` or `tokens`, tags in
    `tags` or `ner_tags`; numbers become the names that the dataset gives them (its ClassLabel), other values
    pass as they are.

    Raises what `stream_dataset` raises; DataError E-NER-DATASET when there are no such columns, or numbers
    without names.
    """
    path, config, split = parse_spec(spec)
    with told(path), quiet():
        dataset = opened(path, config, split)
        records = iter(dataset)
    names: Sequence[str] | None = None
    while True:
        with told(path), quiet():
            record = next(records, None)
        if record is None:
            return
        words, tags = (_column(spec, record, some) for some in (WORD_COLUMNS, TAG_COLUMNS))
        if names is None:
            names = _names(dataset.features, tags)
        yield {
            "words": list(record[words] or ()),
            "tags": [_named(spec, tag, names) for tag in record[tags] or ()],
        }


def _column(spec: str, record: Mapping[str, Any], some: Sequence[str]) -> str:
    found = next((name for name in some if isinstance(record.get(name), list)), "")
    if not found:
        raise DataError(
            f"{escaped(spec)} has no column of lists named {' or '.join(some)}",
            name="E-NER-DATASET",
            why=f"its columns are {', '.join(map(escaped, record))}",
            next="give a dataset of words and tags, or files",
        )
    return found


def _names(features: Mapping[str, Any] | None, column: str) -> Sequence[str]:
    """The names of a list of ClassLabel; none when it is another list."""
    kind = (features or {}).get(column)
    return getattr(getattr(kind, "feature", None), "names", None) or ()


def _named(spec: str, tag: Any, names: Sequence[str]) -> Any:
    if isinstance(tag, bool) or not isinstance(tag, int):
        return tag
    if not 0 <= tag < len(names):
        raise DataError(
            f"{escaped(spec)} has the tag {tag} and {len(names) or 'no'} names for tags",
            name="E-NER-DATASET",
            why="numbers are tags only with the names that a ClassLabel gives them",
            next="write the set to a file of words and tags",
        )
    return names[tag]
