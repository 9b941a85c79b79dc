"""What the share of the new language costs and gives: its words against those of the old languages.

A base with scores lets this be chosen; WordPiece does not.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from extend.types import WordCounts
from extend.unigram.lattice import NOT_THERE, Floats, Lattice, Paths
from extend.unigram.scores import mixed_all, unknown_score

SHARES = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0)


def frontier(
    added: Mapping[str, float],
    known: Mapping[str, float],
    *,
    held_out: WordCounts,
    old_words: Collection[str],
    shares: Sequence[float] = SHARES,
) -> list[dict[str, float]]:
    """For each share: `share`, `fertility` and `unk_rate` on `held_out`, `words_changed` of `old_words`.

    `added` are log-probabilities in the new language (`piece_scores`), `known` the base's scores; words are
    pre-tokenized as the model gets them. `words_changed` is the share of distinct old words that are spelt
    otherwise than by the base, all 0.0 where there are no words. The segmentations are those of `tokenizers`.
    """
    pieces, logs = [*known, *added], np.fromiter(added.values(), dtype=np.float64, count=len(added))
    base = np.fromiter(known.values(), dtype=np.float64, count=len(known))
    lowest, unknown = min(known.values(), default=-np.inf), unknown_score(known)
    words = sorted(word for word, count in held_out.items() if word and count > 0)
    frequencies = np.array([held_out[word] for word in words], dtype=np.float64)
    old = sorted(set(old_words).difference([""]))
    new_lattice = Lattice(words, pieces, fixed=len(known))
    old_lattice = Lattice(old, pieces, fixed=len(known))

    def spelt(lattice: Lattice, scores: Floats) -> Paths:
        return lattice.best(lattice.edge_scores(scores, unknown=unknown))

    before = spelt(old_lattice, np.concatenate([base, np.full(len(added), NOT_THERE)]))
    points: list[dict[str, float]] = []
    for share in shares:
        scores = np.concatenate([base, mixed_all(logs, share=share, lowest=lowest)])
        paths = spelt(new_lattice, scores)
        total = max(float(frequencies.sum()), 1.0)
        points.append(
            {
                "share": share,
                "fertility": float(paths.lengths(len(words)) @ frequencies) / total,
                "unk_rate": float(paths.unknown(len(words)) @ frequencies) / total,
                "words_changed": _changed(before, spelt(old_lattice, scores), len(old)) / max(len(old), 1),
            }
        )
    return points


def _changed(before: Paths, after: Paths, words: int) -> int:
    """How many words have another segmentation; equal lengths and equal pieces make an equal one."""
    lengths, others = before.lengths(words), after.lengths(words)
    same_length = lengths == others
    first, second = before.pieces[same_length[before.words]], after.pieces[same_length[after.words]]
    word = before.words[same_length[before.words]]
    differing = np.unique(word[first != second])
    return int((~same_length).sum()) + len(differing)
