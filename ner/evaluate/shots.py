"""Few-shot: the training set of the source language with a few sentences of the target."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from extend.errors import UsageError, escaped
from ner.sets import Experiment, Files, LanguageSets, read_sets
from ner.tags import TaggedSentence

MIXING = (
    "every epoch has all training sentences of the source and the drawn ones of the target, repeated until "
    "they are as many; selected on the source's dev set"
)


def few_shot_plan(source: str, targets: Sequence[str], count: int) -> list[Experiment]:
    """Each target (but the source) with heads of its own; the training set is named `source-and-N-target`."""
    return [
        Experiment(f"{source}-and-{count}-{target}", (target,))
        for target in dict.fromkeys(targets)
        if target != source
    ]


def few_shot_sets(
    data: Files,
    plan: Sequence[Experiment],
    *,
    source: str,
    count: int,
    seed: int,
    read: Mapping[str, Any],
) -> dict[str, LanguageSets]:
    """The sets of a `few_shot_plan`: what `read_sets` reads, and the mixtures.

    Each epoch shows as much of the target as of the source: joint training, half of every batch from each on
    the average (Schmidt, Vulić, Glavaš 2022, "Don't Stop Fine-Tuning", find it better than training on one
    after the other). The sentences are drawn by `seed`, the same for every encoder and head.

    Args:
        read: more arguments for `read_sets`.

    Raises UsageError when a target has fewer than `count` sentences to draw from, and as `read_sets` does.
    """
    targets = [test for experiment in plan for test in experiment.tests]
    needed = [Experiment(source, ()), *(Experiment(target, (target,)) for target in targets)]
    sets = read_sets(data, needed, seed=seed, **read)
    own = sets[source]
    for experiment, target in zip(plan, targets, strict=True):
        found = sets[target].train
        if own.train is None or found is None:
            raise ValueError("both languages have a training set")
        drawn = draw(found.sentences, count, seed=seed)
        if len(drawn) < count:
            raise UsageError(
                f"few-shot asks for {count} sentences of {escaped(target)}, there are {len(drawn)}",
                name="E-NER-SHOTS",
                next="ask for fewer",
            )
        times = max(1, len(own.train.sentences) // count)
        mixed = (*own.train.sentences, *drawn * times)
        train = replace(own.train, sentences=mixed)
        sets[experiment.train] = replace(own, train=train, test=None)
    return sets


def draw(sentences: Sequence[TaggedSentence], count: int, *, seed: int) -> tuple[TaggedSentence, ...]:
    """`count` sentences by the hash of their text with `seed`: whatever their order; no text twice."""
    key = seed.to_bytes(8, "big", signed=True)
    distinct = {sentence.words: sentence for sentence in reversed(sentences)}

    def rank(words: tuple[str, ...]) -> tuple[bytes, tuple[str, ...]]:
        text = "\x1f".join(words).encode("utf-8", "surrogatepass")
        return blake2b(text, key=key, digest_size=8).digest(), words

    return tuple(distinct[words] for words in sorted(distinct, key=rank)[:count])
