"""What results follow from, so that an evaluation that ended is not done again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from extend import __version__, store
from ner.evaluate.encoder import Encoder
from ner.sets import LanguageSets

RESULTS = "results.json"
MADE_FROM = "made_from"


def made_from(
    head: Mapping[str, Any],
    sets: Mapping[str, LanguageSets],
    encoders: Mapping[str, Encoder],
    *,
    groups: Mapping[str, Sequence[str]] | None,
    keep: str,
) -> str | None:
    """One hash of all that the files of a protocol follow from: protocol and settings (`head`), data,
    encoders, groups, what is kept of heads, and versions. None where pretraining text is not identified."""
    texts = {language: one.text.identity for language, one in sets.items() if one.text is not None}
    if not all(texts.values()):
        return None
    facts = {
        **head,
        "data": {language: one.described() for language, one in sets.items()},
        "texts": texts,
        "encoders": [[name, encoder.facts] for name, encoder in encoders.items()],
        "groups": groups,
        "keep": keep,
        "versions": {"extend": __version__, "torch": torch.__version__},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def earlier(directory: Path, wanted: str | None) -> dict[str, Any] | None:
    """The results in `directory` when they follow from `wanted` and each file is as it was written."""
    if wanted is None or not (directory / RESULTS).is_file() or store.verify(directory):
        return None
    found: dict[str, Any] = store.read_json(directory / RESULTS)
    return found if found.get(MADE_FROM) == wanted else None
