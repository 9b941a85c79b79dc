"""The page's and the card's part on training: curves, held-out losses, what was forgotten, what happened."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from extend.report import plots
from extend.report.curves import MarkedCurve, marked_curve
from extend.report.nouns import Forgetting, HeldOutLoss, LoggedStep, PretrainStage, TrainingEvent
from extend.report.text import DASH, number, shown, whole
from extend.report.tracks import Change, TrackChart, change_chart

MOST_CURVES = 8
MOST_EVENTS = 20
LEAST_SPAN = 0.2
"""Nats that a curve of held-out losses spans at least."""
_ACTIONS = {
    "warn": "training went on",
    "skip": "the step was left out",
    "rewind": "the run went back to its last checkpoint and left these samples out",
    "stop": "the run was stopped",
}


@dataclass(frozen=True, slots=True)
class PretrainingPart:
    """What is shown of the training; empty where a run measured nothing.

    `losses` and `forgetting` are rows of text, one a language, with the titles in `*_titles`.
    """

    curve: plots.Curve | None
    held_out_curves: tuple[MarkedCurve, ...]
    losses: tuple[tuple[str, ...], ...]
    forgetting: tuple[tuple[str, ...], ...]
    events: tuple[str, ...]
    more_events: int
    ended: str
    how: str
    forgotten: TrackChart | None = None
    pace: tuple[MarkedCurve, ...] = ()

    losses_titles = ("language", "before", "after", "±", "perplexity before", "perplexity after")
    forgetting_titles = ("old language", "the base's own", "before", "now", "change", "in words")


def pretraining_part(stage: PretrainStage, language: str) -> PretrainingPart:
    """Text, tables and curves of `stage`, the run's own `language` first."""
    return PretrainingPart(
        curve=plots.loss_curve(
            stage.log,
            [(step, losses[language].loss) for step, losses in stage.evaluations if language in losses],
        ),
        held_out_curves=tuple(_held_out_curves(stage, language)),
        losses=tuple(_loss_rows(stage, language)),
        forgetting=tuple(
            _forgetting_row(code, change, stage.base_held_out) for code, change in stage.forgetting.items()
        ),
        events=tuple(map(told_event, stage.events[:MOST_EVENTS])),
        more_events=max(0, len(stage.events) - MOST_EVENTS),
        ended=shown(stage.ended, limit=300),
        how=_how(stage.facts),
        forgotten=change_chart(
            [_changed(code, change) for code, change in stage.forgetting.items()], unit="nats", digits=2
        ),
        pace=tuple(_pace(stage.log)),
    )


def _changed(code: str, change: Forgetting) -> Change:
    error = change.standard_error
    reach = None if error is None else (change.change - 1.96 * error, change.change + 1.96 * error)
    kind = "note" if change.noise is None else "noise"
    if change.noise is False:
        kind = "loss" if change.change > 0 else "gain"
    word = {"loss": "forgotten", "gain": "better"}.get(kind, kind)
    told, _, told_error = told_change(change).partition(" ")
    return Change(shown(code, limit=40), change.change, reach, kind, told, told_error, word)


def _pace(log: Sequence[LoggedStep]) -> Iterator[MarkedCurve]:
    """The learning rate and the speed by step, as logged."""
    rates = [(float(step.step), step.learning_rate) for step in log]
    speeds = [(float(step.step), step.tokens_per_second) for step in log]
    for title, measured, label in (("Learning rate", rates, _rate), ("Tokens a second", speeds, number)):
        points = [(step, value) for step, value in measured if value is not None]
        kept = [points[index] for index in plots.thinned(len(points))]
        curve = marked_curve(
            kept,
            title=title,
            chosen=None,
            across=number,
            up=label,
        )
        if curve:
            yield curve


def _rate(value: float, digits: int) -> str:
    """`2e-05` and `0.001`, as settings write them."""
    return f"{value:.{1 if digits else 0}g}".replace("-", "−") if value else "0"


