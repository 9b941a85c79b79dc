"""`report.html`: one self-contained page, made by jinja2 with automatic escaping from a `RunReport`."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from extend.report import plots, tables, text
from extend.report.growth_part import compared, method_stack, shown_row
from extend.report.ner_part import (
    HeatMap,
    Mistakes,
    StrataTable,
    change_rows,
    group_rows,
    heat_map,
    mistakes_of,
    strata_table,
)
from extend.report.nouns import Example, NerScore, NerStage, RunReport
from extend.report.pretraining_part import pretraining_part
from extend.report.story import steps
from extend.report.tables import Summary
from extend.report.tracks import TrackChart, share_bar
from extend.report.verdict import verdict
from extend.report.vocabulary_part import vocabulary_part

SHOWN_EXAMPLES = 12
FOLDED_EXAMPLES = 100
SHOWN_PIECES = 400
_HERE = Path(__file__).parent
CONTINUATION = "##"
STYLES = ("report.css", "report_figures.css", "report_small.css")


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece as the page shows it: the continuation mark apart, `kind` is start, inside or unknown."""

    text: str
    continues: bool
    unknown: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """A number worth a headline: what it was with the base and what it is now; `kind` colours it."""

    title: str
    before: str
    after: str
    note: str
    kind: str
    interval: tuple[float, float] | None = None


def render_html(report: RunReport, *, passport: Sequence[tuple[str, str]] = ()) -> str:
    """The whole page: no request leaves it, light and dark, right-to-left words in their own direction.

    `passport` has labels and texts of what is known of the language beside the run's files.
    """
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
    environment.globals["tag"] = report.language.tag
    style = Markup("".join((_HERE / name).read_bytes().decode("utf-8") for name in STYLES))
    return environment.get_template("report.html").render(style=style, **_content(report, passport))


def as_piece(piece: str) -> Piece:
    """`##` stands apart, and a mark that needs a letter before it gets the dotted circle."""
    continues = piece.startswith(CONTINUATION) and len(piece) > len(CONTINUATION)
    bare = piece.removeprefix(CONTINUATION) if continues else piece
    circle = "\u25cc" if bare and unicodedata.category(bare[0])[0] == "M" else ""
    return Piece(circle + text.shown(bare, limit=100), continues, piece == "[UNK]")


def _content(report: RunReport, passport: Sequence[tuple[str, str]]) -> dict[str, Any]:
    summary, language = tables.summarise(report), report.language
    told = tables.findings(report)
    content: dict[str, Any] = {
        "report": report,
        "title": language.autonym or language.name or language.code,
        "language_names": [name for name in dict.fromkeys((language.name, language.code)) if name],
        "names": {language.code: language.name} if language.name else {},
        "verdict": verdict(report),
        "steps": steps(report),
        "figures": _figures(report, summary),
        "findings": [one for one in told if one.kind != "note"],
        "notes": [one for one in told if one.kind == "note"],
        "summary": tables.summary_rows(report),
        "per_word": any(line.mlm_loss_per_word is not None for line in summary),
        "charts": [_chart(report, stage) for stage in report.ner],
        "dash": text.DASH,
        "passport": list(passport),
        **_parts(report),
        **_provenance(report),
    }
    return content | {"contents": _contents(content)}


def _parts(report: RunReport) -> dict[str, Any]:
    vocabulary, growth, training = report.vocabulary, report.growth, report.pretraining
    return {
        "example_groups": _example_groups(report),
        "pieces": vocabulary.pieces[:SHOWN_PIECES] if vocabulary else (),
        "choices": vocabulary_part(vocabulary) if vocabulary else None,
        "training": pretraining_part(training, report.language.code) if training else None,
        "row_methods": method_stack(growth) if growth else None,
        "row_examples": [shown_row(row) for row in growth.examples] if growth else [],
        "starts": compared(report.comparison) if report.comparison else None,
        "probe_steps": report.comparison.probe_steps if report.comparison else 0,
    }


def _contents(content: dict[str, Any]) -> list[tuple[str, str]]:
    """The sections that the page has, by anchor and name."""
    report: RunReport = content["report"]
    tested = [
        (f"ner-{place}", f"NER {text.shown(chart.stage.protocol, limit=20)}")
        for place, chart in enumerate((chart for chart in content["charts"] if chart.languages), start=1)
    ]
    training = content["training"]
    sections = [
        ("verdict", "Verdict", True),
        ("done", "What was done", content["steps"]),
        ("findings", "Findings", content["findings"] or content["notes"]),
        ("summary", "Encoders", content["summary"]),
        *((anchor, name, True) for anchor, name in tested),
        ("vocabulary", "Vocabulary", report.vocabulary),
        ("rows", "New rows", report.growth or content["starts"]),
        ("pretraining", "Training", training),
        ("forgetting", "Old languages", training and training.forgetting),
        ("language", "Language", content["passport"]),
        ("costs", "Costs", content["costs"]),
        ("provenance", "Provenance", True),
    ]
    return [(anchor, name) for anchor, name, there in sections if there]


