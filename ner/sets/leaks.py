"""What of a test set was seen before: its sentences and entities in training, its sentences in text."""

import itertools
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ner.data import NerData
from ner.files import PretrainingText
from ner.sets.nouns import Experiment, LanguageSets
from ner.tags import TaggedSentence, spans_of

LEAST_CHARACTERS = 20
"""Shorter sentences (without their spaces) are not looked for: they stand anywhere."""
MOST_CHARACTERS = 10**9
"""Of pretraining text that is read; a search of more is not complete, and says so."""

Surface = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class TextLeaks:
    """Sentences of a test set found in a text, word for word, whatever the spaces between them.

    `short` were not looked for; `lines` and `characters` were read; `complete` when that was all of the text.
    """

    sentences: int
    short: int
    lines: int
    characters: int
    complete: bool


def leaks(sets: Mapping[str, LanguageSets], plan: Sequence[Experiment]) -> dict[str, dict[str, Any]]:
    """The `leaks` entry of results.json, by test language.

    Each has `trained_on`, `sentences` (of the test set), `sentences_in_train` and `sentences_in_dev` (equal
    words), `entities{mentions, mentions_in_train, distinct, distinct_in_train, per_type}` (equal words and
    type), and `pretraining`, the fields of TextLeaks, or None where no text was given.
    """
    tests = [language for experiment in plan for language in experiment.tests]
    in_text = _in_pretraining(sets, list(dict.fromkeys(tests)))
    result: dict[str, dict[str, Any]] = {}
    for experiment in plan:
        own = sets[experiment.train]
        seen, selected = (_sentences(one) for one in (own.train, own.dev))
        known = _surfaces(own.train)
        for language in experiment.tests:
            test = sets[language].test
            if test is None:
                continue
            found = in_text.get(language)
            result[language] = {
                "trained_on": experiment.train,
                "sentences": len(test.sentences),
                "sentences_in_train": sum(one.words in seen for one in test.sentences),
                "sentences_in_dev": sum(one.words in selected for one in test.sentences),
                "entities": _entity_leaks(_surfaces(test), known),
                "pretraining": None if found is None else asdict(found),
            }
    return result


def _sentences(data: NerData | None) -> set[tuple[str, ...]]:
    return {sentence.words for sentence in data.sentences} if data else set()


def _surfaces(data: NerData | None) -> dict[Surface, int]:
    """How often each entity is written: its type and its words."""
    counts: dict[Surface, int] = {}
    for sentence in data.sentences if data else ():
        for span in spans_of(sentence.tags):
            surface = (span.label, sentence.words[span.start : span.end])
            counts[surface] = counts.get(surface, 0) + 1
    return counts


def _entity_leaks(test: Mapping[Surface, int], known: Mapping[Surface, int]) -> dict[str, Any]:
    def counted(some: Sequence[Surface]) -> dict[str, int]:
        seen = [surface for surface in some if surface in known]
        return {
            "mentions": sum(test[surface] for surface in some),
            "mentions_in_train": sum(test[surface] for surface in seen),
            "distinct": len(some),
            "distinct_in_train": len(seen),
        }

    ordered = sorted(test)
    by_type = itertools.groupby(ordered, key=lambda surface: surface[0])
    return {**counted(ordered), "per_type": {label: counted(list(some)) for label, some in by_type}}


def _in_pretraining(sets: Mapping[str, LanguageSets], languages: Sequence[str]) -> dict[str, TextLeaks]:
    """The test sets of each text looked for in one reading of it, which no later call repeats."""
    by_text: dict[PretrainingText, list[str]] = {}
    for language in languages:
        text = sets[language].text
        if text is not None and sets[language].test is not None:
            by_text.setdefault(text, []).append(language)
    result: dict[str, TextLeaks] = {}
    for text, some in by_text.items():
        tests = [test for language in some if (test := sets[language].test) is not None]
        key = tuple(f"{test.sha256} {test.format}" for test in tests)
        if key not in text.searched:
            text.searched[key] = search_text([test.sentences for test in tests], text.lines())
        result |= zip(some, text.searched[key], strict=True)
    return result


def search_text(
    tests: Sequence[Sequence[TaggedSentence]],
    lines: Iterable[str],
    *,
    most_characters: int = MOST_CHARACTERS,
) -> list[TextLeaks]:
    """Look for the sentences of each of `tests` in a text, which is read once and never held.

    A sentence is found where a line has its characters one after the other, spaces aside and in Unicode form
    NFC, from the start of a word on or after the marks before its first letter. One that goes over two lines
    is not found. Memory grows with the tests, not with the text. When all are found, or `most_characters`
    are read, the rest is left unread.
    """
    wanted: dict[str, list[str]] = {}
    for text in {squeezed(one.words) for sentences in tests for one in sentences}:
        if len(text) >= LEAST_CHARACTERS:
            wanted.setdefault(text[:LEAST_CHARACTERS], []).append(text)
    found: set[str] = set()
    sought = sum(map(len, wanted.values()))
    read = characters = 0
    complete = True
    for line in lines:
        if len(found) == sought or characters >= most_characters:
            complete = len(found) == sought
            break
        read += 1
        characters += len(line)
        found |= _found_in(line, wanted)
    return [
        TextLeaks(
            sentences=sum(text in found for text in texts),
            short=sum(len(text) < LEAST_CHARACTERS for text in texts),
            lines=read,
            characters=characters,
            complete=complete,
        )
        for texts in ([squeezed(one.words) for one in sentences] for sentences in tests)
    ]


def _found_in(line: str, wanted: Mapping[str, Sequence[str]]) -> set[str]:
    words = unicodedata.normalize("NFC", line).split()
    text = "".join(words)
    heads, start = [], 0
    for word in words:
        if text[start : start + LEAST_CHARACTERS] in wanted:
            heads.append(start)
        if not word[0].isalnum():
            letter = start + next((place for place, one in enumerate(word) if one.isalnum()), 0)
            if letter > start and text[letter : letter + LEAST_CHARACTERS] in wanted:
                heads.append(letter)
        start += len(word)
    return {
        sentence
        for start in heads
        for sentence in wanted[text[start : start + LEAST_CHARACTERS]]
        if text.startswith(sentence, start)
    }


def squeezed(words: Iterable[str]) -> str:
    """The characters of a sentence in NFC, without any space."""
    return "".join(unicodedata.normalize("NFC", " ".join(words)).split())
