"""Which pieces a base gets, whatever its tokenizer's kind: the learner's, with scores where it has them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from extend import store
from extend.config import VocabSettings
from extend.recipe.vocabulary_inputs import VocabularyInputs, forbidden_subwords
from extend.tokenizer import AbstractTokenizerKind, kind_of, special_ids, subwords, word_segmenter
from extend.types import Subword, VocabularyExtension, WordCounts
from extend.unigram import choose_pieces, frontier, mixed
from extend.vocab import drift_words, extend_vocabulary, least_harmful
from extend.wordpiece import SIZES, Rules, knee, learn_subwords, size_curve

CANDIDATES = 2
"""Pieces of the learner for each one asked for, from which the best segmentation chooses."""
RECHOSEN = 8
"""Pieces are chosen anew while a round leaves out at least this part (an eighth) of all left out."""


@dataclass(frozen=True)
class Chosen:
    """An extension, the tokenizer that has it, and what the choice is told by in vocab/report.json."""

    extension: VocabularyExtension
    tokenizer: Tokenizer
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Task:
    """A base, the counted words as its learner sees them, and what is asked for."""

    base: Tokenizer
    kind: AbstractTokenizerKind
    known: Sequence[Subword]
    words: WordCounts
    held_out: WordCounts
    protected: Sequence[WordCounts]
    rules: Rules
    wanted: VocabSettings


def choose_vocabulary(
    base: Tokenizer,
    words: WordCounts,
    held_out: WordCounts,
    *,
    inputs: VocabularyInputs,
    wanted: VocabSettings,
    base_folder: Path,
) -> Chosen:
    """The pieces for pre-tokenized `words` (held-out ones only measure), and `base` extended by them.

    The facts have `size`, with `vocab.size = "auto"` also `sizes`, and for a base with scores `frontier`
    and `score_mix`.
    """
    kind = kind_of(base)
    task = _Task(
        base,
        kind,
        subwords(kind, kind.vocabulary(base), special=special_ids(base).unmaskable),
        _texts(kind, words),
        _texts(kind, held_out),
        [_texts(kind, counts) for counts in inputs.protected.values()],
        Rules(
            min_count=wanted.min_count,
            max_length=wanted.max_piece_length,
            forbidden=forbidden_subwords(kind, inputs.vetoed),
            max_drift=wanted.max_drift,
        ),
        wanted,
    )
    size, facts = _size(task, base_folder)
    chosen = _scored(task, size) if kind.needs_scores else _matched(task, size)
    return Chosen(chosen.extension, chosen.tokenizer, {**facts, **chosen.facts})


def _texts(kind: AbstractTokenizerKind, counts: WordCounts) -> WordCounts:
    """Words without the kind's mark, as the learner sees them."""
    texts: Counter[str] = Counter()
    for word, count in counts.items():
        if text := kind.word_text(word):
            texts[text] += count
    return texts


def _size(task: _Task, base_folder: Path) -> tuple[int, dict[str, Any]]:
    """How many pieces, and what says why."""
    asked = task.wanted.size
    if asked != "auto":
        return asked, {"size": {"asked": asked}}
    points = size_curve(task.words, task.held_out, known=task.known, rules=task.rules, sizes=SIZES)
    if not points:
        return 1, {"size": {"asked": asked}}
    chosen = knee(points)
    numbers = _numbers_a_row(base_folder)
    sizes = [
        {
            "size": point.size,
            "fertility": point.fertility,
            "unk_rate": point.unk_rate,
            "added_parameters": point.size * numbers if numbers else None,
            "added_bytes": point.size * numbers * 4 if numbers else None,
        }
        for point in points
    ]
    why = (
        f"the knee of the curve from {points[0].size:,} to {points[-1].size:,} pieces, where it lies "
        "farthest below the straight line between its ends"
    )
    return chosen.size, {"size": {"asked": asked, "why": why}, "sizes": sizes}


