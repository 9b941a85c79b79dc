"""A run folder's files to one frozen `RunReport`. Reads; computes nothing that no file holds."""

import collections
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from extend.errors import CheckpointError, PathError, escaped
from extend.report.gather_ner import ner_stages, rates, sums
from extend.report.gather_pretraining import pretraining_stage
from extend.report.gather_vocabulary import vocabulary_stage
from extend.report.nouns import (
    EncoderText,
    GrowthStage,
    Language,
    NewRow,
    Provenance,
    RunReport,
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
        vocabulary=vocabulary_stage(run / "vocab"),
        growth=_growth(run / "grown"),
        pretraining=pretraining_stage(run / "pretrain"),
        ner=tuple(ner_stages(run / "ner")),
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
    code = node.as_text() or settings.text("lang") or run.name
    return Language(code, manifest.text("language_name"), manifest.text("autonym"))


def _provenance(manifest: Node, settings: Node) -> Provenance:
    base = manifest.node("base")
    if isinstance(base.value, dict):
        name, revision = base.text("name"), base.text("revision")
    else:
        name = base.as_text()
        grown = manifest.node("stages").node("grow")
        revision = manifest.text("base_revision") or grown.text("base_revision")
    outputs = [key for key in ("corpus", "stages", "outputs", "data") if manifest.node(key)]
    fingerprints = {f"{key}.{name}": text for key in outputs for name, text in sums(manifest.node(key))}
    corpus = manifest.text("corpus_sha256")
    return Provenance(
        base=name or manifest.text("base_model") or settings.text("base"),
        base_revision=revision,
        seed=manifest.whole("seed") if manifest.node("seed") else settings.whole("seed"),
        versions=manifest.node("versions").text_leaves() if manifest.node("versions") else {},
        hardware={name: leaf_text(leaf) for name, leaf in manifest.node("hardware").leaves() if name},
        fingerprints={**({"corpus": corpus} if corpus else {}), **fingerprints},
    )


def _encoder_text(node: Node) -> EncoderText:
    return EncoderText(rates(node), node.number("mlm_loss"), node.number("mlm_loss_per_word"))


def _growth(directory: Path) -> GrowthStage | None:
    report = read_node(directory / "report.json")
    rows = [_row(node) for node in read_nodes(directory / "rows.jsonl")]
    if not report and not rows:
        return None
    methods = collections.Counter(row.method for row in rows)
    told = {name: round(count) for name, count in report.node("by_method").numeric_leaves().items() if name}
    reasons = collections.Counter(row.reason for row in rows if row.reason)
    added = report.whole("added")
    return GrowthStage(
        initializer=report.text("initializer"),
        added=added if added is not None or not rows else len(rows),
        methods=dict(methods.most_common()) or told,
        reasons=dict(reasons.most_common()),
        examples=tuple(_with_pieces(_spread(rows, ROW_EXAMPLES), read_lines(directory / "vocab.txt"))),
        seconds=report.number("seconds"),
    )


def _row(node: Node) -> NewRow:
    sources = []
    for pair in node.node("sources").elements():
        source, *weight = pair.elements()
        number = weight[0].as_number() if weight else None
        sources.append((leaf_text(source), 1.0 if number is None else number))
    fallback = node.text("fallback")
    return NewRow(
        piece=node.text("piece"),
        method=fallback or node.text("method"),
        sources=tuple(sources),
        reason=node.text("why") if fallback else "",
    )


def _with_pieces(rows: Iterable[NewRow], pieces: Sequence[str]) -> Iterator[NewRow]:
    """Sources by their pieces: a base id is a line number of the vocabulary, from zero."""

    def named(source: str) -> str:
        if not source.isascii() or not source.isdecimal():
            return source
        return pieces[int(source)] if int(source) < len(pieces) else f"id {source}"

    for row in rows:
        yield replace(row, sources=tuple((named(source), weight) for source, weight in row.sources))


def _spread(rows: Sequence[NewRow], count: int) -> list[NewRow]:
    """At most `count` rows spread evenly over all, and the first of each method and reason."""
    if len(rows) <= count:
        return list(rows)
    firsts: dict[tuple[str, str], int] = {}
    for index, row in enumerate(rows):
        firsts.setdefault((row.method, row.reason), index)
    chosen = set(list(firsts.values())[: count // 2])
    spread = count - len(chosen)
    chosen |= {round(index * (len(rows) - 1) / (spread - 1)) for index in range(spread)}
    return [rows[index] for index in sorted(chosen)]
