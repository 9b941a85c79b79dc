"""The part of the page that sets encoders and languages against each other: heat map, groups, strata."""

from collections.abc import Sequence
from dataclasses import dataclass

from extend.report.nouns import NerScore, NerStage, StratumScore
from extend.report.text import DASH, number, span

SHADES = 10
PAIRS = (
    ("seen in training", "seen"),
    ("not seen", "unseen"),
    ("without [UNK]", "without_unk"),
    ("with [UNK]", "with_unk"),
    ("without a new piece", "without_new_piece"),
    ("with a new piece", "with_new_piece"),
    ("1 word", "words_1"),
    ("2 words", "words_2"),
    ("3 words", "words_3"),
    ("4 or more", "words_4+"),
)


@dataclass(frozen=True, slots=True)
class HeatCell:
    """A score with its shade, 0 (an F1 of 0) to 10 (100); shade None where nothing was measured."""

    value: str
    interval: str
    shade: int | None


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Encoders in rows, test languages in columns, the source last."""

    languages: tuple[str, ...]
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]


@dataclass(frozen=True, slots=True)
class StrataTable:
    """F1 of kinds of entities: a row an encoder and language, a column a kind that some row has."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[str, ...]], ...]


def heat_map(stage: NerStage) -> HeatMap | None:
    """None when there are fewer than two languages or encoders: bars say it then."""
    languages = dict.fromkeys(score.language for score in stage.scores)
    ordered = sorted(languages, key=lambda language: language == stage.source)
    encoders = dict.fromkeys(score.encoder for score in stage.scores)
    if len(ordered) < 2 or len(encoders) < 2:
        return None
    rows = (
        (encoder, tuple(_cell(stage.score(encoder, language)) for language in ordered))
        for encoder in encoders
    )
    return HeatMap(tuple(ordered), tuple(rows))


def _cell(score: NerScore | None) -> HeatCell:
    if score is None or score.f1_mean is None:
        return HeatCell(DASH, "", None)
    shade = round(SHADES * min(max(score.f1_mean, 0.0), 100.0) / 100)
    return HeatCell(number(score.f1_mean), span(score.interval), shade)


def group_rows(stage: NerStage) -> list[tuple[str, str, str, str]]:
    """Group, its languages, encoder, mean with interval."""
    return [
        (group.name, ", ".join(group.languages), encoder, f"{number(mean)} {span(bounds)}".strip())
        for group in stage.groups
        for encoder, mean, bounds in group.means
    ]


def strata_table(stage: NerStage) -> StrataTable | None:
    """None when no result has strata."""
    measured = {one.name for score in stage.scores for one in score.strata if one.support}
    columns = [(title, name) for title, name in PAIRS if name in measured]
    if not columns:
        return None
    rows = (
        (score.encoder, score.language, tuple(_stratum(score.strata, name) for _, name in columns))
        for score in sorted(stage.scores, key=lambda score: score.language == stage.source)
        if score.strata
    )
    return StrataTable(tuple(title for title, _ in columns), tuple(rows))


def _stratum(strata: Sequence[StratumScore], name: str) -> str:
    found = next((one for one in strata if one.name == name), None)
    return DASH if found is None or not found.support else f"{number(found.f1)} of {number(found.support, 0)}"