def _numbers_a_row(base_folder: Path) -> int | None:
    """Weights a new piece adds: its row, a second one where the output is not tied, and its bias."""
    path = base_folder / "config.json"
    config = store.read_json(path) if path.is_file() else {}
    hidden = config.get("hidden_size") if isinstance(config, dict) else None
    if not isinstance(hidden, int):
        return None
    return hidden * (1 if config.get("tie_word_embeddings", True) else 2) + 1


def _matched(task: _Task, size: int) -> Chosen:
    """For longest match the learner's pieces are the choice."""
    learned = learn_subwords(
        task.words, size=size, known=task.known, rules=task.rules, protected=task.protected
    )
    pieces = task.kind.completed(task.base, [task.kind.spell(subword) for subword in learned], limit=size)
    extension = extend_vocabulary(task.kind.vocabulary(task.base), pieces, limit=size)
    return Chosen(extension, task.kind.extended(task.base, extension))


def _scored(task: _Task, size: int) -> Chosen:
    """For the best segmentation by scores, the pieces it uses most of what the learner offers.

    What harms protected text is left out and the others chosen anew, a few times; after that it is only
    left out, so that the bound holds in the end.
    """
    kind, known = task.kind, task.kind.scores(task.base)
    words = {kind.marked(text): count for text, count in task.words.items()}
    offered, left_out = _offered(task, size), set[str]()

    def chosen_from(pieces: Sequence[str]) -> dict[str, float]:
        picked = choose_pieces(
            words, known, pieces, size=size, min_count=task.rules.min_count, share=task.wanted.score_mix
        )
        return dict(zip(picked.pieces, picked.logs, strict=True))

    logs = chosen_from(offered)
    while harmful := _harmful(task, words, _with_scores(task, logs)):
        left_out |= harmful
        if len(left_out) <= RECHOSEN * len(harmful):
            logs = chosen_from([piece for piece in offered if piece not in left_out])
        else:
            logs = {piece: log for piece, log in logs.items() if piece not in left_out}
    points = frontier(
        logs,
        known,
        held_out={kind.marked(text): count for text, count in task.held_out.items()},
        old_words=[kind.marked(text) for text in _old_words(task)],
    )
    facts: dict[str, Any] = {
        "score_mix": task.wanted.score_mix,
        "frontier": [{**point, "drift": point["words_changed"]} for point in points],
    }
    chosen = _with_scores(task, logs)
    left = {"left_out": len(left_out)} if task.protected else {}
    return Chosen(chosen.extension, chosen.tokenizer, {**facts, **left})


def _offered(task: _Task, size: int) -> tuple[str, ...]:
    """The learner's choice of `size` and of more, as the base would write it and without what it has."""
    learned = dict.fromkeys(
        subword
        for pool in (size, CANDIDATES * size)
        for subword in learn_subwords(task.words, size=pool, known=task.known, rules=task.rules)
    )
    pieces = map(task.kind.spell, learned)
    return extend_vocabulary(task.kind.vocabulary(task.base), pieces, limit=len(learned)).added


def _old_words(task: _Task) -> Iterable[str]:
    """Distinct words of protected text, or else words near the base's own."""
    protected = dict.fromkeys(text for counts in task.protected for text in counts)
    return protected or drift_words(task.known)


def _harmful(task: _Task, words: WordCounts, chosen: Chosen) -> set[str]:
    """Pieces for which some protected text is over the bound."""
    found: set[str] = set()
    for counts in task.protected:
        found |= least_harmful(
            {task.kind.marked(text): count for text, count in counts.items()},
            words,
            word_segmenter(task.base),
            word_segmenter(chosen.tokenizer),
            added=chosen.extension.added,
            unknown=task.kind.unknown(task.base),
            max_share=task.rules.max_drift,
        )
    return found


def _with_scores(task: _Task, logs: Mapping[str, float]) -> Chosen:
    lowest = min(task.kind.scores(task.base).values())
    extension = VocabularyExtension(task.kind.vocabulary(task.base), tuple(logs))
    scores = [mixed(log, share=task.wanted.score_mix, lowest=lowest) for log in logs.values()]
    return Chosen(extension, task.kind.extended(task.base, extension, scores=scores))
