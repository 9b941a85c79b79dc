"""What an evaluation is given: files of tagged words, and the text its encoders were pretrained on."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, eq=False)
class PretrainingText:
    """Text that encoders have seen, in which sentences of a test set are looked for.

    Attributes:
        lines: reads the text anew at every call, line by line; it is never whole in memory.
        identity: tells this text from any other, so that what was found in it holds again; empty: unknown.
        searched: what was found, by the sets that were looked for, so that the text is read once.
    """

    lines: Callable[[], Iterable[str]]
    identity: str = ""
    searched: dict[tuple[str, ...], Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class NerFile:
    """A file of tagged words and how it is read.

    Attributes:
        format: a name of `ner.data.DATASETS`, or `conll:WORD:TAG` with the numbers of two columns (from 1,
            or from -1 backwards); empty: as the content shows.
        label_map: new names of entity types by old name, `O` for none; the others keep theirs.
        text: where else the sentences of a test set may have been seen.
    """

    path: Path
    format: str = ""
    label_map: Mapping[str, str] = field(default_factory=dict)
    text: PretrainingText | None = None

    @classmethod
    def of(cls, file: "Path | NerFile") -> "NerFile":
        """`file`, or a path as the content shows."""
        return file if isinstance(file, NerFile) else cls(file)