def _figures(report: RunReport, summary: list[Summary]) -> list[Figure]:
    lines = {line.encoder: line for line in summary}
    if "extended" not in lines:
        return []
    base, extended = lines.get("base"), lines["extended"]
    stage = report.protocol("zero-shot")
    transfer = f"trained on {text.shown(stage.source, limit=20)} alone" if stage and stage.source else ""
    fewer = bool(base and _less(extended.unk_rate, base.unk_rate))
    return [
        Figure(
            "Words with [UNK]",
            text.percent(base.unk_rate if base else None),
            text.percent(extended.unk_rate),
            "of held-out words; lower is better",
            "gain" if fewer else "note",
        ),
        Figure(
            "Pieces a word",
            text.number(base.fertility if base else None, 2),
            text.number(extended.fertility, 2),
            "fertility; an [UNK] word counts as one",
            "gain" if base and _less(extended.fertility, base.fertility) else "note",
        ),
        Figure(
            "Zero-shot NER",
            text.number(base.zero_shot_f1 if base else None),
            text.number(extended.zero_shot_f1),
            ", ".join(filter(None, ("F1", transfer))),
            _change_kind(report, stage),
            extended.zero_shot_ci95,
        ),
        Figure(
            "Supervised NER",
            text.number(base.supervised_f1 if base else None),
            text.number(extended.supervised_f1),
            "F1, trained on its own sentences",
            _change_kind(report, report.protocol("supervised")),
            extended.supervised_ci95,
        ),
    ]


def _less(after: float | None, before: float | None) -> bool:
    return after is not None and before is not None and after < before


def _change_kind(report: RunReport, stage: NerStage | None) -> str:
    target = tables.target_of(report, stage)
    gaps = stage.differences if stage else ()
    return next((gap.kind for gap in gaps if (gap.encoder, gap.language) == ("extended", target)), "note")


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
    changes: TrackChart | None
    target: str
    mistakes: Mistakes | None


def _chart(report: RunReport, stage: NerStage) -> Chart:
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
        change_rows(stage, ordered),
        target := tables.target_of(report, stage),
        mistakes_of(stage, target),
    )


def _example_groups(report: RunReport) -> list[tuple[Example, ...]]:
    """The examples in sight, then those folded away."""
    examples = report.vocabulary.examples if report.vocabulary else ()
    groups = [examples[:SHOWN_EXAMPLES], examples[SHOWN_EXAMPLES:FOLDED_EXAMPLES]]
    return [group for group in groups if group]


def _provenance(report: RunReport) -> dict[str, Any]:
    """The costs, and what made the run, as pairs of name and text."""
    costs, source, pushed = tables.costs(report), report.provenance, report.published
    measured = [cost.seconds for cost in costs if cost.seconds is not None]
    total = sum(measured) if measured else None
    origin = [
        ("base", source.shown_base),
        ("base commit", source.base_revision),
        ("seed", "" if source.seed is None else str(source.seed)),
    ]
    if report.vocabulary and report.vocabulary.corpus_sha256:
        origin.append(("corpus sha256", report.vocabulary.corpus_sha256))
    if pushed:
        origin += [("published as", pushed.repository), ("published commit", pushed.commit)]
        origin += [("published at", pushed.time)] if pushed.time else []
        origin += [("bytes published", text.size(pushed.size))] if pushed.size is not None else []
    return {
        "costs": [(cost, _share(cost.seconds, total)) for cost in costs],
        "total_seconds": total,
        "resumed": bool(report.pretraining and report.pretraining.resumed_from),
        "origin": origin,
        "software": [*source.versions.items(), *source.hardware.items()],
        "settings": sorted(report.settings.items()),
        "fingerprints": list(source.fingerprints.items()) + _data_sums(report),
    }


def _share(seconds: float | None, total: float | None) -> Markup | None:
    if seconds is None or not total:
        return None
    return share_bar(seconds / total, f"{text.percent(seconds / total)} of the time")


def _data_sums(report: RunReport) -> list[tuple[str, str]]:
    """The NER files that were read, once each by name."""
    found: dict[str, str] = {}
    for stage in report.ner:
        found |= {f"ner.{name}": digest for name, digest in stage.fingerprints.items()}
    return list(found.items())
