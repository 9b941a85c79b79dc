"""A run folder's files to one frozen `RunReport`. Reads; computes nothing that no file holds."""

import collections
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from extend.errors import CheckpointError, PathError, escaped
from extend.report.nouns import (
    Difference,
    EncoderText,
    Example,
    GrowthStage,
    Language,
    LoggedStep,
    NerScore,
    NerStage,
    NewRow,
    PretrainStage,
    Provenance,
    RunReport,
    TextRates,
    TypeScore,
    VocabularyStage,
)
from extend.report.reading import Node, read_lines, read_node, read_nodes

ROW_EXAMPLES = 24


def gather_run(run: Path) -> RunReport:
    """Read what the stages of `run` left. A stage that has not run is None; a missing number is None.

    Raises PathError when `run` is no folder or holds no run, CheckpointError (`file: key`) when a file
    does not say what its stage writes.
    """
    if not run.is_dir():
        raise PathError(
            f"{escaped(str(run), limit=160)} is not a run folder",
            name="E-RUN-MISSING",
            next="name the folder with --run, or make one with: extend vocab",
        )
    settings = _settings(run / "run.toml")
    manifest = read_node(run / "manifest.json")
    report = RunReport(
        directory=run,
        language=_language(run, manifest, settings),
        provenance=_provenance(manifest, settings),
        settings={name: leaf_text(leaf) for name, leaf in settings.leaves() if leaf.value is not None},
        vocabulary=_vocabulary(run / "vocab"),
        growth=_growth(run / "grown"),
        pretraining=_pretraining(run / "pretrain"),
        ner=tuple(_ner_stages(run / "ner")),
        encoder_texts={name: _encoder_text(node) for name, node in read_node(run / "encoders.json").items()},
    )
    stages = (settings, manifest, report.vocabulary, report.growth, report.pretraining, report.ner)
    if not any((*stages, report.encoder_texts)):
        raise PathError(
            f"{escaped(str(run), limit=160)} holds no file of a run",
            name="E-RUN-EMPTY",
            next="run a stage first: extend vocab, extend pretrain or extend ner-eval",
        )
    return report


def leaf_text(leaf: Node) -> str:
    """A setting as TOML would write it, text without its quotes."""
    if isinstance(leaf.value, bool):
        return str(leaf.value).lower()
    return leaf.as_text() if isinstance(leaf.value, str) else str(leaf.value)


