"""The model card, `README.md`: YAML metadata for a hub, then what was done and measured, from files only.

The text is `card.md`, a template in which everything from a file is escaped for Markdown unless it is Ready.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2

from extend.report import tables, text
from extend.report.card_evidence import Evidence, gather_evidence, transfers
from extend.report.card_metadata import UNKNOWN, license_of, metadata, title
from extend.report.nouns import NerStage, RunReport
from extend.report.pretraining_part import pretraining_part
from extend.report.text import DASH, markdown, number, percent, span, whole

CARD_EXAMPLES = 10
CARD_FINDINGS = 16
WEAK_F1 = 30.0
SHOWN_DIGITS = 16
_STAGE_SETTINGS = ("vocab.", "grow.", "pretrain.", "ner.")
_HERE = Path(__file__).parent


class Ready(str):
    """Markdown already: not escaped again."""


def render_card(report: RunReport, *, license: str = "") -> str:
    """The card of the checkpoint that `report` tells of, with what else the run's files prove.

    Args:
        license: the checkpoint's licence as hubs spell it (`apache-2.0`); default: what the run states, else
            the base's where it is known, else `unknown`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=False,  # Markdown, not HTML: `finalize` escapes
        finalize=_escape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        whole=whole,
        number=number,
        percent=percent,
        duration=text.duration,
        long=lambda told: Ready(markdown(told, limit=400)),
    )
    evidence = gather_evidence(report.directory)
    license = license_of(report, evidence, license)
    body = environment.get_template("card.md").render(
        **_content(report, evidence), license=license, license_known=license != UNKNOWN
    )
    return metadata(report, evidence, license) + re.sub("\n{3,}", "\n\n", body)


def _escape(value: object) -> str:
    return value if isinstance(value, Ready) else markdown(str(value), limit=120)


def _content(report: RunReport, evidence: Evidence) -> dict[str, Any]:
    language, vocabulary = report.language, report.vocabulary
    others = [name for name in (language.autonym, language.code) if name and name != language.name]
    counts = vocabulary.counts if vocabulary else {}
    findings = list(dict.fromkeys(tables.findings(report)))  # one for each seed and selection, alike
    return {
        "report": report,
        "title": title(report),
        "language": f"{language.name} ({', '.join(others)})" if language.name and others else language.code,
        "base": report.provenance.shown_base,
        "on_hub": bool(report.provenance.hub_base),
        "added": counts.get("added"),
        "counts": counts,
        "drift": counts.get("drift.words_changed"),
        "trained": bool(report.growth or report.pretraining),
        "summary": _summary(report),
        "findings": [one for one in findings if one.kind != "loss"][:CARD_FINDINGS],
        "losses": [one for one in findings if one.kind == "loss"],
        "stages": [_stage(stage, evidence) for stage in report.ner if stage.scores],
        "sources": _sources(evidence),
        "certificate": evidence.certificate,
        "training": _training(report),
        "examples": _examples(report),
        "facts": [(name, told) for name, told in _facts(report) if told],
        "costs": tables.costs(report),
        "settings": list(_open_settings(report)),
        "weak": list(_weak(report)),
        "dash": DASH,
    }


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> Ready:
    """A Markdown table whose first `words` columns are text and the others numbers; cells are escaped."""
    rule = ["---" if index < words else "---:" for index in range(len(header))]
    escaped = [[_escape(cell) for cell in row] for row in (header, *rows)]
    return Ready("\n".join(f"| {' | '.join(row)} |" for row in (escaped[0], rule, *escaped[1:])))


def _summary(report: RunReport) -> Ready | None:
    rows = tables.summary_rows(report)
    return _table(list(rows[0]), [list(row.values()) for row in rows]) if rows else None


def _training(report: RunReport) -> dict[str, Any] | None:
    """Tables of held-out losses and of what was forgotten, and why training ended."""
    if report.pretraining is None:
        return None
    part = pretraining_part(report.pretraining, report.language.code)
    return {
        "losses": _table(part.losses_titles, part.losses) if part.losses else None,
        "forgetting": _table(part.forgetting_titles, part.forgetting) if part.forgetting else None,
        "ended": part.ended,
    }


