"""The run's numbers side by side: the summary of the encoders, the findings in words, the costs."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from extend.report.nouns import Difference, EncoderText, NerScore, NerStage, RunReport, TextRates
from extend.report.pretraining_part import in_words, told_change
from extend.report.text import DASH, number, percent, shown, span

Interval = tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Summary:
    """One encoder in one line: rates as fractions, losses in nats, F1 in percent; None: not measured."""

    encoder: str
    unk_rate: float | None
    fertility: float | None
    mlm_loss: float | None
    mlm_loss_per_word: float | None
    zero_shot_f1: float | None
    zero_shot_ci95: Interval
    supervised_f1: float | None
    supervised_ci95: Interval
    source_f1: float | None
    source_ci95: Interval

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence that the files prove. `kind` is gain, kept, loss, noise or note."""

    kind: str
    text: str


def target_of(report: RunReport, stage: NerStage | None) -> str:
    """The language a stage is summed up by: the run's own, else the first that is not the source."""
    languages = [score.language for score in stage.scores] if stage else []
    others = [language for language in languages if stage and language != stage.source]
    return report.language.code if report.language.code in languages else (others or languages or [""])[0]


def summarise(report: RunReport) -> list[Summary]:
    """One line an encoder, base first, from whichever file measured each number."""
    return [_summary(report, encoder) for encoder in report.encoders]


def _summary(report: RunReport, encoder: str) -> Summary:
    zero_shot, supervised = report.protocol("zero-shot"), report.protocol("supervised")
    told = report.encoder_texts.get(encoder, EncoderText())
    counted = report.vocabulary.held_out.get(encoder, TextRates()) if report.vocabulary else TextRates()
    transfer = zero_shot and zero_shot.score(encoder, target_of(report, zero_shot))
    trained = supervised and supervised.score(encoder, target_of(report, supervised))
    source = zero_shot and zero_shot.score(encoder, zero_shot.source)
    return Summary(
        encoder=encoder,
        unk_rate=counted.unk_rate if told.rates.unk_rate is None else told.rates.unk_rate,
        fertility=counted.fertility if told.rates.fertility is None else told.rates.fertility,
        mlm_loss=_held_out_loss(report, encoder) if told.mlm_loss is None else told.mlm_loss,
        mlm_loss_per_word=told.mlm_loss_per_word,
        zero_shot_f1=transfer.f1_mean if transfer else None,
        zero_shot_ci95=transfer.interval if transfer else None,
        supervised_f1=trained.f1_mean if trained else None,
        supervised_ci95=trained.interval if trained else None,
        source_f1=source.f1_mean if source else None,
        source_ci95=source.interval if source else None,
    )


def _held_out_loss(report: RunReport, encoder: str) -> float | None:
    if not report.pretraining:
        return None
    tables = {"base": report.pretraining.base_held_out, "extended": report.pretraining.held_out}
    measured = tables.get(encoder, {}).get(report.language.code)
    return measured.loss if measured else None


def summary_rows(report: RunReport) -> list[dict[str, str]]:
    """The terminal's table: one mapping an encoder from column title to text, titles alike in all rows."""
    stage = report.protocol("zero-shot")
    source = f"source F1 ({shown(stage.source, limit=20)})" if stage and stage.source else "source F1"
    per_word = any(line.mlm_loss_per_word is not None for line in summarise(report))
    rows = []
    for line in summarise(report):
        row = {
            "encoder": shown(line.encoder, limit=40),
            "UNK words": percent(line.unk_rate),
            "fertility": number(line.fertility, 2),
            "MLM loss": number(line.mlm_loss, 2),
        }
        if per_word:
            row["MLM loss a word"] = number(line.mlm_loss_per_word, 2)
        row["zero-shot F1"] = with_interval(line.zero_shot_f1, line.zero_shot_ci95)
        row["supervised F1"] = with_interval(line.supervised_f1, line.supervised_ci95)
        row[source] = with_interval(line.source_f1, line.source_ci95)
        rows.append(row)
    return rows


def with_interval(value: float | None, bounds: Interval) -> str:
    """`43.0 [41.2, 44.9]`; the interval only where there is one."""
    return number(value) + (f" {span(bounds)}" if value is not None and bounds else "")


def findings(report: RunReport) -> list[Finding]:
    """What the files prove, each with its interval; a difference inside the noise is called so."""
    return [*_text_findings(report), *_ner_findings(report), *_forgetting(report), *_cautions(report)]


def _forgetting(report: RunReport) -> Iterator[Finding]:
    changes = report.pretraining.forgetting if report.pretraining else {}
    for language, change in changes.items():
        kind = "kept" if change.change == 0 else "noise" if change.noise else "note"
        if change.noise is False and change.change:
            kind = "loss" if change.change > 0 else "gain"
        told = f"{told_change(change)} nats of held-out loss, {in_words(change)}"
        yield Finding(kind, f"Old language {shown(language, limit=40)}: {told}.")


