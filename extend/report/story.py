"""What was done, in plain words and in order; every number is a file's."""

from collections.abc import Iterator
from dataclasses import dataclass

from extend.report.nouns import RunReport
from extend.report.text import duration, number, shown, whole


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done, the section that shows it, and how long it took."""

    title: str
    text: str
    anchor: str
    time: str


def steps(report: RunReport) -> tuple[Step, ...]:
    """What was done, in the order in which it was done."""
    return tuple(
        step
        for step in (_learned(report), _grown(report), _trained(report), *_tested(report), _published(report))
        if step
    )


def _learned(report: RunReport) -> Step | None:
    stage = report.vocabulary
    if not stage:
        return None
    counts = stage.counts
    added, lines, words, base_size = (
        whole(counts.get(name)) for name in ("added", "corpus.lines", "corpus.words", "base_size")
    )
    told = (
        f"{added} word pieces were learned from {lines} lines ({words} words) "
        f"and put after the base's {base_size}."
    )
    if stage.certificate:
        told += f" Read again after writing, the tokenizer passed {len(stage.certificate)} checks."
    return Step("Pieces learned", told, "vocabulary", _time(counts.get("seconds")))


def _grown(report: RunReport) -> Step | None:
    stage = report.growth
    if not stage:
        return None
    told = f"{whole(stage.added)} embedding rows were added"
    told += f", started by {shown(stage.initializer, limit=40)}" if stage.initializer else ""
    fallen = sum(stage.reasons.values())
    told += f"; {whole(fallen)} of them fell back on another method" if fallen else ""
    if stage.distilled:
        batches, first, last = stage.distilled
        losses = f"mean loss {number(first, 3)} to {number(last, 3)}"
        told += f"; they were distilled over {whole(batches)} batches, {losses}"
    return Step(
        "Rows grown",
        f"{told}. The base's own rows are bit for bit what they were.",
        "rows",
        _time(stage.seconds),
    )


def _trained(report: RunReport) -> Step | None:
    stage = report.pretraining
    if not stage:
        return None
    told = f"{whole(stage.steps)} steps of masked-language training, {whole(stage.tokens)} tokens"
    names = list(dict.fromkeys(step.stage for step in stage.log if step.stage))
    if names == ["new-rows", "all"]:
        told += ": the new rows alone first, then all weights"
    elif names == ["new-rows"]:
        told += ": the new rows alone"
    ended = f" It ended before its last step: {shown(stage.ended, limit=300)}." if stage.ended else ""
    return Step("Training went on", f"{told}.{ended}", "pretraining", _time(stage.seconds))


def _tested(report: RunReport) -> Iterator[Step]:
    for place, stage in enumerate((stage for stage in report.ner if stage.scores), start=1):
        encoders = dict.fromkeys(score.encoder for score in stage.scores)
        languages = dict.fromkeys(score.language for score in stage.scores)
        seeds = max((len(score.f1) for score in stage.scores), default=0)
        told = (
            f"Heads on {len(encoders)} frozen encoder{'s' if len(encoders) != 1 else ''}, "
            f"{seeds} seed{'s' if seeds != 1 else ''} each, tested on "
            f"{', '.join(shown(code, limit=20) for code in languages)}."
        )
        yield Step(f"NER, {shown(stage.protocol, limit=40)}", told, f"ner-{place}", _time(stage.seconds))


def _published(report: RunReport) -> Step | None:
    pushed = report.published
    if not pushed:
        return None
    told = f"{shown(pushed.repository, limit=100)}, commit {shown(pushed.commit[:12])}" + (
        f", {shown(pushed.time, limit=30)}" if pushed.time else ""
    )
    return Step("Published", f"{told}.", "provenance", "")


def _time(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)
