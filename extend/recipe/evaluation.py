"""Encoders to NER scores: base beside extended (and the bilingual baseline, where there is one)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from extend.config import NerData, expand
from extend.errors import UsageError
from extend.hub import resolve_base
from extend.recipe.measures import measure_encoders
from extend.recipe.run import OnProgress, Run, silent
from ner.evaluate import TrainSettings, evaluate
from ner.evaluate import check as check_sets

BILINGUAL = "bilingual"


def encoders_of(run: Run) -> dict[str, Path]:
    """Folders of the encoders to compare: `base`, `extended`, and `bilingual` where one was trained."""
    if not (run.model / "config.json").is_file():
        raise UsageError(
            f"run {run.directory} has no trained model yet",
            name="E-STAGE",
            next=f"run extend pretrain --lang {run.language.code}",
        )
    base = resolve_base(run.settings.base, revision=run.settings.revision)
    folders = {"base": base.directory, "extended": run.model}
    bilingual = run.directory / BILINGUAL / "model"
    return {**folders, BILINGUAL: bilingual} if bilingual.is_dir() else folders


def evaluate_ner(
    run: Run, zero_shot: bool, supervised: bool, on_progress: OnProgress = silent
) -> dict[str, Any]:
    """Train and test NER heads on every encoder; results under `ner/`. Returns results by protocol."""
    wanted, results = run.settings.ner, dict[str, Any]()
    settings = TrainSettings(
        seeds=wanted.seeds,
        epochs=wanted.epochs,
        patience=wanted.patience,
        batch_size=wanted.batch_size,
        hidden_size=wanted.hidden_size,
        layers=wanted.layers,
        dropout=wanted.dropout,
        learning_rate=wanted.learning_rate,
        clip=wanted.clip,
    )
    with run.held():
        encoders = encoders_of(run)
        for protocol in _protocols(run, zero_shot, supervised):
            check_sets(encoders, ner_files(run), **protocol)
        run.save_settings()
        for protocol in _protocols(run, zero_shot, supervised):
            results |= evaluate(
                encoders,
                ner_files(run),
                **protocol,
                settings=settings,
                out=run.ner,
                on_progress=on_progress,
            )
        measure_encoders(run, encoders, on_progress)
        return results


def check_evaluation(run: Run) -> dict[str, Any]:
    """What `evaluate_ner` checks about the data given before any encoder is loaded. Writes nothing."""
    files = ner_files(run)
    for protocol in _protocols(run, *protocols_possible(run)):
        check_sets({"base": run.model, "extended": run.model}, files, **protocol)
    return {"ner": {language: {k: str(v) for k, v in splits.items()} for language, splits in files.items()}}


def _protocols(run: Run, zero_shot: bool, supervised: bool) -> list[dict[str, Any]]:
    """What to ask for by protocol. Targets without a training set are tested zero-shot alone."""
    wanted, targets = run.settings.ner, ner_targets(run)
    trained = [target for target in targets if target in wanted.data and wanted.data[target].train]
    common = {"source": wanted.source, "labels": wanted.labels, "first_seed": run.settings.ner_seed}
    asked = [(True, False, targets)] if zero_shot else []
    asked += [(False, True, trained or targets)] if supervised else []
    return [
        {**common, "zero_shot": first, "supervised": second, "targets": languages}
        for first, second, languages in asked
    ] or [{**common, "zero_shot": False, "supervised": False, "targets": targets}]


def ner_targets(run: Run) -> list[str]:
    """The languages to test on: `ner.targets`, by default the run's own."""
    return run.settings.ner.targets or [run.language.code]


def protocols_possible(run: Run) -> tuple[bool, bool]:
    """Whether the NER files given allow zero-shot, and supervised, evaluation."""
    data = run.settings.ner.data
    there = [target for target in ner_targets(run) if target in data]
    source = data.get(run.settings.ner.source)
    return bool(source and source.train and there), any(data[target].train for target in there)


def ner_files(run: Run) -> dict[str, Mapping[str, Path]]:
    """NER files by language and split, environment variables expanded."""
    return {language: _paths(files) for language, files in run.settings.ner.data.items()}


def _paths(files: NerData) -> Mapping[str, Path]:
    return {split: Path(expand(path)) for split, path in files.model_dump(exclude_none=True).items()}
