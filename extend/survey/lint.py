"""Unicode lint: what in a text splits one word into several spellings, or reads otherwise than it looks.

Confusable letters are those that differ in no usual type face, after Unicode Technical Standard 39, table
confusables.txt, as far as Latin, Cyrillic, Greek and Arabic go; normal forms are those of Unicode Standard
Annex 15.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from extend.errors import escaped
from extend.survey.characters import character_name, check_of, eye_form, in_one_script, is_mixed
from extend.survey.scripts import script_shares

EXAMPLES, MOST_CHARACTERS = 5, 5
Normalize = Callable[[str], str]


@dataclass(frozen=True)
class Check:
    """What a finding of this name means. `fault` is false for what may well be right in the language."""

    text: str
    fault: bool = True


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "mixed_normalization": Check("words spelt in several canonically equal ways (NFC and NFD mixed)"),
        "not_nfc": Check("words that are not in the composed form NFC"),
        "lookalike_letters": Check("words spelt in several ways that look the same (kaf, yeh, apostrophes)"),
        "confusables": Check("words with letters of another script that look like their own"),
        "presentation_forms": Check("shapes of letters in place of letters (presentation forms, full width)"),
        "tatweel": Check("tatweel, which stretches a word and belongs to none"),
        "soft_hyphen": Check("soft hyphens inside words"),
        "bom": Check("byte order marks inside the text"),
        "replacement": Check("U+FFFD, where a character was lost in an earlier conversion"),
        "private_use": Check("private or unassigned characters, which only some font can read"),
        "invisible": Check("controls and format characters that are not seen (zero width, direction marks)"),
        "lost_marks": Check("marks (tones, vowels, accents) that the base's normalizer takes away"),
        "joiners": Check(
            "zero-width joiners and non-joiners: right in some languages, lost by some bases", fault=False
        ),
        "mixed_script": Check("words of letters from several scripts that look like no other's", fault=False),
    }
)  # fmt: skip
"""Every check there is, in the order in which findings come."""


@dataclass(frozen=True)
class Finding:
    """One check that found something in counted words.

    `words` is how many running words have it, `share` of all running words, `distinct` how many different
    ones; `characters` the characters at fault, as `U+0640 arabic tatweel`, with their number, the most
    frequent first. `examples` are (word, mended word or ""), escaped. `affected` has the words themselves,
    `mended` what each would be without the fault, where that can be said.
    """

    name: str
    words: int
    share: float
    distinct: int
    characters: tuple[tuple[str, int], ...]
    examples: tuple[tuple[str, str], ...]
    affected: Mapping[str, int] = field(repr=False)
    mended: Mapping[str, str] = field(repr=False)

    @property
    def check(self) -> Check:
        return CHECKS[self.name]


def unicode_lint(lines: Iterable[str], normalize: Normalize | None = None) -> tuple[Finding, ...]:
    """The findings in lines of text, whose words are what blanks divide; clean text has none.

    `normalize` is what a base does to text before it cuts it; without it nothing is said of lost marks.
    """
    words: Counter[str] = Counter()
    for line in lines:
        words.update(line.split())
    return lint_words(words, normalize)


def lint_words(words: Mapping[str, int], normalize: Normalize | None = None) -> tuple[Finding, ...]:
    """`unicode_lint` of counted words, the same whatever their order."""
    found: dict[str, dict[str, str | None]] = {name: {} for name in CHECKS}
    scripts = tuple(script_shares(words))
    for word in words:
        for name, mended in _word_faults(word, normalize, scripts):
            found[name][word] = mended
    found["mixed_normalization"] = _spelt_otherwise(words, _composed)
    found["lookalike_letters"] = _spelt_otherwise(_merged(words), eye_form)
    total = sum(words.values())
    return tuple(_finding(name, words, mended, total, normalize) for name, mended in found.items() if mended)


def _composed(word: str) -> str:
    return word if word.isascii() else unicodedata.normalize("NFC", word)


def _merged(words: Mapping[str, int]) -> Counter[str]:
    """Counts by composed form, so that a normal form is not told twice."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        counts[_composed(word)] += count
    return counts


def _word_faults(
    word: str, normalize: Normalize | None, scripts: Sequence[str]
) -> Iterator[tuple[str, str | None]]:
    """Names of the checks that this word alone fails, with the word mended where that can be said.

    `scripts` are those of the text, the most frequent first.
    """
    if word.isascii() and word.isprintable():
        return
    named = dict.fromkeys(filter(None, map(check_of, word)))
    for name in named:
        if name != "joiners" or any(map(str.isalpha, word)):
            yield name, _without(word, name)
    if not unicodedata.is_normalized("NFC", word):
        yield "not_nfc", unicodedata.normalize("NFC", word)
    if is_mixed(word):
        mended = in_one_script(word, scripts)
        yield ("confusables", mended) if mended != word else ("mixed_script", None)
    if normalize is not None and _lost_marks(word, normalize):
        yield "lost_marks", None


def _without(word: str, name: str) -> str | None:
    if name in ("replacement", "private_use"):
        return None
    if name == "presentation_forms":
        return "".join(
            unicodedata.normalize("NFKC", character) if check_of(character) == name else character
            for character in word
        )
    return "".join(character for character in word if check_of(character) != name)


def _lost_marks(word: str, normalize: Normalize) -> Counter[str]:
    there = Counter(filter(_is_mark, unicodedata.normalize("NFD", word)))
    return (
        there - Counter(filter(_is_mark, unicodedata.normalize("NFD", normalize(word)))) if there else there
    )


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


def _spelt_otherwise(words: Mapping[str, int], form: Callable[[str], str]) -> dict[str, str | None]:
    """Words that share their form with a more frequent spelling, and that spelling."""
    groups: dict[str, list[str]] = {}
    for word in words:
        groups.setdefault(form(word), []).append(word)
    found: dict[str, str | None] = {}
    for spellings in groups.values():
        if len(spellings) > 1:
            most = min(spellings, key=lambda word: (-words[word], word))
            found |= {word: most for word in spellings if word != most}
    return found


def _finding(
    name: str,
    words: Mapping[str, int],
    mended: Mapping[str, str | None],
    total: int,
    normalize: Normalize | None,
) -> Finding:
    counts = _merged(words) if name == "lookalike_letters" else words
    affected = {word: counts[word] for word in sorted(mended, key=lambda word: (-counts[word], word))}
    characters: Counter[str] = Counter()
    for word, count in affected.items():
        for character, number in _at_fault(name, word, mended[word], normalize).items():
            characters[character] += number * count
    running = sum(affected.values())
    return Finding(
        name=name,
        words=running,
        share=running / max(total, 1),
        distinct=len(affected),
        characters=tuple(
            (character_name(character), count)
            for character, count in sorted(characters.items(), key=lambda entry: (-entry[1], entry[0]))
        )[:MOST_CHARACTERS],
        examples=tuple((escaped(word), escaped(mended[word] or "")) for word in list(affected)[:EXAMPLES]),
        affected=affected,
        mended={word: other for word, other in mended.items() if other},
    )


def _at_fault(name: str, word: str, mended: str | None, normalize: Normalize | None) -> Counter[str]:
    """The characters of a word that a finding is about."""
    if name == "lost_marks" and normalize is not None:
        return _lost_marks(word, normalize)
    if name in ("replacement", "private_use") or mended == "":
        return Counter(character for character in word if check_of(character) == name)
    if mended is None:
        return Counter()
    return Counter(word) - Counter(mended)
