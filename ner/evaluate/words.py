"""The words of tagged sets alone, for what looks at text: no encoder, no protocol."""

from pathlib import Path

from ner.data import read_data

Words = tuple[str, ...]


def words_of(path: Path) -> list[Words]:
    """The words of every sentence of a tagged file, read as `ner-eval` reads it; raises as it does."""
    return [tuple(sentence.words) for sentence in read_data(path).sentences]