def _how(facts: Mapping[str, str]) -> str:
    """`On cpu, 1 process, bf16, 32 samples a forward pass, reproducible to the bit.`"""
    wording = {
        "devices": "on {}",
        "processes": "1 process" if facts.get("processes") == "1" else "{} processes",
        "precision": "{}",
        "micro batch": "{} samples a forward pass",
        "reproducible": "reproducible to the bit"
        if facts.get("reproducible") == "true"
        else "not reproducible to the bit",
    }
    told = [form.format(shown(facts[name], limit=60)) for name, form in wording.items() if name in facts]
    return f"Trained {', '.join(told)}." if told else ""


def _languages(stage: PretrainStage, language: str) -> list[str]:
    found = dict.fromkeys([*stage.held_out, *stage.base_held_out])
    return sorted(found, key=lambda code: code != language)


def _held_out_curves(stage: PretrainStage, language: str) -> Iterator[MarkedCurve]:
    for code in _languages(stage, language)[:MOST_CURVES]:
        points = [(float(step), losses[code].loss) for step, losses in stage.evaluations if code in losses]
        curve = marked_curve(
            points,
            title="Held-out loss by step",
            chosen=None,
            across=number,
            up=number,
            least_span=LEAST_SPAN,
        )
        if curve:
            yield replace(curve, title=shown(code, limit=40))


def _loss_rows(stage: PretrainStage, language: str) -> Iterator[tuple[str, ...]]:
    first = stage.evaluations[0] if stage.evaluations else None
    start = first[1] if first and first[0] == 0 else {}
    for code in _languages(stage, language):
        before, after = start.get(code), stage.held_out.get(code)
        yield (
            shown(code, limit=40),
            _loss(before),
            _loss(after),
            number(after.standard_error, 3) if after else DASH,
            _perplexity(before),
            _perplexity(after),
        )


def _loss(measured: HeldOutLoss | None) -> str:
    return number(measured.loss, 3) if measured else DASH


def _perplexity(measured: HeldOutLoss | None) -> str:
    perplexity = measured.perplexity if measured else None
    return number(perplexity, 1 if perplexity is not None and perplexity < 100 else 0)


def _forgetting_row(code: str, change: Forgetting, base: Mapping[str, HeldOutLoss]) -> tuple[str, ...]:
    return (
        shown(code, limit=40),
        _loss(base.get(code)),
        number(change.before, 3),
        number(change.now, 3),
        told_change(change),
        in_words(change),
    )


def told_change(change: Forgetting) -> str:
    """`+0.031 ± 0.004`, in nats."""
    sign = "+" if change.change > 0 else ""
    error = "" if change.standard_error is None else f" ± {number(change.standard_error, 3)}"
    return f"{sign}{number(change.change, 3)}{error}"


def in_words(change: Forgetting) -> str:
    """What a change of the loss means: the same, noise, better or forgotten."""
    if change.change == 0:
        return "the very same"
    if change.noise:
        return "no change beyond noise"
    told = "better than before" if change.change < 0 else "partly forgotten"
    return told if change.noise is False else f"{told}, as far as one block tells"


def told_event(event: TrainingEvent) -> str:
    """One line on what happened at a step."""
    where = f"Step {whole(event.step)}"
    samples = ""
    if len(event.samples) == 2:
        samples = f" (samples {whole(event.samples[0])} to {whole(event.samples[1])})"
    if event.kind == "spike":
        action = _ACTIONS.get(event.action, shown(event.action))
        return (
            f"{where}: the loss jumped to {number(event.loss, 2)}, where the steps before had "
            f"{number(event.mean, 2)} ± {number(event.deviation, 2)}{samples}; {action}."
        )
    if event.kind == "left-out":
        return f"{where} was left out{samples}: {shown(event.why, limit=120)}."
    if event.kind == "stopped":
        return f"{where}: stopped, for {shown(event.why, limit=300)}."
    return f"{where}: {shown(event.kind)} {shown(event.why, limit=120)}".rstrip() + "."
