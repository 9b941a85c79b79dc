"""Learn the WordPieces that a base vocabulary lacks for a corpus.

The pieces are chosen for what they are used for: the fewest pieces a word when the tokenizer segments by
greedy longest match over the base's pieces and the new ones.

1. The characters of the corpus come first, so that a word of a new script is never unknown
   (`characters.py`).
2. Every text inside a word that occurs often enough is a candidate; a lattice knows each place where each
   candidate could stand (`lattice.py`).
3. Candidates come in by what they save with the pieces that are in already, a tenth more than asked for
   (`grow_`); then those go whose loss costs least (`shrink_`), and what the words no longer use.

All of it is exact integer arithmetic with a total order, so the same counts give the same pieces whatever
the hash seed, the machine or the order of the words. It differs from BERT's own learner (Schuster and
Nakajima 2012), which merges neighbours by likelihood, and from the EXTEND release (Wang et al. 2020), which
filters a SentencePiece unigram vocabulary (Kudo 2018); docs/vocabulary.md compares them.
"""

from collections.abc import Collection, Sequence

from extend.types import Subword, WordCounts
from extend.wordpiece.curve import SIZES, SizePoint, knee, size_curve
from extend.wordpiece.learner import PREFERRED_COUNT, Rules, Words, first_characters, select

__all__ = ["SIZES", "Rules", "SizePoint", "knee", "learn_subwords", "size_curve"]

NO_RULES = Rules()


def learn_subwords(
    counts: WordCounts,
    *,
    size: int,
    known: Collection[Subword],
    rules: Rules = NO_RULES,
    protected: Sequence[WordCounts] = (),
) -> list[Subword]:
    """At most `size` new subwords for `counts`, none of them in `known`; fewer when the corpus gives no more.

    `known` are the base's pieces (none: a vocabulary from nothing). Characters come first, by frequency;
    then pieces by how often the corpus uses them. Every piece but the characters is used at least
    `rules.min_count` times when the corpus is segmented by longest match over `known` and the result;
    those that occur three times are preferred, and rarer ones taken when there are no others. Words over
    `rules.max_word_length` characters, which BERT never segments, are left out. Digits, punctuation and
    symbols join nothing: numbers keep the spelling that `known` gives them.

    Of the words of each text in `protected`, at most the share `rules.max_drift` that `known` can spell is
    cut otherwise with the result. Raises ValueError when `size` is negative.
    """
    if size < 0:
        raise ValueError("size is at least 0")
    words = Words.of(counts, protected=protected, max_length=rules.max_word_length)
    if not words.counts.any():
        return []
    characters = first_characters(words, known, rules, size=size)
    words = words.without_guard_on(characters) if protected else words
    wanted, have, chosen = size - len(characters), [*known, *characters], list[Subword]()
    for least in sorted({rules.min_count, max(rules.min_count, PREFERRED_COUNT)}, reverse=True):
        if len(chosen) < wanted:
            chosen = select(words, have, rules, size=wanted, least=least, start=set(chosen))
    return [*characters, *chosen]