def _settings(path: Path) -> Node:
    text = "\n".join(read_lines(path))
    try:
        return Node(tomllib.loads(text), str(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        why = escaped(str(error), limit=120)
        raise CheckpointError(f"{path} is not valid TOML", name="E-RUN-FILE", why=why) from error


def _language(run: Path, manifest: Node, settings: Node) -> Language:
    node = manifest.node("language")
    if isinstance(node.value, dict):
        return Language(node.text("code") or run.name, node.text("name"), node.text("autonym"))
    return Language(node.as_text() or settings.text("lang") or run.name)


def _first_text(node: Node, *keys: str) -> str:
    return next((found for key in keys if (found := node.text(key))), "")


def _provenance(manifest: Node, settings: Node) -> Provenance:
    base = manifest.node("base")
    if isinstance(base.value, dict):
        name, revision = _first_text(base, "name"), _first_text(base, "revision", "commit")
    else:
        name, revision = base.as_text(), _first_text(manifest, "base_revision", "revision", "base_commit")
    outputs = [key for key in ("corpus", "stages", "outputs", "data") if manifest.node(key)]
    fingerprints = {f"{key}.{name}": text for key in outputs for name, text in _sums(manifest.node(key))}
    corpus = manifest.text("corpus_sha256")
    return Provenance(
        base=name or manifest.text("base_model") or settings.text("base"),
        base_revision=revision,
        seed=manifest.whole("seed") if manifest.node("seed") else settings.whole("seed"),
        versions=manifest.node("versions").text_leaves() if manifest.node("versions") else {},
        hardware={name: leaf_text(leaf) for name, leaf in manifest.node("hardware").leaves() if name},
        fingerprints={**({"corpus": corpus} if corpus else {}), **fingerprints},
    )


def _sums(node: Node) -> Iterable[tuple[str, str]]:
    for name, text in node.text_leaves().items():
        if len(text) == 64 and set(text) <= set("0123456789abcdef"):
            yield name.removesuffix(".sha256"), text


def _rates(node: Node) -> TextRates:
    return TextRates(node.number("fertility"), node.number("unk_rate"))


def _encoder_text(node: Node) -> EncoderText:
    return EncoderText(_rates(node), node.number("mlm_loss"), node.number("mlm_loss_per_word"))


def _vocabulary(directory: Path) -> VocabularyStage | None:
    report = read_node(directory / "report.json")
    if not report:
        return None
    return VocabularyStage(
        counts=report.numeric_leaves(),
        corpus_sha256=report.node("corpus").text("sha256"),
        held_out={name: _rates(node) for name, node in report.node("held_out").items()},
        pieces=tuple(read_lines(directory / "added.txt")),
        examples=tuple(
            Example(node.text("word"), node.whole("count"), node.texts("before"), node.texts("after"))
            for node in read_node(directory / "examples.json").elements()
        ),
    )


def _growth(directory: Path) -> GrowthStage | None:
    report = read_node(directory / "report.json")
    rows = [_row(node) for node in read_nodes(directory / "rows.jsonl")]
    if not report and not rows:
        return None
    methods = collections.Counter(row.method for row in rows)
    told = {name: round(count) for name, count in report.node("by_method").numeric_leaves().items() if name}
    fallbacks = collections.Counter(row.fallback for row in rows if row.fallback)
    added = report.whole("added")
    return GrowthStage(
        initializer=report.text("initializer"),
        added=added if added is not None or not rows else len(rows),
        methods=dict(methods.most_common()) or told,
        fallbacks=dict(fallbacks.most_common()),
        examples=tuple(_spread(rows, ROW_EXAMPLES)),
        seconds=report.number("seconds"),
    )


def _row(node: Node) -> NewRow:
    sources = []
    for pair in node.node("sources").elements():
        piece, *weight = pair.elements()
        number = weight[0].as_number() if weight else None
        sources.append((piece.as_text(), 1.0 if number is None else number))
    return NewRow(node.text("piece"), node.text("method"), tuple(sources), node.text("fallback"))


def _spread(rows: Sequence[NewRow], count: int) -> list[NewRow]:
    """At most `count` rows spread evenly over all, and the first of each method and fallback."""
    if len(rows) <= count:
        return list(rows)
    firsts: dict[tuple[str, str], int] = {}
    for index, row in enumerate(rows):
        firsts.setdefault((row.method, row.fallback), index)
    chosen = set(list(firsts.values())[: count // 2])
    chosen |= {round(index * (len(rows) - 1) / (count - 1)) for index in range(count - len(chosen))}
    return [rows[index] for index in sorted(chosen)]


def _pretraining(directory: Path) -> PretrainStage | None:
    report = read_node(directory / "report.json")
    steps = {step.step: step for step in map(_logged, read_nodes(directory / "metrics.jsonl"))}
    log = tuple(steps[number] for number in sorted(steps))
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
    )


def _losses(node: Node) -> dict[str, float]:
    pairs = ((language, measured.number("mlm_loss")) for language, measured in node.items())
    return {language: loss for language, loss in pairs if loss is not None}


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


def _ner_stages(directory: Path) -> Iterable[NerStage]:
    found = {path.parent.name: path for path in directory.glob("*/results.json")}
    order = ("zero-shot", "supervised")
    for name in sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name)):
        results = read_node(found[name])
        data = results.node("data")
        yield NerStage(
            name=name,
            protocol=results.text("protocol") or name,
            source=results.text("source"),
            labels=results.texts("labels"),
            scores=tuple(
                _score(encoder, language, node)
                for encoder, languages in results.node("encoders").items()
                for language, node in languages.items()
            ),
            differences=tuple(_differences(results.node("differences"))),
            data=data.numeric_leaves() if data else {},
            fingerprints=dict(_sums(data)) if data else {},
            seconds=results.number("seconds"),
        )


def _interval(node: Node, *keys: str) -> tuple[float, float] | None:
    for key in keys:
        if len(bounds := node.numbers(key)) == 2:
            return bounds[0], bounds[1]
    return None


def _score(encoder: str, language: str, node: Node) -> NerScore:
    collapsed = node.node("collapsed")
    return NerScore(
        encoder=encoder,
        language=language,
        f1_mean=node.number("f1_mean"),
        f1_std=node.number("f1_std"),
        f1=node.numbers("f1"),
        interval=_interval(node, "ci95"),
        strict_f1_mean=node.number("strict_f1_mean"),
        illegal=node.number("illegal"),
        rates=_rates(node),
        collapsed=len(list(collapsed.elements())) if isinstance(collapsed.value, list) else _whole(collapsed),
        types=tuple(
            TypeScore(
                label,
                kind.number("precision"),
                kind.number("recall"),
                kind.number("f1"),
                kind.whole("support"),
            )
            for label, kind in node.node("per_type").items()
        ),
    )


def _whole(node: Node) -> int | None:
    if isinstance(node.value, bool):
        return int(node.value)
    number = node.as_number()
    return None if number is None else round(number)


def _differences(node: Node) -> Iterable[Difference]:
    """`{LANGUAGE: {ENCODER: {"mean": points, "ci95": [low, high]}}}`, against the first encoder."""
    for language, encoders in node.items():
        for encoder, told in encoders.items():
            if not isinstance(told.value, dict):
                continue
            points = next(
                (n for key in ("mean", "f1", "difference") if (n := told.number(key)) is not None), None
            )
            if points is not None:
                against = told.text("against") or "base"
                yield Difference(language, encoder, against, points, _interval(told, "ci95"))
