"""The made world: a small multilingual world for trying the whole chain without any data.

Four languages share what can be said and the order in which it is said; each has its own sounds, words,
endings and script (Latin, Cyrillic, Greek; the new one Georgian). Nothing is parallel: each language's text
is a sample of its own. Texts are documents of sentences on one of 24 topics; words follow Zipf's law inside
each topic, nouns and names have cases, verbs tenses, and compounds keep the vocabulary open.

Named entities (PER, LOC, ORG in IOB2) must be read from what stands around them:

- The roots of all names belong to one NER split, in every language alike, so no word that is a name in the
  test sentences of any language is a name in training sentences of any language, and neither is its
  transliteration. Common nouns inside names ("the University of ...") may recur.
- Raw text names people and places of all splits, as real text does, but a third of the test roots occur in
  no raw text at all.
- Some roots name a person, a place and an organisation with one and the same word; some names are common
  nouns; words of unlike kinds look alike; no script has capitals.

The same seed and size give the same bytes on every machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from extend.store import write_text
from extend.world.grammar import Speaker, written
from extend.world.lexicon import Lexicon, ancestral_roots, make_lexicon
from extend.world.meanings import POOLS, Meanings
from extend.world.sounds import TONGUES, Tongue

__all__ = [
    "BASE_LANGUAGES",
    "NEW_LANGUAGE",
    "LabelledSentence",
    "World",
    "WorldSize",
    "make_world",
    "write_world",
]

BASE_LANGUAGES = tuple(tongue.code for tongue in TONGUES[:-1])
NEW_LANGUAGE = TONGUES[-1].code


@dataclass(frozen=True, slots=True)
class LabelledSentence:
    """Words and their IOB2 tags, one each."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True)
class WorldSize:
    """Words of raw text (marks among them) in each base language and in the new one; labelled sentences a
    language in each split."""

    base_words: int = 500_000
    new_words: int = 600_000
    train: int = 800
    dev: int = 200
    test: int = 500


@dataclass(frozen=True)
class World:
    """Everything made from one seed.

    `documents[code]` are documents of sentences as raw text; `ner[code][split]` the labelled sentences;
    `lexicons[code]` the words behind them; `meanings` what they mean.
    """

    seed: int
    size: WorldSize
    tongues: tuple[Tongue, ...]
    documents: Mapping[str, tuple[tuple[str, ...], ...]]
    ner: Mapping[str, Mapping[str, tuple[LabelledSentence, ...]]]
    lexicons: Mapping[str, Lexicon]
    meanings: Meanings


def make_world(*, seed: int, size: WorldSize | None = None) -> World:
    """Make the world of `seed`. About two million words take a few seconds."""
    size = size or WorldSize()
    meanings = Meanings.made(seed)
    ancestors = ancestral_roots(meanings, seed)
    lexicons = {
        tongue.code: make_lexicon(meanings, tongue, seed=seed, ancestors=ancestors) for tongue in TONGUES
    }
    documents = {
        code: _documents(
            Speaker(meanings, lexicon, pool="text", seed=f"{seed}/text"),
            size.new_words if code == NEW_LANGUAGE else size.base_words,
        )
        for code, lexicon in lexicons.items()
    }
    ner = {
        code: {
            pool: _labelled(Speaker(meanings, lexicon, pool=pool, seed=f"{seed}/ner"), getattr(size, pool))
            for pool in POOLS
        }
        for code, lexicon in lexicons.items()
    }
    return World(seed, size, TONGUES, documents, ner, lexicons, meanings)


def write_world(world: World, directory: Path) -> None:
    """Write `text/CODE.txt` (a sentence a line, a blank line between documents) and
    `ner/CODE/{train,dev,test}.conll` (word, tab, tag). Raises PathError or SpaceError."""
    for code, documents in world.documents.items():
        text = "\n\n".join("\n".join(document) for document in documents)
        write_text(directory / "text" / f"{code}.txt", text + "\n")
    for code, splits in world.ner.items():
        for split, sentences in splits.items():
            write_text(directory / "ner" / code / f"{split}.conll", _conll(sentences))


def _documents(speaker: Speaker, words: int) -> tuple[tuple[str, ...], ...]:
    documents: list[tuple[str, ...]] = []
    said = 0
    while said < words:
        document = speaker.document(6 + len(documents) % 7)
        documents.append(tuple(written(sentence) for sentence, _ in document))
        said += sum(len(sentence) for sentence, _ in document)
    return tuple(documents)


def _labelled(speaker: Speaker, count: int) -> tuple[LabelledSentence, ...]:
    """So many different sentences."""
    sentences: dict[LabelledSentence, None] = {}
    while len(sentences) < count:
        words, tags = speaker.sentence()
        sentences[LabelledSentence(tuple(words), tuple(tags))] = None
    return tuple(sentences)


def _conll(sentences: tuple[LabelledSentence, ...]) -> str:
    blocks = (
        "".join(f"{word}\t{tag}\n" for word, tag in zip(sentence.words, sentence.tags, strict=True))
        for sentence in sentences
    )
    return "\n".join(blocks)
