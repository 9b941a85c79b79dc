"""Scores of one file of predictions against one of gold tags."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ner.compare.reading import check_same_words, read_tags, schemes_of
from ner.mistakes import KINDS, Mistake, error_summary, mistakes_of
from ner.score import OPEN_SCHEMES, TagPair, interval
from ner.tags import Scheme, spans_of, tags_of

SEED = 1


def score_files(gold: Path, predicted: Path, *, seed: int = SEED) -> dict[str, Any]:
    """Score the tags of `predicted` against those of `gold`: columns or JSON lines, in any scheme.

    Returns:
        `strict` and `repaired`, each {precision, recall, f1} in percent; `ci95` of the repaired F1;
        `lenient{span, overlap, partial}`, each as those; `illegal`, the number of illegal transitions in
        `predicted`; `per_type` {TYPE: {precision, recall, f1, support, predicted, matched}} (repaired);
        `errors` and `error_shares` by kind; `confusion`, rows of gold and predicted type; `scheme`,
        `predicted_scheme`, `sentences`, `words`, `entities` (gold) and `predicted_entities`.

    Raises:
        DataError: E-MISMATCH at the first line whose words differ; or a file that cannot be read.
        PathError: a file is missing.
    """
    wanted, found = read_tags(gold), read_tags(predicted)
    check_same_words(gold, wanted, predicted, found)
    return score_tags([one.tags for one in wanted], [one.tags for one in found], seed=seed)


def score_tags(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], *, seed: int = SEED
) -> dict[str, Any]:
    """What `score_files` returns, for tags; each side may be in a scheme of its own.

    Raises DataError when a side mixes the marks of two schemes.
    """
    schemes = schemes_of(gold, predicted)
    pair = TagPair.of(gold, predicted, scheme=schemes)
    repaired = pair.counts()
    sums = repaired.sums()
    mistakes = _mistakes(gold, predicted, schemes)
    kinds = Counter(mistake.kind for mistake in mistakes)
    spread = interval([repaired.by_sentence()], seed=seed)
    return {
        "strict": asdict(pair.counts(strict=True).total()),
        "repaired": asdict(repaired.total()),
        "ci95": [round(spread.low, 4), round(spread.high, 4)],
        "lenient": asdict(pair.lenient()),
        "illegal": pair.illegal(),
        "per_type": {
            label: asdict(rates) | dict(zip(("matched", "predicted", "support"), sums[label], strict=True))
            for label, rates in repaired.per_type().items()
        },
        "errors": {kind: kinds[kind] for kind in KINDS},
        **error_summary({label: matched for label, (matched, _, _) in sums.items()}, mistakes),
        "scheme": schemes[0].value,
        "predicted_scheme": schemes[1].value,
        "sentences": pair.sentences,
        "words": pair.words,
        "entities": int(repaired.gold.sum()),
        "predicted_entities": int(repaired.predicted.sum()),
    }


def _mistakes(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], schemes: tuple[Scheme, Scheme]
) -> list[Mistake]:
    mistakes: list[Mistake] = []
    for wanted, found in zip(gold, predicted, strict=True):
        if wanted != found or schemes[0] is not schemes[1]:
            mistakes += mistakes_of(_in_iob2(wanted, schemes[0]), _in_iob2(found, schemes[1]))
    return mistakes


def _in_iob2(tags: Sequence[str], scheme: Scheme) -> Sequence[str]:
    """Tags with the same spans; those of IOB1 are, illegal ones repaired, the same already."""
    return tags if scheme in OPEN_SCHEMES else tags_of(spans_of(tags, scheme=scheme), len(tags))
