"""What can be said in the made world: concepts, topics and names, before any language has words for them.

A concept belongs to one to three of 24 topics and is frequent in those and rare elsewhere (Zipf in each).
Choice of words by topic is what lets a small encoder learn meanings rather than frequencies.
"""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TOPICS = 24

KINDS: Mapping[str, int] = {
    "thing": 440,
    "person": 70,
    "place": 55,
    "group": 55,
    "quality": 150,
    "person acts": 70,
    "group acts": 50,
    "place acts": 36,
    "anything acts": 44,
    "manner": 44,
}
"""Concepts by kind. Persons, places and groups are the common nouns beside PER, LOC and ORG names; verbs are
kept apart by what usually does them."""

FUNCTION_WORDS = (
    *("the", "a", "many", "every", "this"),
    *("in", "to", "from", "near", "at", "for", "with", "by", "of", "about", "against", "after"),
    *("and", "or", "but", "that", "who", "when", "because", "not", "also"),
    *("he", "she", "they", "it", "is", "was"),
)
"""Closed-class meanings, named by their English glosses; each language has its own words for them."""

Ranked = tuple[tuple[int, ...], tuple[float, ...]]
"""Things to draw from and their cumulative weights."""

POOLS = ("train", "dev", "test")


def cumulative(weights: Sequence[float]) -> tuple[float, ...]:
    """Running sums, as `random.choices` wants them."""
    return tuple(itertools.accumulate(weights))


@dataclass(frozen=True)
class Root:
    """The core of names. `pool` says in which NER split its names may occur, in every language alike.

    `roles` are the kinds of name it makes (given, surname, place, group); one root may make several, and
    then, when `bare`, one and the same word names a person, a place and an organisation.
    `shared` roots are one sound in all languages (then bent by each one's laws); the others each language
    coins for itself. An `unheard` root occurs in no raw text of any language.
    `noun` is the common noun that serves as the name, if it is one (as Smith or Rose).
    """

    index: int
    pool: str
    roles: frozenset[str]
    bare: frozenset[str]
    shared: bool
    unheard: bool
    noun: int | None


@dataclass(frozen=True)
class Meanings:
    """The concepts of one world, the same for all its languages."""

    by_topic: Mapping[str, tuple[Ranked, ...]]
    roots: tuple[Root, ...]
    names: Mapping[tuple[str, str], Ranked]

    @classmethod
    def made(cls, seed: int) -> "Meanings":
        rng = random.Random(f"{seed}/meanings")
        by_topic = {kind: _topics(rng, size) for kind, size in KINDS.items()}
        roots = _roots(rng)
        names = {
            (pool, role): _ranked_roots(roots, pool=pool, role=role)
            for pool in (*POOLS, "text")
            for role in ("given", "surname", "place", "group")
        }
        return cls(by_topic, roots, names)


def _topics(rng: random.Random, size: int) -> tuple[Ranked, ...]:
    overall = [1 / (rank + 3) for rank in range(size)]
    rng.shuffle(overall)
    homes: list[set[int]] = [{index % TOPICS} for index in range(size)]
    for home in homes:
        while rng.random() < 0.3 and len(home) < 3:
            home.add(rng.randrange(TOPICS))
    ranked = []
    for topic in range(TOPICS):
        inside = [index for index in range(size) if topic in homes[index]]
        rng.shuffle(inside)
        weights = [0.15 * weight / sum(overall) for weight in overall]
        total = sum(1 / (rank + 2) for rank in range(len(inside)))
        for rank, index in enumerate(inside):
            weights[index] += 0.85 / (rank + 2) / total
        ranked.append((tuple(range(size)), cumulative(weights)))
    return tuple(ranked)


def _roots(rng: random.Random) -> tuple[Root, ...]:
    nouns = iter(rng.sample(range(KINDS["thing"]), 80))
    roots = []
    for index in range(1000):
        if index < 220:
            roles = {"given"}
        else:
            more = rng.choices((1, 2, 3), (50, 30, 20))[0]
            roles = set(rng.sample(("surname", "place", "group"), more))
        bare = frozenset(role for role in sorted(roles) if role == "given" or rng.random() < 0.5)
        pool = rng.choices(POOLS, (52, 14, 34))[0]
        roots.append(
            Root(
                index=index,
                pool=pool,
                roles=frozenset(roles),
                bare=bare,
                shared=rng.random() < 0.6,
                unheard=pool == "test" and rng.random() < 1 / 3,
                noun=next(nouns) if index >= 220 and index % 10 == 0 else None,
            )
        )
    return tuple(roots)


def _ranked_roots(roots: Sequence[Root], *, pool: str, role: str) -> Ranked:
    chosen = [
        root.index
        for root in roots
        if role in root.roles and (not root.unheard if pool == "text" else root.pool == pool)
    ]
    return tuple(chosen), cumulative([1 / (rank + 8) for rank in range(len(chosen))])
