"""What an evaluation plans and what it has read."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ner.data import NerData
from ner.files import PretrainingText


@dataclass(frozen=True)
class Experiment:
    """Heads trained on one language and tested on some."""

    train: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class LanguageSets:
    """What was read of one language.

    `dev_held_out`: dev is a seeded part of the training file. `text`: where sentences of the test set may
    have been seen in pretraining.
    """

    train: NerData | None = None
    dev: NerData | None = None
    test: NerData | None = None
    dev_held_out: bool = False
    text: PretrainingText | None = None

    def described(self) -> dict[str, dict[str, Any]]:
        """The `data` entry of results.json."""
        sets = {"train": self.train, "dev": self.dev, "test": self.test}
        result: dict[str, dict[str, Any]] = {}
        for split, data in sets.items():
            if data is not None:
                result[split] = {
                    "sha256": data.sha256,
                    "sentences": len(data.sentences),
                    "words": data.words,
                    "entities": data.entities,
                    "labels": list(data.labels),
                    "found": dict(data.found),
                    "label_map": {old: new for old, new in data.label_map.items() if old in data.found},
                    "format": data.format,
                    "compression": data.compression,
                    "scheme": data.scheme.value,
                    "repaired": data.repaired,
                }
        if self.dev_held_out:
            result["dev"]["held_out_of"] = "train"
        return result


def closest_label(label: str, known: Iterable[str]) -> str:
    """The name that was most likely meant, whatever its case; empty when none is close.

    One that begins the other (PER and PERSON) comes first, then the most similar spelling.
    """
    names = {name.casefold(): name for name in known}
    asked = label.casefold()
    longer = [name for name in names if asked.startswith(name) or name.startswith(asked)]
    close = longer or difflib.get_close_matches(asked, names, n=1, cutoff=0.7)
    return names[close[0]] if close else ""
