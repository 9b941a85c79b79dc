"""`pretrain/` of a run folder to one noun: what was logged, measured and noted while a model was trained."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from extend.errors import CheckpointError
from extend.report.nouns import Forgetting, HeldOutLoss, LoggedStep, PretrainStage, TrainingEvent
from extend.report.reading import Node, read_node, read_nodes, told

_FACTS = ("precision", "processes", "micro_batch", "reproducible")


def pretraining_stage(directory: Path) -> PretrainStage | None:
    """What the files of `directory` say, None without any. A step logged twice counts as logged last."""
    report = read_node(directory / "report.json")
    steps = {step.step: step for step in map(_logged, read_nodes(directory / "metrics.jsonl"))}
    log = tuple(steps[number] for number in sorted(steps))
    evaluations = dict(_evaluations(directory / "held_out.jsonl"))
    if not report and not log:
        return None
    last = log[-1] if log else None
    return PretrainStage(
        steps=report.whole("steps") if report or not last else last.step,
        tokens=report.number("tokens") if report or not last else last.tokens,
        tokens_per_second=report.number("tokens_per_second"),
        seconds=report.number("seconds") if report or not last else last.seconds,
        resumed_from=report.whole("resumed_from"),
        held_out=_losses(report.node("held_out")),
        base_held_out=_losses(report.node("base_held_out")),
        log=log,
        evaluations=tuple(sorted(evaluations.items(), key=lambda pair: pair[0])),
        forgetting=dict(_forgetting(report.node("forgetting"))),
        events=tuple(map(_event, read_nodes(directory / "events.jsonl"))),
        ended=report.text("ended"),
        left_out=report.whole("left_out"),
        facts=dict(_facts(report)),
        warnings=told(report.node("warnings")),
    )


def _evaluations(path: Path) -> Iterator[tuple[int, Mapping[str, HeldOutLoss]]]:
    for node in read_nodes(path):
        if (step := node.whole("step")) is not None:
            yield step, _losses(node.node("held_out"))


def _losses(node: Node) -> dict[str, HeldOutLoss]:
    return {
        language: HeldOutLoss(loss, measured.number("standard_error"), measured.number("perplexity"))
        for language, measured in node.items()
        if (loss := measured.number("mlm_loss")) is not None
    }


def _forgetting(node: Node) -> Iterator[tuple[str, Forgetting]]:
    for language, measured in node.items():
        before, now, change = (measured.number(name) for name in ("before", "now", "change"))
        if before is not None and now is not None and change is not None:
            yield language, Forgetting(before, now, change, measured.number("standard_error"))


def _event(node: Node) -> TrainingEvent:
    at = node.whole("at")
    return TrainingEvent(
        step=(node.whole("step") or 0) if at is None else at,
        kind=node.text("event"),
        why=node.text("why"),
        action=node.text("action"),
        loss=node.number("loss"),
        mean=node.number("mean"),
        deviation=node.number("deviation"),
        samples=tuple(map(round, node.numbers("samples"))),
    )


def _facts(report: Node) -> Iterator[tuple[str, str]]:
    devices = dict.fromkeys(report.texts("devices"))
    if devices:
        yield "devices", ", ".join(devices)
    for name in _FACTS:
        value = report.node(name).value
        if value is not None:
            yield name.replace("_", " "), str(value).lower() if isinstance(value, bool) else str(value)


def _logged(node: Node) -> LoggedStep:
    step = node.whole("step")
    if step is None:
        raise CheckpointError(f"{node.place}: a logged step has no number", name="E-RUN-FILE")
    return LoggedStep(
        step=step,
        stage=node.text("stage"),
        mlm_loss=node.number("mlm_loss"),
        nsp_loss=node.number("nsp_loss"),
        learning_rate=node.number("learning_rate"),
        tokens=node.number("tokens"),
        tokens_per_second=node.number("tokens_per_second"),
        seconds=node.number("seconds"),
    )