def _text_findings(report: RunReport) -> Iterator[Finding]:
    lines = {line.encoder: line for line in summarise(report)}
    base, extended = lines.get("base"), lines.get("extended")
    if not base or not extended:
        return
    if base.unk_rate is not None and extended.unk_rate is not None:
        kind = "gain" if extended.unk_rate < base.unk_rate else "note"
        yield Finding(
            kind,
            f"Words the tokenizer cannot spell: {percent(base.unk_rate)} with the base, "
            f"{percent(extended.unk_rate)} extended.",
        )
    if base.fertility is not None and extended.fertility is not None:
        # the base writes one [UNK] for a word it cannot spell, so its fertility alone may look better
        fewer = extended.fertility < base.fertility
        yield Finding(
            "gain" if fewer else "note",
            f"Pieces a word: {number(base.fertility, 2)} with the base, "
            f"{number(extended.fertility, 2)} extended"
            + ("." if fewer else "; a word the base cannot spell counts as one piece."),
        )


def _ner_findings(report: RunReport) -> Iterator[Finding]:
    for stage in report.ner:
        told = [difference for difference in stage.differences if difference.encoder == "extended"]
        for difference in sorted(told, key=lambda difference: difference.language == stage.source):
            yield _told(stage, difference)


def _told(stage: NerStage, difference: Difference) -> Finding:
    language = shown(difference.language, limit=40)
    kept = difference.language == stage.source
    subject = f"Source language {language}" if kept else f"{stage.protocol.capitalize()} NER on {language}"
    sign = "+" if difference.points > 0 else ""
    points = f"{sign}{number(difference.points)} F1 points over {shown(difference.against, limit=40)}"
    if difference.identical:
        return Finding("kept", f"{subject}: the very same tags as {shown(difference.against, limit=40)}.")
    if difference.interval is None:
        return Finding("note", f"{subject}: {points}; no interval was computed.")
    told = f"{subject}: {points}, 95 % interval {span(difference.interval)}{_chance(difference.p)}"
    if difference.noise:
        return Finding("noise", f"{told}: inside the noise.")
    return Finding(difference.kind, f"{told}.")


def _chance(p: float | None) -> str:
    if p is None:
        return ""
    return ", p < 0.001" if p < 0.001 else f", p = {p:.3f}"


def _cautions(report: RunReport) -> Iterator[Finding]:
    for stage in report.ner:
        protocol = stage.protocol.capitalize()
        yield from (Finding("note", f"{protocol}: {shown(told, limit=200)}.") for told in stage.warnings)
        if collapsed := [score for score in stage.scores if score.collapsed]:
            told = "; ".join(f"{_name(score)}, {score.collapsed} of {len(score.f1)}" for score in collapsed)
            yield Finding("loss", f"{protocol}, collapsed seeds: {told}.")
        if single := [score for score in stage.scores if len(score.f1) == 1]:
            told = "all encoders" if len(single) == len(stage.scores) else "; ".join(map(_name, single))
            yield Finding("note", f"{protocol}, one seed only, spread unknown: {told}.")
    for stage_name, texts in _told_by_stages(report):
        yield from (Finding("note", f"{stage_name}: {shown(told, limit=300)}.") for told in texts)
    if report.pretraining and report.pretraining.left_out:
        yield Finding("note", f"Training left out {_many(report.pretraining.left_out, 'step')}.")
    counts = report.vocabulary.counts if report.vocabulary else {}
    if counts.get("drift.words_newly_unk"):
        yield Finding(
            "loss",
            f"Words of the base's languages that became unknown: {percent(counts['drift.words_newly_unk'])}.",
        )
    if counts.get("unused"):
        yield Finding(
            "note", f"{number(counts['unused'], 0)} added pieces never occur in the corpus as tokenized."
        )


def _told_by_stages(report: RunReport) -> Iterator[tuple[str, tuple[str, ...]]]:
    stages = (("Vocabulary", report.vocabulary), ("Growth", report.growth), ("Training", report.pretraining))
    for name, stage in stages:
        if stage:
            yield name, tuple(told.rstrip("., ") for told in stage.warnings)


def _name(score: NerScore) -> str:
    return f"{shown(score.encoder, limit=40)} on {shown(score.language, limit=40)}"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one stage took: seconds of wall time, and what it worked through in that time."""

    stage: str
    seconds: float | None
    work: str


def costs(report: RunReport) -> list[Cost]:
    """The stages that ran, in order."""
    found = []
    if report.vocabulary:
        lines = report.vocabulary.counts.get("corpus.lines")
        words = report.vocabulary.counts.get("corpus.words")
        found.append(
            Cost(
                "vocabulary",
                report.vocabulary.counts.get("seconds"),
                f"{_many(lines, 'line')}, {_many(words, 'word')}",
            )
        )
    if report.growth:
        found.append(Cost("growth", report.growth.seconds, _many(report.growth.added, "row")))
    if report.pretraining:
        speed = report.pretraining.tokens_per_second
        work = f"{_many(report.pretraining.steps, 'step')}, {_many(report.pretraining.tokens, 'token')}"
        found.append(
            Cost(
                "pretraining",
                report.pretraining.seconds,
                work + (f", {number(speed, 0)} tokens/s" if speed is not None else ""),
            )
        )
    for stage in report.ner:
        heads = {(score.encoder, len(score.f1)) for score in stage.scores}
        found.append(
            Cost(f"NER {stage.protocol}", stage.seconds, f"{len(heads)} encoders, {_seeds(stage)} each")
        )
    return found


def _many(count: float | None, noun: str) -> str:
    return f"{number(count, 0)} {noun}{'' if count == 1 else 's'}" if count is not None else f"{DASH} {noun}s"


def _seeds(stage: NerStage) -> str:
    seeds = max((len(score.f1) for score in stage.scores), default=0)
    return f"{seeds} seed{'' if seeds == 1 else 's'}"
