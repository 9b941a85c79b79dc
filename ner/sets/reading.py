"""The sets of one evaluation: read, checked and fingerprinted before any encoder is loaded."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from extend.errors import UsageError, escaped
from ner.data import NerData, read_data
from ner.files import NerFile
from ner.sets.nouns import Experiment, LanguageSets, closest_label
from ner.tags import OUTSIDE

NAME = re.compile(r"[\w.][\w.-]{0,63}")
HELD_OUT = 0.1
"""Share of a training set held out for model selection where there is no dev set."""

Files = Mapping[str, Mapping[str, Path | NerFile]]
"""By language and split (train, dev, test)."""


def check_names(encoders: Mapping[str, Any], languages: Sequence[str]) -> None:
    """Names become file names. Raises UsageError for one that cannot."""
    if not encoders:
        raise UsageError("no encoder to evaluate", name="E-NER-ENCODER")
    for name in (*encoders, *languages):
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{escaped(name)} is not a name for an encoder or a language",
                name="E-NAME",
                why="letters, digits, _ . - only, at most 64",
            )


def experiments(protocol: str, source: str, targets: Sequence[str]) -> list[Experiment]:
    """Zero-shot: one training language, tested on itself (the forgetting check) and every target.
    Supervised: each target for itself."""
    if protocol == "zero-shot":
        return [Experiment(source, tuple(dict.fromkeys((source, *targets))))]
    return [Experiment(target, (target,)) for target in dict.fromkeys(targets)]


def read_sets(
    data: Files,
    plan: Sequence[Experiment],
    *,
    labels: Sequence[str],
    seed: int,
) -> dict[str, LanguageSets]:
    """Read what `plan` needs of `data`, which maps language and split (train, dev, test) to a file.

    Raises:
        UsageError: a needed file is not named, one of `labels` is in no training set, or a label map has
        names that no type can have. DataError, PathError, RefusedError: see `ner.data.read_data`.
    """
    trained = dict.fromkeys(experiment.train for experiment in plan)
    tested = dict.fromkeys(language for experiment in plan for language in experiment.tests)
    sets: dict[str, LanguageSets] = {}
    for language in trained | tested:
        splits = (("train",) if language in trained else ()) + ("dev",)
        splits += ("test",) if language in tested else ()
        sets[language] = _read_language(data, language, splits, labels, seed)
    _check_labels(labels, [sets[language].train for language in sorted(trained)])
    return sets


def _read_language(
    data: Files,
    language: str,
    splits: Sequence[str],
    labels: Sequence[str],
    seed: int,
) -> LanguageSets:
    paths = data.get(language, {})
    for split in splits:
        if split != "dev" and split not in paths:
            raise UsageError(
                f"no {split} file for {escaped(language)}",
                name="E-NER-DATA",
                why=f"known: {', '.join(f'{name} {part}' for name in data for part in data[name]) or 'none'}",
                next=f"give one, for example: --set ner.data.{language}.{split}=FILE",
            )
    found = {split: read_data(paths[split], keep=labels) for split in splits if split in paths}
    text = NerFile.of(paths["test"]).text if "test" in found else None
    sets = LanguageSets(found.get("train"), found.get("dev"), found.get("test"), text=text)
    return _with_dev(sets, seed) if sets.train is not None and sets.dev is None else sets


def _with_dev(sets: LanguageSets, seed: int) -> LanguageSets:
    """Hold a seeded tenth of the training sentences out as dev; by text, so equal sentences stay together."""
    if sets.train is None:
        return sets
    key = seed.to_bytes(8, "big", signed=True)
    scores = {
        sentence.words: blake2b("\x1f".join(sentence.words).encode(), key=key, digest_size=8).digest()
        for sentence in sets.train.sentences
    }
    ranked = sorted(scores, key=lambda words: (scores[words], words))
    if len(ranked) < 2:
        raise UsageError(
            f"{sets.train.path} has one distinct sentence, too few to hold some out for selection",
            name="E-NER-DATA",
            next="give a dev file",
        )
    held = set(ranked[: max(1, round(HELD_OUT * len(ranked)))])
    kept = tuple(sentence for sentence in sets.train.sentences if sentence.words not in held)
    dev = tuple(sentence for sentence in sets.train.sentences if sentence.words in held)
    return replace(
        sets,
        train=replace(sets.train, sentences=kept),
        dev=replace(sets.train, sentences=dev),
        dev_held_out=True,
    )


def _check_labels(labels: Sequence[str], trains: Sequence[NerData | None]) -> None:
    """Raises UsageError E-NER-LABEL for the first of `labels` that no training set has, with the closest."""
    there = [train for train in trains if train is not None]
    known = sorted({label for train in there for label in train.types})
    renamed = {old: new for train in there for old, new in train.label_map.items() if old in train.found}
    for label in labels:
        if label in known:
            continue
        meant = closest_label(label, known)
        why = f"known: {', '.join(known) or 'none'}"
        if label in renamed:
            gone = "nothing" if renamed[label] == OUTSIDE else renamed[label]
            why = f"the label map makes {gone} of it; {why}"
            meant = renamed[label] if renamed[label] in known else ""
        raise UsageError(
            f"no entity of type {escaped(label)} in the training data",
            name="E-NER-LABEL",
            why=why,
            next=f"did you mean {meant}?" if meant else "mend --labels (ner.labels)",
        )
