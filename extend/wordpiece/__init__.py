"""Learn the WordPieces that a base vocabulary lacks for a corpus.

Three steps, all on exact integer counts, every order total, so that the same counts give the same pieces
whatever the hash seed, the machine or the order of the words:

1. the characters of the corpus, so that a word of a new script is never unknown (`characters.py`);
2. frequency merges (Sennrich, Haddow, Birch 2016, algorithm 1), started from how the base spells the
   words today, to several times as many candidates as asked for (`merges.py`);
3. candidates taken away where longest match loses least, down to the size asked for, so that no piece is
   kept that the tokenizer would not use on the corpus (`pruning.py`).

This differs from BERT's own WordPiece learner (Schuster and Nakajima 2012), which merges by likelihood,
and from the EXTEND release (Wang et al. 2020), which filters a SentencePiece unigram vocabulary.
"""

from collections.abc import Collection

from extend.types import Subword, WordCounts
from extend.wordpiece.characters import alphabet
from extend.wordpiece.merges import merge_candidates
from extend.wordpiece.pieces import Pieces
from extend.wordpiece.pruning import prune

__all__ = ["learn_subwords"]

OVERSHOOT = 4


def learn_subwords(
    counts: WordCounts,
    *,
    size: int,
    known: Collection[Subword],
    min_count: int = 2,
    max_length: int = 64,
    max_word_length: int = 100,
) -> list[Subword]:
    """At most `size` new subwords for `counts`, none of them in `known`; fewer when the corpus gives no more.

    `known` are the base's pieces (none: a vocabulary from nothing). Every piece but the characters is used
    at least `min_count` times when the corpus is segmented by longest match over `known` and the result.
    Words over `max_word_length` characters, which BERT never segments, are left out. Digits, punctuation
    and symbols join nothing: numbers keep the spelling that `known` gives them. Raises ValueError when
    `size` is negative or another bound is below 1.
    """
    if size < 0 or min(min_count, max_length, max_word_length) < 1:
        raise ValueError("size is at least 0, the other bounds at least 1")
    words = {word: counts[word] for word in sorted(counts) if 0 < len(word) <= max_word_length}
    pieces = Pieces(known)
    characters = [character for character in alphabet(words, min_count=min_count) if character not in pieces][
        :size
    ]
    for character in characters:
        pieces.add(character)
    segmented = [
        (segmentation, count)
        for word, count in words.items()
        if (segmentation := pieces.longest_match(word)) is not None and count > 0
    ]
    wanted = size - len(characters)
    candidates = merge_candidates(
        segmented, pieces, limit=OVERSHOOT * wanted, min_count=min_count, max_length=max_length
    )
    kept = prune(words, pieces, candidates, size=wanted, min_count=min_count)
    return [*characters, *(pieces.subwords[index] for index in kept)]
