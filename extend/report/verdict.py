"""The verdict in plain words; every number in it is a file's."""

from collections.abc import Iterator
from dataclasses import dataclass

from extend.report.nouns import Difference, NerStage, RunReport
from extend.report.pretraining_part import in_words, told_change
from extend.report.tables import Summary, summarise, target_of
from extend.report.text import number, percent, shown, span


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kind` is helped, price, mixed, noise, harmed, spelled or open; `reasons` are whole sentences."""

    kind: str
    headline: str
    reasons: tuple[str, ...]


HEADLINES = {
    "helped": "The extension helped {language}, and nothing measured elsewhere got worse.",
    "price": "The extension helped {language}, at a price elsewhere.",
    "mixed": "The extension helped {language} by one measure and harmed it by another.",
    "noise": "No difference beyond noise on {language}.",
    "harmed": "The extension did not help {language}: the base finds more of its entities.",
    "spelled": "{language} can be read now. Whether that helps a task was not measured.",
    "open": "Nothing was measured yet that a verdict could rest on.",
}


def verdict(report: RunReport) -> Verdict:
    """By NER on the run's language: a gain or loss is one whose interval is clear of 0 after correction.

    A price is a loss on another language, or an old language's held-out loss that rose beyond its error.
    Without such NER results it rests on the tokenizer alone, and says so.
    """
    own, elsewhere = _differences(report)
    gains = [gap for _, gap in own if gap.kind == "gain"]
    losses = [gap for _, gap in own if gap.kind == "loss"]
    harmed = [gap for _, gap in elsewhere if gap.kind == "loss"]
    forgotten = [
        code
        for code, change in (report.pretraining.forgetting if report.pretraining else {}).items()
        if change.noise is False and change.change > 0
    ]
    if gains and losses:
        kind = "mixed"
    elif gains:
        kind = "price" if harmed or forgotten else "helped"
    elif losses:
        kind = "harmed"
    elif any(gap.kind in ("noise", "kept") for _, gap in own):
        kind = "noise"
    else:
        kind = "spelled" if _spelled(report) else "open"
    headline = HEADLINES[kind].format(language=shown(report.language.told, limit=60))
    reasons = (
        *_own_reasons(report, own),
        *_scratch_reasons(report),
        *_text_reasons(report),
        *_other_reasons(report, elsewhere),
    )
    return Verdict(kind, headline, reasons)


_Gaps = list[tuple[NerStage, Difference]]


def _differences(report: RunReport) -> tuple[_Gaps, _Gaps]:
    """Those of the extended encoder from the base: on the run's language, and on others."""
    own: _Gaps = []
    elsewhere: _Gaps = []
    for stage in report.ner:
        for gap in stage.differences:
            if gap.encoder == "extended" and gap.against == "base":
                (own if gap.language == target_of(report, stage) else elsewhere).append((stage, gap))
    return own, elsewhere


def _lines(report: RunReport) -> tuple[Summary | None, Summary | None]:
    lines = {line.encoder: line for line in summarise(report)}
    return lines.get("base"), lines.get("extended")


def _spelled(report: RunReport) -> bool:
    base, extended = _lines(report)
    if not base or not extended or base.unk_rate is None or extended.unk_rate is None:
        return False
    return extended.unk_rate < base.unk_rate


def _own_reasons(report: RunReport, own: _Gaps) -> Iterator[str]:
    for stage, gap in own:
        before, after = (stage.score(encoder, gap.language) for encoder in ("base", "extended"))
        how = (
            f", heads trained on {shown(stage.source, limit=20)} alone"
            if stage.protocol == "zero-shot"
            else ""
        )
        if gap.identical:
            yield f"{_protocol(stage)} NER{how}: the very same tags as the base's."
            continue
        sign = "+" if gap.points > 0 else ""
        told = f"{sign}{number(gap.points)} F1 points"
        if before and after and before.f1_mean is not None and after.f1_mean is not None:
            told = f"from {number(before.f1_mean)} to {number(after.f1_mean)} F1 ({sign}{number(gap.points)}"
            told += f", 95 % interval {span(gap.interval)})" if gap.interval else ")"
        seeds = max((len(score.f1) for score in stage.scores), default=0)
        caution = "; one seed, so the spread between seeds is unknown" if seeds == 1 else ""
        noise = ", inside the noise" if gap.kind == "noise" else ""
        yield f"{_protocol(stage)} NER{how}: {told}{noise}{caution}."


def _scratch_reasons(report: RunReport) -> Iterator[str]:
    """What a small encoder of the language's own reaches: extension is worth its while beside it too."""
    line = next((line for line in summarise(report) if line.encoder == "bilingual"), None)
    if line and (line.zero_shot_f1 is not None or line.supervised_f1 is not None):
        reached = (("zero-shot", line.zero_shot_f1), ("supervised", line.supervised_f1))
        told = " and ".join(f"{number(f1)} F1 {name}" for name, f1 in reached if f1 is not None)
        yield f"The bilingual encoder, trained from scratch, reaches {told}."


def _text_reasons(report: RunReport) -> Iterator[str]:
    base, extended = _lines(report)
    if not base or not extended:
        return
    if base.unk_rate is not None and extended.unk_rate is not None:
        yield (
            f"Words that the tokenizer cannot spell: {percent(base.unk_rate)} before, "
            f"{percent(extended.unk_rate)} now."
        )


def _other_reasons(report: RunReport, elsewhere: _Gaps) -> Iterator[str]:
    for stage, gap in elsewhere:
        if gap.kind in ("gain", "loss"):
            sign = "+" if gap.points > 0 else ""
            where = f"{_protocol(stage)} NER on {shown(gap.language, limit=40)}"
            yield f"{where}: {sign}{number(gap.points)} F1 points, 95 % interval {span(gap.interval)}."
    kept = dict.fromkeys(gap.language for _, gap in elsewhere if gap.kind in ("noise", "kept"))
    if kept:
        yield f"No NER difference beyond noise on {', '.join(shown(code, limit=20) for code in kept)}."
    for code, change in (report.pretraining.forgetting if report.pretraining else {}).items():
        if change.noise is False and change.change > 0:
            yield (
                f"Old language {shown(code, limit=40)}: {in_words(change)}, held-out loss "
                f"{told_change(change)} nats."
            )


def _protocol(stage: NerStage) -> str:
    return shown(stage.protocol, limit=40).capitalize()
