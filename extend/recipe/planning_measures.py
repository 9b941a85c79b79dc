"""What a base, as it is and extended, makes of sampled text: rates, characters it lacks, what faults cost."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from extend.corpus import HeldOut, TextBatch, count_words, find_held_out
from extend.errors import escaped
from extend.survey import Finding, LineSample, character_name, lint_words
from extend.tokenizer import kind_of, special_ids, subwords, word_segmenter, word_splitter
from extend.types import Subword, WordCounts
from extend.vocab import measure

Sentences = Iterable[Sequence[str]]
MOST_LACKING, MOST_AFFECTED = 20, 20_000


@dataclass(frozen=True)
class SplitSample:
    """Pre-tokenized words of the sample's lines: those that may be learned from, and those held out."""

    words: WordCounts
    held_out: WordCounts
    held_out_lines: int


def split_sample(
    sample: LineSample, split: Callable[[str], Sequence[str]], *, share: float, least: int, seed: int
) -> SplitSample:
    """The sample in two by the rule that a run uses; of a whole corpus they are the run's very two parts."""
    lines = list(sample.texts())
    rule: HeldOut = find_held_out([TextBatch(lines, [])], share=share, least=least, seed=seed)
    apart = rule.mask(lines)
    held_out = [line for line, out in zip(lines, apart, strict=True) if out]
    kept = [line for line, out in zip(lines, apart, strict=True) if not out]
    return SplitSample(count_words(kept, split), count_words(held_out, split), len(held_out))


def lacking_characters(tokenizer: Tokenizer, words: WordCounts) -> dict[str, Any]:
    """Characters that no piece of the base spells, neither at the start of a word nor inside one.

    `characters` different ones, `words` the share of running words with one of them, `most` the frequent.
    """
    kind, segment = kind_of(tokenizer), word_segmenter(tokenizer)
    unknown = kind.unknown(tokenizer)
    known = set(subwords(kind, kind.vocabulary(tokenizer), special=special_ids(tokenizer).unmaskable))
    counts: Counter[str] = Counter()
    texts = {word: kind.word_text(word) for word in words}
    for word, count in words.items():
        for character in texts[word]:
            counts[character] += count
    lacking = {
        character: count
        for character, count in counts.items()
        if unknown in segment(kind.marked(character)) and Subword(character, continues=True) not in known
    }
    with_one = sum(count for word, count in words.items() if not lacking.keys().isdisjoint(texts[word]))
    most = sorted(lacking.items(), key=lambda entry: (-entry[1], entry[0]))[:MOST_LACKING]
    return {
        "characters": len(lacking),
        "words": with_one / max(sum(words.values()), 1),
        "most": [
            {"character": escaped(character), "name": character_name(character), "count": count}
            for character, count in most
        ],
    }


def told_finding(finding: Finding, tokenizer: Tokenizer) -> dict[str, Any]:
    """A finding of the Unicode lint for `--format json`, with what it does under this tokenizer.

    `effect` has the share of the affected words with an unknown piece and their pieces a word, as they are
    and mended (None where that cannot be said); words are what blanks divide, the most frequent
    MOST_AFFECTED of them.
    """
    affected = dict(list(finding.affected.items())[:MOST_AFFECTED])
    as_is = _rates(tokenizer, affected)
    mendable = {word: count for word, count in affected.items() if finding.mended.get(word)}
    mended: Counter[str] = Counter()
    for word, count in mendable.items():
        mended[finding.mended[word]] += count
    return {
        "name": finding.name,
        "text": finding.check.text,
        "fault": finding.check.fault,
        "words": finding.words,
        "share": finding.share,
        "distinct": finding.distinct,
        "characters": [{"name": name, "count": count} for name, count in finding.characters],
        "examples": [{"word": word, "mended": other or None} for word, other in finding.examples],
        "effect": {**as_is, "mended": _rates(tokenizer, mended) if mended else None},
    }


def _rates(tokenizer: Tokenizer, words: Mapping[str, int]) -> dict[str, float]:
    split, segment = word_splitter(tokenizer), word_segmenter(tokenizer)
    unknown = kind_of(tokenizer).unknown(tokenizer)
    total = pieces = unreadable = 0
    for word, count in words.items():
        found = [piece for part in split(word) for piece in segment(part)]
        total += count
        pieces += count * len(found)
        unreadable += count * (unknown in found)
    return {"unk_rate": unreadable / max(total, 1), "pieces": pieces / max(total, 1)}


def told_lint(words: Mapping[str, int], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """The Unicode lint of counted words that blanks divide, told with what each finding does."""
    normalizer = tokenizer.normalizer
    found = lint_words(words, normalizer.normalize_str if normalizer else None)
    return [told_finding(finding, tokenizer) for finding in found]


def told_sentences(sentences: Sentences, tokenizer: Tokenizer) -> dict[str, Any]:
    """A tagged set's size, its words under the base, and the lint of its words."""
    words, count = Counter[str](), 0
    for sentence in sentences:
        count += 1
        words.update(word for word in sentence if word)
    split = word_splitter(tokenizer)
    parts: Counter[str] = Counter()
    for word, number in words.items():
        for part in split(word):
            parts[part] += number
    unknown = kind_of(tokenizer).unknown(tokenizer)
    return {
        "sentences": count,
        "words": sum(words.values()),
        **measure(parts, word_segmenter(tokenizer), unknown=unknown),
        "lint": told_lint(words, tokenizer),
    }
