"""How the made languages speak: one grammar, one word order, sentences with their IOB2 labels.

What tells a name's type is mostly what stands around it: the verb, the preposition, a title. A share of the
mentions stands in the place of another type (a city that speaks, a firm one travels to), bare mentions stand
where anything may stand, and every kind of name competes there with common nouns, which need no article.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from extend.world.lexicon import Lexicon
from extend.world.meanings import POOLS, TOPICS, Meanings, Ranked

NAMED = 0.6
"""Share of persons, places and groups that are mentioned by name."""

DISPLACED = 0.04
"""Share of mentions that stand where another type of thing is expected."""

COMPOUNDS = 0.03
"""Share of things whose word is compounded on the spot: the open end of the vocabulary."""

DIRECT, OBLIQUE = range(2)

PREPOSITIONS = {
    "place": ("in", "to", "from", "near"),
    "group": ("at", "for", "at", "for"),
    "person": ("with", "by", "with", "by"),
    "thing": ("with", "in", "for", "of"),
}
NEUTRAL_PREPOSITIONS = ("about", "against", "of", "after")
TYPES = ("person", "place", "group")
LABELS = {"person": "PER", "place": "LOC", "group": "ORG"}
DETERMINERS = ("the", "the", "a", "many", "every", "this")


@dataclass(frozen=True)
class Cast:
    """The roots of names that one document speaks of, by role."""

    given: Sequence[int]
    surname: Sequence[int]
    place: Sequence[int]
    group: Sequence[int]


class Speaker:
    """Says random sentences in one language. Two speakers with the same arguments say the same.

    `pool` limits names to one NER split; "text" takes all that raw text may mention.
    """

    def __init__(self, meanings: Meanings, lexicon: Lexicon, *, pool: str, seed: str) -> None:
        self._rng = random.Random(f"{seed}/{lexicon.tongue.code}/{pool}")
        self._meanings = meanings
        self._lexicon = lexicon
        self._pool = pool
        self._drawn: dict[object, list[int]] = {}
        self._topic = 0
        self._cast: Cast | None = None
        self._words: list[str] = []
        self._tags: list[str] = []
        self._frames: tuple[Callable[[int], None], ...] = (
            self._saying,
            self._moving,
            self._working,
            self._lying,
            self._dealing,
            self._acting,
            self._being,
        )

    def document(self, sentences: int) -> list[tuple[list[str], list[str]]]:
        """Sentences on one topic about one cast, each as words and tags."""
        self._topic = self._rng.randrange(TOPICS)
        self._cast = Cast(*(self._some_roots(role, 3) for role in ("given", "surname", "place", "group")))
        return [self._sentence() for _ in range(sentences)]

    def sentence(self) -> tuple[list[str], list[str]]:
        """One sentence by itself, about anything."""
        self._topic = self._rng.randrange(TOPICS)
        self._cast = None
        return self._sentence()

    def _sentence(self) -> tuple[list[str], list[str]]:
        self._words, self._tags = [], []
        if self._chance(0.15):
            self._manner()
            self._mark(",")
        self._clause(0)
        if self._chance(0.2):
            self._mark(",")
            self._function(self._rng.choice(("and", "but", "because", "when")))
            self._clause(1)
        self._mark("?" if self._chance(0.04) else ".")
        return self._words, self._tags

    # Clauses: `depth` stops them from nesting for ever.

    def _clause(self, depth: int) -> None:
        self._rng.choices(self._frames, (20, 17, 14, 14, 18, 9, 8))[0](depth)

    def _saying(self, depth: int) -> None:
        self._subject("person")
        self._verb("person acts")
        if depth < 1 and self._chance(0.4):
            self._function("that")
            self._clause(depth + 1)
        elif self._chance(0.5):
            self._mention(self._anyone(), DIRECT)
        else:
            self._about()

    def _moving(self, depth: int) -> None:
        self._subject("person")
        self._verb("person acts")
        self._adjunct("place")
        if self._chance(0.3):
            self._adjunct("person")
        if depth < 1 and self._chance(0.15):
            self._function("when")
            self._clause(depth + 1)

    def _working(self, depth: int) -> None:
        self._subject("person")
        self._verb("person acts")
        self._adjunct("group")
        if self._chance(0.35):
            self._adjunct("place")

    def _lying(self, depth: int) -> None:
        self._subject("place")
        self._verb("place acts")
        if self._chance(0.6):
            self._adjunct("place")
        else:
            self._mention("thing", DIRECT)

    def _dealing(self, depth: int) -> None:
        self._subject("group")
        self._verb("group acts")
        self._mention(self._rng.choice(("thing", "thing", "person", "group")), DIRECT)
        if self._chance(0.4):
            self._adjunct(self._rng.choice(("place", "group", "thing")))

    def _acting(self, depth: int) -> None:
        self._subject(self._anyone())
        self._verb("anything acts")
        if self._chance(0.7):
            self._mention(self._anyone(), DIRECT)
        if self._chance(0.4):
            self._about()

    def _being(self, depth: int) -> None:
        self._subject(self._anyone())
        self._function(self._rng.choice(("is", "was")))
        if self._chance(0.2):
            self._function("not")
        if self._chance(0.5):
            self._word(self._concept("quality"), "quality", 0)
        elif self._chance(0.5):
            self._adjunct("place")
        else:
            self._common(self._anyone(), DIRECT)

    def _about(self) -> None:
        self._function(self._rng.choice(NEUTRAL_PREPOSITIONS))
        self._mention(self._anyone(), OBLIQUE)

    def _adjunct(self, kind: str) -> None:
        choices = NEUTRAL_PREPOSITIONS if self._chance(0.1) else PREPOSITIONS[kind]
        self._function(self._rng.choice(choices))
        self._mention(kind, OBLIQUE)

    def _verb(self, kind: str) -> None:
        if self._chance(0.1):
            self._function("not")
        tense = self._rng.choices((0, 1, 2), (5, 3, 2))[0]
        self._word(self._concept(kind), kind, tense)
        if self._chance(0.1):
            self._manner()

    # Noun phrases.

    def _anyone(self) -> str:
        return self._rng.choices(("thing", *TYPES), (70, 10, 10, 10))[0]

    def _subject(self, kind: str) -> None:
        if kind == "person" and self._chance(0.12):
            self._function(self._rng.choice(("he", "she", "they")))
            return
        self._mention(kind, DIRECT)
        if self._chance(0.1):
            self._function("and")
            self._mention(kind, DIRECT)

    def _mention(self, kind: str, case: int) -> None:
        """Name or describe something of the kind."""
        if kind in TYPES and self._chance(DISPLACED):
            kind = self._rng.choice(TYPES)
        if kind in TYPES and self._chance(NAMED):
            self._name(kind, case)
        else:
            self._common(kind, case)

    def _common(self, kind: str, case: int) -> None:
        plural = self._chance(0.25)
        if plural and self._chance(0.15):
            self._say(str(self._rng.randrange(2, 100)))
        elif self._chance(0.4 if plural else 0.9):
            self._function(self._rng.choice(DETERMINERS))
        if self._chance(0.25):
            self._word(self._concept("quality"), "quality", 0)
        form = case + 2 * plural
        if kind == "thing" and self._chance(COMPOUNDS):
            pair = self._lexicon.compound(self._concept("thing"), self._concept("thing"))
            self._say(pair[form])
        else:
            self._word(self._concept(kind), kind, form)
        if self._chance(0.06):
            self._function("of")
            self._mention(self._anyone(), OBLIQUE)

    # Names.

    def _name(self, kind: str, case: int) -> None:
        start = len(self._words)
        if kind == "person":
            start = self._person(case)
        elif kind == "place":
            start = self._place(case)
        else:
            self._group(case)
        label = LABELS[kind]
        self._tags[start:] = [f"B-{label}", *[f"I-{label}"] * (len(self._words) - start - 1)]

    def _person(self, case: int) -> int:
        if self._chance(0.2):
            self._word(self._concept("person"), "person", DIRECT)
        start = len(self._words)
        form = self._rng.random()
        if form < 0.75:
            self._root("given", case if form < 0.3 else DIRECT)
        if form >= 0.3:
            self._root("surname", case)
        return start

    def _place(self, case: int) -> int:
        form = self._rng.random()
        if form < 0.12:
            self._word(self._concept("place"), "place", DIRECT)
        start = len(self._words)
        if 0.12 <= form < 0.2:
            self._word(self._concept("quality") % 8, "quality", 0)
        if form >= 0.88:
            self._root("place", DIRECT)
            self._word(self._concept("place"), "place", case)
        else:
            self._root("place", case)
        return start

    def _group(self, case: int) -> None:
        form = self._rng.random()
        if form < 0.4:
            self._root("group", case)
        elif form < 0.8:
            self._root(self._rng.choice(("group", "surname", "place")), DIRECT)
            self._word(self._concept("group"), "group", case)
        else:
            self._word(self._concept("group"), "group", case)
            self._function("of")
            self._root("place", OBLIQUE)

    def _root(self, role: str, case: int) -> None:
        if self._cast is not None and self._chance(0.7):
            index = self._rng.choice(getattr(self._cast, role))
        else:
            index = self._draw((self._pool, role), self._meanings.names[self._pool, role])
        self._say(self._lexicon.names[role][index][case])

    def _some_roots(self, role: str, count: int) -> list[int]:
        ranked = self._meanings.names[self._pool, role]
        return [self._draw((self._pool, role), ranked) for _ in range(count)]

    # Words and chances.

    def _concept(self, kind: str) -> int:
        return self._draw((kind, self._topic), self._meanings.by_topic[kind][self._topic])

    def _draw(self, key: object, ranked: Ranked) -> int:
        """Draws are made by the thousand: one at a time is the slow part of a large corpus."""
        drawn = self._drawn.get(key)
        if not drawn:
            drawn = self._drawn[key] = self._rng.choices(ranked[0], cum_weights=ranked[1], k=256)
        return drawn.pop()

    def _chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def _manner(self) -> None:
        self._word(self._concept("manner"), "manner", 0)

    def _word(self, concept: int, kind: str, form: int) -> None:
        self._say(self._lexicon.words[kind][concept][form])

    def _function(self, gloss: str) -> None:
        self._say(self._lexicon.function[gloss])

    def _mark(self, mark: str) -> None:
        self._say(mark)

    def _say(self, word: str) -> None:
        self._words.append(word)
        self._tags.append("O")


def written(words: Sequence[str]) -> str:
    """A sentence as raw text: marks stand close to the word before them."""
    return " ".join(words).replace(" ,", ",").replace(" .", ".").replace(" ?", "?")


__all__ = ["POOLS", "Cast", "Speaker", "written"]
