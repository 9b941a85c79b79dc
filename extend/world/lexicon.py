"""The words of one made language: every form of every concept and name, written in its script."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from extend.world.meanings import FUNCTION_WORDS, KINDS, Meanings, Root
from extend.world.sounds import VOWELS, Coiner, Endings, Tongue

COGNATES = 0.3
"""Share of words that come from the common ancestor; the others each language coined for itself."""

HOMOGRAPHS = 0.06
"""Share of words that look like a word of another kind in the same language."""

NOUNS = ("thing", "person", "place", "group")

Forms = tuple[str, ...]


@dataclass(frozen=True)
class Lexicon:
    """Forms in the language's script.

    `words[kind][concept]` has four forms of a noun (see `Endings.noun`), three of a verb (`Endings.verb`)
    and one of any other word; `names[role][root]` has two. `stems[concept]` is the sound of a thing without
    ending, for building new words.
    """

    tongue: Tongue
    words: Mapping[str, tuple[Forms, ...]]
    function: Mapping[str, str]
    names: Mapping[str, Mapping[int, Forms]]
    stems: tuple[str, ...]
    endings: Endings

    def compound(self, first: int, second: int) -> Forms:
        """The forms of a noun made of two, as in snow storm."""
        stem = self.stems[first] + self.stems[second]
        return tuple(map(self.tongue.write, self.endings.noun(stem)))


def make_lexicon(meanings: Meanings, tongue: Tongue, *, seed: int, ancestors: Mapping[str, str]) -> Lexicon:
    """The lexicon of `tongue`; `ancestors` are the common roots by concept name (see `ancestral_roots`)."""
    rng = random.Random(f"{seed}/{tongue.code}/lexicon")
    coiner = Coiner(rng, tongue)
    endings = Endings.coined(tongue, rng)
    function = {gloss: coiner.coin(1) for gloss in FUNCTION_WORDS}
    stems = {kind: _stems(kind, size, coiner, rng, ancestors) for kind, size in KINDS.items()}
    _merge_homographs(stems, rng)
    written = {
        kind: tuple(tuple(map(tongue.write, _forms(kind, stem, endings))) for stem in stems[kind])
        for kind in KINDS
    }
    namer = _Namer(coiner, endings, stems, rng)
    names = namer.names(meanings, ancestors)
    return Lexicon(
        tongue=tongue,
        words=written,
        function={gloss: tongue.write(word) for gloss, word in function.items()},
        names={
            role: {index: tuple(map(tongue.write, endings.name(stem))) for index, stem in by_root.items()}
            for role, by_root in names.items()
        },
        stems=tuple(stems["thing"]),
        endings=endings,
    )


def ancestral_roots(meanings: Meanings, seed: int) -> dict[str, str]:
    """The words of the common ancestor: one for each concept (`kind/index`) and each root of names."""
    rng = random.Random(f"{seed}/ancestor")
    coiner = Coiner(rng)
    roots = {}
    for kind, size in KINDS.items():
        for index in range(size):
            roots[f"{kind}/{index}"] = coiner.coin(_length(rng))
    for root in meanings.roots:
        roots[f"name/{root.index}"] = coiner.coin(rng.choice((2, 2, 3)))
    return roots


def _length(rng: random.Random) -> int:
    return rng.choices((1, 2, 3), (25, 60, 15))[0]


def _stems(
    kind: str, size: int, coiner: Coiner, rng: random.Random, ancestors: Mapping[str, str]
) -> list[str]:
    return [
        coiner.adopt(ancestors[f"{kind}/{index}"]) if rng.random() < COGNATES else coiner.coin(_length(rng))
        for index in range(size)
    ]


def _merge_homographs(stems: dict[str, list[str]], rng: random.Random) -> None:
    """Let some words take the form of a word of another kind: each language has its own such pairs."""
    kinds = list(stems)
    for kind in kinds:
        for index in range(len(stems[kind])):
            if rng.random() < HOMOGRAPHS:
                other = rng.choice([one for one in kinds if one != kind])
                stems[kind][index] = rng.choice(stems[other])


def _forms(kind: str, stem: str, endings: Endings) -> Forms:
    if kind in NOUNS:
        return endings.noun(stem)
    return endings.verb(stem) if kind.endswith("acts") else (stem,)


class _Namer:
    """Makes the names of one language so that no form of a name is a form of another root's name, nor of a
    common word, unless the root is meant to be a common noun."""

    def __init__(
        self, coiner: Coiner, endings: Endings, stems: Mapping[str, list[str]], rng: random.Random
    ) -> None:
        self._coiner, self._endings, self._rng = coiner, endings, rng
        self._nouns = stems["thing"]
        forms = {
            kind: {form for stem in stems[kind] for form in _forms(kind, stem, endings)} for kind in stems
        }
        self._other_than_things = set().union(*(forms[kind] for kind in forms if kind != "thing"))
        self._common = forms["thing"] | self._other_than_things
        self._taken: dict[str, int] = {}
        self._suffixes = {
            role: [_suffix(rng) for _ in range(count)]
            for role, count in (("surname", 3), ("place", 3), ("group", 2))
        }

    def names(self, meanings: Meanings, ancestors: Mapping[str, str]) -> dict[str, dict[int, str]]:
        """Stems by role and root. A bare root is the same word in each of its bare roles."""
        names: dict[str, dict[int, str]] = {"given": {}, "surname": {}, "place": {}, "group": {}}
        for root in meanings.roots:
            stem = self._stem(root, ancestors)
            for role in sorted(root.roles):
                names[role][root.index] = stem if role in root.bare else self._derived(stem, role, root)
        return names

    def _stem(self, root: Root, ancestors: Mapping[str, str]) -> str:
        if root.noun is not None and self._take(self._nouns[root.noun], root, self._other_than_things):
            return self._nouns[root.noun]
        stem = self._coiner.adopt(ancestors[f"name/{root.index}"]) if root.shared else self._coin()
        while not self._take(stem, root, self._common):
            stem = self._coin()
        return stem

    def _coin(self) -> str:
        return self._coiner.coin(self._rng.choice((2, 2, 3)))

    def _derived(self, stem: str, role: str, root: Root) -> str:
        word = stem + self._rng.choice(self._suffixes[role])
        while not self._take(word, root, self._common):
            word += self._rng.choice(VOWELS)
        return word

    def _take(self, stem: str, root: Root, avoided: set[str]) -> bool:
        forms = self._endings.name(stem)
        free = all(self._taken.get(form, root.index) == root.index for form in forms)
        if not free or not avoided.isdisjoint(forms):
            return False
        self._taken.update(dict.fromkeys(forms, root.index))
        return True


def _suffix(rng: random.Random) -> str:
    return rng.choice(VOWELS) + rng.choice("vnskdlrtmg") + rng.choice(("", "a", "o", "i"))
