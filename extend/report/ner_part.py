"""The part of the page that sets encoders and languages against each other: heat map, groups, strata."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from extend.report.nouns import Difference, NerStage, StratumScore
from extend.report.text import DASH, number, shown, span, whole
from extend.report.tracks import Change, TrackChart, TrackRow, change_chart, stack

SHADES = 10
MARKS = {"gain": "▲", "loss": "▼", "noise": "≈", "kept": "=", "note": ""}
MISTAKES = {
    "missed": "missed",
    "boundary": "other bounds",
    "type": "another type",
    "spurious": "found where none is",
}
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
    """A score with its shade, 0 (an F1 of 0) to 10 (100); shade None where nothing was measured.

    `change` is the difference from the first encoder with a mark for its `kind`.
    """

    value: str
    interval: str
    shade: int | None
    change: str = ""
    kind: str = ""


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
    rows = ((encoder, tuple(_cell(stage, encoder, language) for language in ordered)) for encoder in encoders)
    return HeatMap(tuple(ordered), tuple(rows))


def _cell(stage: NerStage, encoder: str, language: str) -> HeatCell:
    score = stage.score(encoder, language)
    if score is None or score.f1_mean is None:
        return HeatCell(DASH, "", None)
    shade = round(SHADES * min(max(score.f1_mean, 0.0), 100.0) / 100)
    gap = next((gap for gap in stage.differences if (gap.encoder, gap.language) == (encoder, language)), None)
    change = f"{MARKS[gap.kind]} {_signed(gap)}".strip() if gap else ""
    return HeatCell(number(score.f1_mean), span(score.interval), shade, change, gap.kind if gap else "")


def _signed(gap: Difference) -> str:
    return ("+" if gap.points > 0 else "") + number(gap.points)


def change_rows(stage: NerStage, order: Sequence[str]) -> TrackChart | None:
    """Every paired difference with its interval, languages in `order`."""
    told = sorted(
        stage.differences,
        key=lambda gap: order.index(gap.language) if gap.language in order else len(order),
    )
    changes = [
        Change(
            label=f"{shown(gap.encoder, limit=40)} on {shown(gap.language, limit=40)}",
            value=gap.points,
            interval=gap.interval,
            kind=gap.kind,
            told=_signed(gap),
            aside=span(gap.interval),
        )
        for gap in told
    ]
    return change_chart(changes, unit="F1 points")


@dataclass(frozen=True, slots=True)
class Mistakes:
    """Wrong spans by kind, an encoder a row: the bars, and in `counts` encoder, count of each kind, sum.

    The legend has the class and the name of each kind.
    """

    chart: TrackChart
    legend: tuple[tuple[str, str], ...]
    counts: tuple[tuple[str, ...], ...]


def mistakes_of(stage: NerStage, language: str) -> Mistakes | None:
    """What goes wrong on `language`; None where no encoder's mistakes were counted."""
    scores = [score for score in stage.scores if score.language == language and score.mistakes]
    most = max((sum(score.mistakes.values()) for score in scores), default=0)
    if not most:
        return None
    kinds = list(dict.fromkeys([*MISTAKES, *(kind for score in scores for kind in score.mistakes)]))
    rows, told = [], []
    for score in scores:
        counts = [(kind, score.mistakes.get(kind, 0)) for kind in kinds]
        total = sum(count for _, count in counts)
        bar = stack(counts, label=f"{whole(total)} wrong spans", whole=most)
        encoder = shown(score.encoder, limit=40)
        rows.append(TrackRow(encoder, bar.drawing if bar else Markup(""), whole(total)))
        told.append((encoder, *(whole(count) for _, count in counts), whole(total)))
    legend = tuple((f"s{min(index, 5)}", _kind(kind)) for index, kind in enumerate(kinds))
    return Mistakes(TrackChart(tuple(rows), (), "wrong spans"), legend, tuple(told))


def _kind(kind: str) -> str:
    return MISTAKES.get(kind, shown(kind, limit=20))


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
