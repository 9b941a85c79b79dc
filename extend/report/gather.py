"""A run folder's files to one frozen `RunReport`. Reads; computes nothing that no file holds."""

import tomllib
from pathlib import Path

from extend.errors import CheckpointError, PathError, escaped
from extend.report.gather_growth import comparison, growth_stage
from extend.report.gather_ner import ner_stages, rates, sums
from extend.report.gather_pretraining import pretraining_stage
from extend.report.gather_vocabulary import vocabulary_stage
from extend.report.nouns import EncoderText, RunReport
from extend.report.nouns_run import Language, Provenance, Published
from extend.report.reading import Node, leaf_text, read_lines, read_node


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
        growth=growth_stage(run / "grown"),
        pretraining=pretraining_stage(run / "pretrain"),
        ner=tuple(ner_stages(run / "ner")),
        encoder_texts={name: _encoder_text(node) for name, node in read_node(run / "encoders.json").items()},
        comparison=comparison(run / "compare.json"),
        published=_published(read_node(run / "pushed.json")),
    )
    stages = (settings, manifest, report.vocabulary, report.growth, report.pretraining, report.ner)
    if not any((*stages, report.encoder_texts)):
        raise PathError(
            f"{escaped(str(run), limit=160)} holds no file of a run",
            name="E-RUN-EMPTY",
            next="run a stage first: extend vocab, extend pretrain or extend ner-eval",
        )
    return report


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


def _published(node: Node) -> Published | None:
    repository = node.text("repo")
    if not repository:
        return None
    return Published(repository, node.text("commit"), node.text("time"), node.number("size"))