def _sources(evidence: Evidence) -> Ready | None:
    rows = [
        [one.use, one.source, one.license or "not stated", one.sha256[:SHOWN_DIGITS] or DASH]
        for one in evidence.sources
    ]
    return _table(["data", "source", "licence", "sha256 begins"], rows, words=4) if rows else None


def _stage(stage: NerStage, evidence: Evidence) -> dict[str, Any]:
    return {
        "protocol": stage.protocol,
        "source": stage.source if transfers(stage) else "",
        "seeds": ", ".join(map(str, evidence.seeds.get(stage.name, ()))),
        "table": _matrix(stage),
        "types": _types(stage),
    }


def _matrix(stage: NerStage) -> Ready:
    rows = [
        [
            score.encoder,
            score.language + (" (source)" if score.language == stage.source else ""),
            number(score.f1_mean),
            number(score.f1_std),
            span(score.interval) or DASH,
            number(score.strict_f1_mean),
            ", ".join(number(seed) for seed in score.f1) or DASH,
            percent(score.rates.unk_rate),
            number(score.rates.fertility, 2),
        ]
        for score in stage.scores
    ]
    header = [
        "encoder",
        "tested on",
        "F1",
        "± over seeds",
        "95 %",
        "strict F1",
        "each seed",
        "UNK words",
        "fertility",
    ]
    return _table(header, rows, words=2)


def _types(stage: NerStage) -> Ready | None:
    rows = [
        [
            kind.label,
            score.language,
            number(kind.precision),
            number(kind.recall),
            number(kind.f1),
            whole(kind.support),
        ]
        for score in stage.scores
        if score.encoder == "extended"
        for kind in score.types
    ]
    return (
        _table(["type", "tested on", "precision", "recall", "F1", "entities"], rows, words=2)
        if rows
        else None
    )


def _examples(report: RunReport) -> Ready | None:
    if not report.vocabulary or not report.vocabulary.examples:
        return None
    rows = [
        [example.word, _pieces(example.before), _pieces(example.after), whole(example.count)]
        for example in report.vocabulary.examples[:CARD_EXAMPLES]
    ]
    return _table(["word", "base", "extended", "held-out times"], rows, words=3)


def _pieces(pieces: Sequence[str]) -> Ready:
    return Ready(" · ".join(map(_escape, pieces)) or DASH)


def _facts(report: RunReport) -> Iterator[tuple[str, str]]:
    provenance = report.provenance
    yield "base", provenance.shown_base
    yield "base commit", provenance.base_revision
    yield "seed", "" if provenance.seed is None else str(provenance.seed)
    yield "initialiser of new rows", report.growth.initializer if report.growth else ""
    yield "sha256 of the corpus", report.vocabulary.corpus_sha256 if report.vocabulary else ""
    sets = {name: told for stage in report.ner for name, told in stage.fingerprints.items()}
    for name, told in sets.items():
        yield f"sha256 of NER {name}", told
    yield "versions", ", ".join(f"{name} {version}" for name, version in provenance.versions.items())
    yield "machine", ", ".join(f"{name} {value}" for name, value in provenance.hardware.items())


def _open_settings(report: RunReport) -> Iterator[tuple[str, str]]:
    """The stages' settings but for paths: the folders of the machine they lie on are nobody's business."""
    for name, value in sorted(report.settings.items()):
        if value and name.startswith(_STAGE_SETTINGS) and "/" not in value and "\\" not in value:
            yield name, value


def _weak(report: RunReport) -> Iterator[tuple[str, float]]:
    stage = report.protocol("zero-shot")
    for score in stage.scores if stage else ():
        low = score.f1_mean is not None and score.f1_mean < WEAK_F1
        if low and score.encoder == "extended" and stage and score.language != stage.source:
            yield score.language, score.f1_mean or 0.0
