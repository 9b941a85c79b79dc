"""How the made languages sound and are written: phonotactics, sound laws, inflection, scripts.

Words are built in one phonemic notation (ASCII letters: c, j, x, y stand for the sounds of church, measure,
shoe and yes) and written down in the language's own letters at the end. No script here has letter case.
"""

import random
import re
from dataclasses import dataclass

CONSONANTS = "ptkbdgmnlrszfvhycxj"
VOWELS = "aeiou"

_LATIN = dict(zip(CONSONANTS + VOWELS, CONSONANTS + VOWELS, strict=True))
_CYRILLIC = dict(zip(CONSONANTS + VOWELS, "пткбдгмнлрсзфвхйчшжаеиоу", strict=True))
_GREEK = dict(zip(CONSONANTS + VOWELS, "πτκβδγμνλρσζφωχηθξψαειου", strict=True))
_GEORGIAN = dict(zip(CONSONANTS + VOWELS, "პტკბდგმნლრსზფვხჯჩშჟაეიოუ", strict=True))


@dataclass(frozen=True)
class Tongue:
    """One made language: its code, its letters and the laws that turn an inherited root into its own word.

    `code` is one of the private-use codes qaa..qtz of ISO 639-2. `laws` are applied in order; because some
    of them merge sounds, roots that differ elsewhere can fall together here.
    """

    code: str
    name: str
    script: str
    letters: dict[str, str]
    laws: tuple[tuple[str, str], ...]
    syllables: tuple[str, ...]
    favours: str
    harmonic: bool

    def write(self, sounds: str) -> str:
        """Sounds to the language's own letters."""
        return "".join(self.letters[sound] for sound in sounds)

    def inherit(self, root: str) -> str:
        """The form an ancestral root takes after this language's sound laws."""
        for pattern, replacement in self.laws:
            root = re.sub(pattern, replacement, root)
        return root


TONGUES: tuple[Tongue, ...] = (
    Tongue(
        code="qaa",
        name="Aruni",
        script="Latin",
        letters=_LATIN,
        laws=(
            (r"^p", "f"),
            (r"k(?=[ei])", "c"),
            (r"(?<=[aeiou])d(?=[aeiou])", "z"),
            (r"j", "y"),
            (r"e$", "a"),
        ),
        syllables=("CV", "CV", "CVC", "VC"),
        favours="nrlstaie",
        harmonic=False,
    ),
    Tongue(
        code="qab",
        name="Belomi",
        script="Cyrillic",
        letters=_CYRILLIC,
        laws=((r"o(?=.*[aeiou])", "a"), (r"s(?=[ei])", "x"), (r"h", ""), (r"z", "j"), (r"([ptk])$", r"\1o")),
        syllables=("CV", "CVC", "CVC"),
        favours="lmbvkoie",
        harmonic=False,
    ),
    Tongue(
        code="qac",
        name="Keloti",
        script="Greek",
        letters=_GREEK,
        laws=((r"^s(?=[aeiou])", "h"), (r"b", "v"), (r"[xj]", "s"), (r"u", "i"), (r"([mnlr])(?=[ptk])", "")),
        syllables=("CV", "CV", "V", "CVC"),
        favours="ktnlpsoe",
        harmonic=True,
    ),
    Tongue(
        code="qad",
        name="Zamtari",
        script="Georgian",
        letters=_GEORGIAN,
        laws=(
            (r"^([aeiou])", r"h\1"),
            (r"f", "p"),
            (r"g(?=[ei])", "j"),
            (r"t$", "ti"),
            (r"l(?=[ptkbdg])", "r"),
        ),
        syllables=("CVC", "CV", "CV"),
        favours="zmtrgdau",
        harmonic=True,
    ),
)
"""The four languages: three for the base encoder, and last the new one, in a script no other has."""


class Coiner:
    """Coins words nobody has used yet, by the phonotactics of a language or of the common ancestor."""

    def __init__(self, rng: random.Random, tongue: Tongue | None = None) -> None:
        self._rng = rng
        self._tongue = tongue
        favoured = tongue.favours if tongue else ""
        self._consonants = CONSONANTS + "".join(c for c in favoured if c in CONSONANTS) * 3
        self._vowels = VOWELS + "".join(v for v in favoured if v in VOWELS) * 2
        self._shapes = tongue.syllables if tongue else ("CV", "CVC", "CV")
        self.used: set[str] = set()

    def coin(self, syllables: int) -> str:
        """A new word of so many syllables, or longer when the short ones are taken."""
        for attempt in range(1000):
            word = "".join(self._syllable() for _ in range(syllables + attempt // 40))
            if len(word) > 1 and self.claim(word):
                return word
        raise RuntimeError("no free word left")

    def claim(self, word: str) -> bool:
        """Take `word` unless it is taken or has no vowel."""
        if word in self.used or not any(vowel in word for vowel in VOWELS):
            return False
        self.used.add(word)
        return True

    def adopt(self, root: str) -> str:
        """The inherited form of a root; a syllable is added where the laws made it fall on another word."""
        word = self._tongue.inherit(root) if self._tongue else root
        while not self.claim(word):
            word += self._syllable()
        return word

    def _syllable(self) -> str:
        shape = self._rng.choice(self._shapes)
        return "".join(self._rng.choice(self._consonants if slot == "C" else self._vowels) for slot in shape)


@dataclass(frozen=True)
class Endings:
    """Endings of one language. After a consonant an ending takes a linking vowel, which in a language with
    vowel harmony follows the last vowel of the stem."""

    plural: str
    oblique: str
    tenses: tuple[str, str, str]
    harmonic: bool

    @classmethod
    def coined(cls, tongue: Tongue, rng: random.Random) -> "Endings":
        consonants = rng.sample("mnlrstkdzvx", 5)
        marks = [consonant + (rng.choice(VOWELS) if rng.random() < 0.5 else "") for consonant in consonants]
        return cls(marks[0], marks[1], (marks[2], marks[3], marks[4]), tongue.harmonic)

    def noun(self, stem: str) -> tuple[str, ...]:
        """Four forms: direct and oblique (after prepositions) in the singular, then in the plural."""
        plural = self._join(stem, self.plural)
        return (stem, self._join(stem, self.oblique), plural, self._join(plural, self.oblique))

    def name(self, stem: str) -> tuple[str, ...]:
        """Two forms, direct and oblique: names have no plural."""
        return (stem, self._join(stem, self.oblique))

    def verb(self, stem: str) -> tuple[str, ...]:
        """Three forms: past, present, future."""
        return tuple(self._join(stem, tense) for tense in self.tenses)

    def _join(self, stem: str, ending: str) -> str:
        if not ending or stem[-1] in VOWELS:
            return stem + ending
        link = "a"
        if self.harmonic:
            last = next((sound for sound in reversed(stem) if sound in VOWELS), "a")
            link = "e" if last in "ei" else "o"
        return stem + link + ending
