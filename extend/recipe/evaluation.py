"""Encoders to NER scores: base beside extended (and the bilingual baseline, where there is one)."""

from pathlib import Path
from typing import Any

from extend.config import expand
from extend.errors import PathError, UsageError, escaped
from extend.hub import resolve_base
from extend.recipe.measures import measure_encoders
from extend.recipe.ner_files import is_streamed, ner_files, ner_sources, ner_targets
from extend.recipe.ner_method import feature_cache, further_encoders, ner_method
from extend.recipe.run import OnProgress, Run, silent
from ner.evaluate import check as check_sets
from ner.evaluate import evaluate

BILINGUAL = "bilingual"


def encoders_of(run: Run) -> dict[str, Path]:
    """Folders of the encoders to compare: `base`, `extended`, `bilingual` where one was trained, and more.

    When the run has no trained model yet, those of `ner.encoders` alone.
    """
    if not (run.model / "config.json").is_file():
        if run.settings.ner.encoders:
            return further_encoders(run, {})
        raise UsageError(
            f"run {run.directory} has no trained model yet",
            name="E-STAGE",
            next=f"run extend pretrain --lang {run.language.code}",
        )
    base = resolve_base(run.settings.base, revision=run.settings.revision)
    folders = {"base": base.directory, "extended": run.model}
    bilingual = run.directory / BILINGUAL / "model"
    folders |= {BILINGUAL: bilingual} if bilingual.is_dir() else {}
    return {**folders, **further_encoders(run, folders)}


def evaluate_ner(
    run: Run, zero_shot: bool, supervised: bool, on_progress: OnProgress = silent, *, again: bool = False
) -> dict[str, Any]:
    """Train and test NER heads on every encoder; results under `ner/`. Returns results by protocol.

    Few-shot protocols are those of `ner.few_shot`. A protocol that was done with the very same encoders, data
    and settings is not done again, but with `again`.
    """
    results = dict[str, Any]()
    settings, method = ner_method(run.settings.ner)
    with run.held():
        encoders = encoders_of(run)
        files = ner_files(run)
        for protocol in _protocols(run, zero_shot, supervised):
            check_sets(encoders, files, **protocol)
        run.save_settings()
        for protocol in _protocols(run, zero_shot, supervised):
            results |= evaluate(
                encoders,
                files,
                **protocol,
                settings=settings,
                method=method,
                cache=feature_cache(run),
                groups=run.settings.ner.groups or None,
                out=run.ner,
                reuse=not again,
                on_progress=on_progress,
            )
        measure_encoders(run, encoders, on_progress)
        return results


def check_evaluation(run: Run) -> dict[str, Any]:
    """What `evaluate_ner` checks about the data given before any encoder is loaded. Writes nothing.

    Sets of the hub are named and not fetched, so what is in them is not looked at.
    """
    sources = ner_sources(run)
    for source in (source for splits in sources.values() for source in splits.values()):
        if not is_streamed(source) and not Path(expand(source)).is_file():
            raise PathError(
                f"there is no file {escaped(source, limit=120)} (ner.data)",
                name="E-PATH",
                done="nothing was changed",
                next="fetch it, or leave out its lines in the configuration",
            )
    if not any(is_streamed(source) for splits in sources.values() for source in splits.values()):
        files = ner_files(run)
        for protocol in _protocols(run, *protocols_possible(run)):
            check_sets({"base": run.model, "extended": run.model}, files, **protocol)
    return {"ner": sources}


def _protocols(run: Run, zero_shot: bool, supervised: bool) -> list[dict[str, Any]]:
    """What to ask for by protocol. Targets without a training set are tested zero-shot alone."""
    wanted, targets = run.settings.ner, ner_targets(run)
    sources = ner_sources(run)
    trained = [target for target in targets if "train" in sources.get(target, {})]
    common = {"source": wanted.source, "labels": wanted.labels, "first_seed": run.settings.ner_seed}
    asked = [(True, False, targets)] if zero_shot else []
    asked += [(False, True, trained or targets)] if supervised else []
    found = [
        {**common, "zero_shot": first, "supervised": second, "targets": languages}
        for first, second, languages in asked
    ]
    if wanted.few_shot:
        few_shot = {"few_shot": wanted.few_shot, "targets": trained or targets}
        found.append({**common, "zero_shot": False, "supervised": False, **few_shot})
    return found or [{**common, "zero_shot": False, "supervised": False, "targets": targets}]


def protocols_possible(run: Run) -> tuple[bool, bool]:
    """Whether the NER files given allow zero-shot, and supervised, evaluation."""
    data = run.settings.ner.data
    there = [target for target in ner_targets(run) if target in data]
    source = data.get(run.settings.ner.source)
    return bool(source and source.train and there), any(data[target].train for target in there)
