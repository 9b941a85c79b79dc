"""`report.html`: one self-contained page, made by jinja2 with automatic escaping from a `RunReport`."""

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from extend.report import plots, tables, text
from extend.report.ner_part import HeatMap, StrataTable, group_rows, heat_map, strata_table
from extend.report.nouns import Example, NerScore, NerStage, NewRow, RunReport
from extend.report.pretraining_part import pretraining_part
from extend.report.tables import Summary
from extend.report.vocabulary_part import vocabulary_part

SHOWN_EXAMPLES = 12
FOLDED_EXAMPLES = 100
SHOWN_PIECES = 400
_HERE = Path(__file__).parent
CONTINUATION = "##"


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece as the page shows it: the continuation mark apart, `kind` is start, inside or unknown."""

    text: str
    continues: bool
    unknown: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """A number worth a headline: what it was with the base and what it is now."""

    title: str
    before: str
    after: str
    note: str
    interval: tuple[float, float] | None = None


def render_html(report: RunReport) -> str:
    """The whole page: no request leaves it, light and dark, right-to-left words in their own direction."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        shown=text.shown,
        direction=text.direction,
        number=text.number,
        whole=text.whole,
        percent=text.percent,
        span=text.span,
        duration=text.duration,
        size=text.size,
        piece=as_piece,
    )
    style = Markup((_HERE / "report.css").read_bytes().decode("utf-8"))
    return environment.get_template("report.html").render(style=style, **_content(report))


def as_piece(piece: str) -> Piece:
    """`##` stands apart, and a mark that needs a letter before it gets the dotted circle."""
    continues = piece.startswith(CONTINUATION) and len(piece) > len(CONTINUATION)
    bare = piece.removeprefix(CONTINUATION) if continues else piece
    circle = "\u25cc" if bare and unicodedata.category(bare[0])[0] == "M" else ""
    return Piece(circle + text.shown(bare, limit=100), continues, piece == "[UNK]")


def _content(report: RunReport) -> dict[str, Any]:
    summary = tables.summarise(report)
    language = report.language
    return {
        "report": report,
        "title": language.autonym or language.name or language.code,
        "language_names": [name for name in dict.fromkeys((language.name, language.code)) if name],
        "figures": _figures(report, summary),
        "findings": tables.findings(report),
        "summary": tables.summary_rows(report),
        "per_word": any(line.mlm_loss_per_word is not None for line in summary),
        "charts": [_chart(stage) for stage in report.ner],
        "example_groups": _example_groups(report),
        "pieces": report.vocabulary.pieces[:SHOWN_PIECES] if report.vocabulary else (),
        "choices": vocabulary_part(report.vocabulary) if report.vocabulary else None,
        "training": pretraining_part(report.pretraining, report.language.code)
        if report.pretraining
        else None,
        "row_examples": [_row(row) for row in report.growth.examples] if report.growth else [],
        "costs": tables.costs(report),
        "total_seconds": _total(report),
        "settings": _settings(report),
        "dash": text.DASH,
    }


def _figures(report: RunReport, summary: list[Summary]) -> list[Figure]:
    lines = {line.encoder: line for line in summary}
    if "extended" not in lines:
        return []
    base, extended = lines.get("base"), lines["extended"]
    stage = report.protocol("zero-shot")
    transfer = f"trained on {text.shown(stage.source, limit=20)} alone" if stage and stage.source else ""
    return [
        Figure(
            "Words with [UNK]",
            text.percent(base.unk_rate if base else None),
            text.percent(extended.unk_rate),
            "of held-out words; lower is better",
        ),
        Figure(
            "Pieces a word",
            text.number(base.fertility if base else None, 2),
            text.number(extended.fertility, 2),
            "fertility; an [UNK] word counts as one",
        ),
        Figure(
            "Zero-shot NER",
            text.number(base.zero_shot_f1 if base else None),
            text.number(extended.zero_shot_f1),
            transfer or "span F1",
            extended.zero_shot_ci95,
        ),
        Figure(
            "Supervised NER",
            text.number(base.supervised_f1 if base else None),
            text.number(extended.supervised_f1),
            "trained on its own sentences",
            extended.supervised_ci95,
        ),
    ]


@dataclass(frozen=True, slots=True)
class Bar:
    score: NerScore
    drawing: Markup


@dataclass(frozen=True, slots=True)
class Chart:
    """The bars of one protocol, grouped by test language; then all of it in tables."""

    stage: NerStage
    languages: tuple[tuple[str, tuple[Bar, ...]], ...]
    heat: HeatMap | None
    groups: list[tuple[str, str, str, str]]
    strata: StrataTable | None


def _chart(stage: NerStage) -> Chart:
    languages = dict.fromkeys(score.language for score in stage.scores)
    ordered = sorted(languages, key=lambda language: language == stage.source)
    return Chart(
        stage,
        tuple(
            (
                language,
                tuple(
                    Bar(score, plots.score_bar(score.encoder, score.f1_mean, score.interval, score.f1))
                    for score in stage.scores
                    if score.language == language
                ),
            )
            for language in ordered
        ),
        heat_map(stage),
        group_rows(stage),
        strata_table(stage),
    )


def _example_groups(report: RunReport) -> list[tuple[Example, ...]]:
    """The examples in sight, then those folded away."""
    examples = report.vocabulary.examples if report.vocabulary else ()
    groups = [examples[:SHOWN_EXAMPLES], examples[SHOWN_EXAMPLES:FOLDED_EXAMPLES]]
    return [group for group in groups if group]


@dataclass(frozen=True, slots=True)
class ShownRow:
    piece: str
    method: str
    sources: tuple[tuple[str, str], ...]
    more: int
    reason: str


def _row(row: NewRow) -> ShownRow:
    """The heaviest sources first, ties as the file has them."""
    heaviest = sorted(row.sources, key=lambda source: -abs(source[1]))
    return ShownRow(
        row.piece,
        row.method,
        tuple((piece, text.number(weight, 2)) for piece, weight in heaviest[:6]),
        max(0, len(heaviest) - 6),
        row.reason,
    )


def _total(report: RunReport) -> float | None:
    measured = [cost.seconds for cost in tables.costs(report) if cost.seconds is not None]
    return sum(measured) if measured else None


def _settings(report: RunReport) -> list[tuple[str, str]]:
    return sorted(report.settings.items())
